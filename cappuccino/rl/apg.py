"""Analytic policy gradients: prices do not react to our orders, so the account's value is a function of the actions
that can be differentiated. Short horizons with a critic at their end, as in SHAC (Xu et al. 2022).

    maximise  sum of discount^k * reward[t + k]  for k < h,  plus discount^h * V(state[t + h])
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from cappuccino.env import environment
from cappuccino.env.environment import Params, restart
from cappuccino.env.market import MarketArrays
from cappuccino.rl.figures import Figures
from cappuccino.rl.gae import advantages
from cappuccino.rl.hyper import Hyper
from cappuccino.rl.learning import Budget, Learning, descend, require_finite
from cappuccino.rl.losses import gaussian_entropy, value_loss
from cappuccino.rl.model import Policy
from cappuccino.rl.rollout import Behaviour, Route, look, route

SEGMENT = 8
"""Bars that gradients flow through: over 16 agents learned less, over 32 hardly anything (docs/learners.md)."""
NOISE = 0.3
"""Share of the policy's exploration: gradients need no luck, noise only shows them more accounts."""
VALUE_WEIGHT = 0.5
STEP_KL = 0.1
"""Share of `max_kl` that one step may move the policy; further, and the next steps are shorter (as in rsl_rl)."""


def learn(learning: Learning, market: MarketArrays, params: Params, hyper: Hyper, budget: Budget) -> Figures:
    """Trade one rollout in segments, with one optimiser step each; raises TrainingDiverged when one diverged."""
    behaviour = Behaviour()
    steps = [
        _segment(learning, market, params, hyper, budget, n_bars, behaviour) for n_bars in _lengths(budget.horizon)
    ]
    names = ("policy_loss", "value_loss", "grad_norm", "explained_variance", "kl")
    figures = dict(zip(names, torch.stack(steps).mean(dim=0).tolist(), strict=True))
    require_finite(figures, hyper)
    entropy = float(gaussian_entropy(learning.policy.log_std.detach()))
    return Figures(**behaviour.read(), **figures, entropy=entropy, clip_frac=0.0, n_epochs=1.0)


def _lengths(horizon: int) -> list[int]:
    """Return how a rollout is cut into segments."""
    whole, rest = divmod(horizon, SEGMENT)
    return [SEGMENT] * whole + [rest] * bool(rest)


@dataclass(frozen=True)
class Segment:
    """h steps of N accounts; (h, N) each, gradients only in `reward` and `bootstrap`."""

    seen: Tensor
    """(h * G, A, D) what the encoder read of the bars."""
    account: Tensor
    """(h * G, M, K) account features."""
    mean: Tensor
    """(h * G, M, A) mean actions."""
    reward: Tensor
    value: Tensor
    """The critic's, of the state before the step, to be trained."""
    bootstrap: Tensor
    """What comes after a step that ended an episode or the segment; gradients through the state alone."""
    terminated: Tensor
    truncated: Tensor
    """Cut, or the segment's last."""
    overshoot: Tensor
    """Squares of how far mean actions left [-1, 1], where nothing else holds them: summed over bars and symbols; ()."""


def _segment(
    learning: Learning,
    market: MarketArrays,
    params: Params,
    hyper: Hyper,
    budget: Budget,
    n_bars: int,
    behaviour: Behaviour,
) -> Tensor:
    """Trade `n_bars` and take one optimiser step.

    Returns policy loss, value loss, gradient norm, explained variance and KL, (5,).
    """
    learning.state = replace(learning.state, accounts=learning.state.accounts.detach())
    way = route(learning.policy, learning.state, market, params, budget.n_accounts, n_bars, learning.generator)
    traded = trade(learning, market, params, way, behaviour)
    actor = -_discounted(traded, hyper.discount).mean()
    target = _targets(traded, hyper)
    critic = value_loss(traded.value, target)
    # In units of a bar's luck, so that neither term drowns the other in the tower that they share.
    unit = traded.reward.detach().std(correction=0).clamp(min=1e-6)
    loss = actor / unit + VALUE_WEIGHT * critic / unit.square() + traded.overshoot
    norm = descend(learning, loss, hyper)
    kl = _moved(learning.policy, traded)
    learning.trust = min(max(learning.trust * (0.7 if float(kl) > STEP_KL * hyper.max_kl else 1.1), 0.01), 1.0)
    unexplained = (target - traded.value.detach()).var(correction=0) / target.var(correction=0).clamp(min=1e-12)
    return torch.stack([actor.detach(), critic.detach(), norm, 1.0 - unexplained, kl])


def trade(learning: Learning, market: MarketArrays, params: Params, route: Route, behaviour: Behaviour) -> Segment:
    """Go `route` with the policy, its learning's state too; each distinct bar is encoded once.

    Between the first step and the last, nothing is read back from the device.
    """
    policy, state, sight = learning.policy, learning.state, route.sights
    n_bars, *shape, n_assets = route.noise.shape
    code = policy.encode_market(sight.seen)
    account, means, rows = list[Tensor](), list[Tensor](), list[tuple[Tensor, ...]]()
    for t in range(n_bars):
        # Read without gradients: the loop of reading and trading would multiply them.
        seen = look(state, market).detach()
        mean = policy.steer(code[sight.at[t]], seen.reshape(*shape, -1))
        action = mean + NOISE * torch.exp(policy.log_std) * route.noise[t]
        state, done = environment.smooth_step(state, action.flatten(0, 1), market, params)
        behaviour.note(mean, action, seen, done, n_assets)
        account.append(seen)
        means.append(mean)
        is_last = t == n_bars - 1
        fresh = route.fresh[t]
        if fresh is not None or is_last:
            after = look(state, market).reshape(*shape, -1)
            bootstrap = _judge_frozen(policy, code[sight.after[t]].detach(), after).flatten()
        else:
            bootstrap = torch.zeros_like(done.reward, dtype=torch.float32)
        ends = done.truncated | (is_last & ~done.terminated)
        rows.append((done.reward.to(torch.float32), bootstrap, done.terminated, ends))
        if fresh is not None:
            state = restart(done.ended, fresh, state, market, params)
    learning.state = state
    seen, mean = torch.cat(account).reshape(n_bars * shape[0], shape[1], -1), torch.cat(means)
    value = policy.judge(code[sight.at.flatten()], seen)
    reward, bootstrap, terminated, truncated = map(torch.stack, zip(*rows, strict=True))
    overshoot = (mean.abs() - 1.0).clamp(min=0.0).square().sum(dim=-1).mean() * n_bars
    return Segment(
        sight.seen[sight.at.flatten()],
        seen,
        mean,
        reward,
        value.reshape(n_bars, -1),
        bootstrap,
        terminated,
        truncated,
        overshoot,
    )


@torch.no_grad()
def _moved(policy: Policy, traded: Segment) -> Tensor:
    """Return how far the policy is now from the one that traded: mean KL of their Gaussians, ()."""
    moved = policy.steer(policy.encode_market(traded.seen), traded.account) - traded.mean
    return 0.5 * (moved * torch.exp(-policy.log_std)).square().sum(dim=-1).mean()


def _judge_frozen(policy: Policy, code: Tensor, account: Tensor) -> Tensor:
    """Return the critic's value (G, M) with gradients to the account alone: it must not be talked up."""
    policy.requires_grad_(False)
    try:
        return policy.judge(code, account)
    finally:
        policy.requires_grad_(True)


def _discounted(traded: Segment, discount: float) -> Tensor:
    """Return each account's discounted reward over the segment, with what the critic expects after it; (N,)."""
    total = torch.zeros_like(traded.reward[0])
    factor = torch.ones_like(total)
    for t in range(len(traded.reward)):
        total = total + factor * (traded.reward[t] + discount * traded.truncated[t] * traded.bootstrap[t])
        factor = torch.where(traded.terminated[t] | traded.truncated[t], 1.0, factor * discount)
    return total


@torch.no_grad()
def _targets(traded: Segment, hyper: Hyper) -> Tensor:
    """Return what the critic should have said, (h, N): lambda-returns, as in PPO."""
    following = torch.cat([traded.value[1:], traded.bootstrap[-1:]])
    next_value = torch.where(traded.truncated, traded.bootstrap, following)
    raw = advantages(
        traded.reward,
        traded.value,
        next_value,
        traded.terminated,
        traded.truncated,
        hyper.discount,
        hyper.gae_lambda,
    )
    return raw + traded.value
