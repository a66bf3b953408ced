"""Let a policy trade a stretch of history from many places, and keep what it saw and did."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import torch
from torch import Generator, Tensor

from cappuccino.env import environment
from cappuccino.env.environment import Fresh, Params, State, Transition, draw_fresh, restart
from cappuccino.env.market import MarketArrays
from cappuccino.env.observation import account_features
from cappuccino.env.reward import RewardParts
from cappuccino.rl.exploration import held_noise
from cappuccino.rl.model import Policy
from cappuccino.rl.places import Sights, plan, sights

ENCODE_BARS = 512
"""Bars that are encoded at once without gradients; bounds the memory of the layers."""
PARTS = tuple(part.name for part in fields(RewardParts))


@dataclass(frozen=True)
class Rollout:
    """T steps of G places with M accounts each, N = G * M; account n is at place n // M."""

    seen: Tensor
    """(U, A, D) inputs of the encoder for the U distinct bars."""
    at: Tensor
    """(T, G) int64 positions in `seen` of the bars that were decided on."""
    account: Tensor
    """(T, N, K) account features."""
    action: Tensor
    """(T, N, A) before clipping."""
    log_prob: Tensor
    """(T, N)."""
    value: Tensor
    """(T, N) critic's value of the observation."""
    next_value: Tensor
    """(T, N) of the observation that followed, before any restart."""
    reward: Tensor
    """(T, N)."""
    terminated: Tensor
    """(T, N) bool."""
    truncated: Tensor
    """(T, N) bool."""


@dataclass
class Behaviour:
    """What a policy does, step by step; summed where it happens and read once."""

    rows: list[Tensor] = field(default_factory=list)
    """One (len(PARTS) + 3,) a step: mean reward parts, exposure, turnover, saturation."""
    actions: list[Tensor] = field(default_factory=list)
    """Mean actions (G, M, A)."""

    @torch.no_grad()
    def note(self, mean: Tensor, action: Tensor, account: Tensor, done: Transition, n_assets: int) -> None:
        """Note one step: the policy's mean and the action (G, M, A), account features (N, K), and what it did."""
        saturated = (action.abs() >= 1.0).float()
        invested = account[:, 0 : 2 * n_assets : 2].sum(dim=1)
        figures = [*(getattr(done.parts, name) for name in PARTS), invested, done.turnover_frac, saturated]
        self.rows.append(torch.stack([figure.mean(dtype=torch.float64) for figure in figures]))
        self.actions.append(mean.detach())

    def read(self) -> dict[str, float]:
        """Return the means over all steps, by the names of `Figures`."""
        means = torch.stack(self.rows).mean(dim=0).tolist()
        parts = dict(zip(PARTS, means, strict=False))
        exposure, turnover, saturation = means[len(PARTS) :]
        spread = torch.stack(self.actions).flatten(end_dim=-2).std(dim=0, correction=0).mean()
        return {
            "reward_mean": sum(parts.values()),
            **{"turnover_cost" if name == "turnover" else name: mean for name, mean in parts.items()},
            "exposure_frac": exposure,
            "turnover_frac": turnover,
            "saturation_frac": saturation,
            "action_spread": float(spread),
        }


def look(state: State, market: MarketArrays) -> Tensor:
    """Return the account features (N, K) after the close of each account's bar."""
    now_us = market.opened_us[state.bar] + market.interval.us
    return account_features(state.accounts, market.close_usd[state.bar], now_us)


@dataclass(frozen=True)
class Route:
    """All that is drawn and looked up before the first step of a rollout, on the market's device."""

    sights: Sights
    noise: Tensor
    """(T, G, M, A) standard normal."""
    fresh: tuple[Fresh | None, ...]
    """For each step at which a place is cut, how accounts that ended there start again.

    A ruined account, too, waits for such a step; until then each of its steps is an end of its own.
    """


def route(
    policy: Policy, state: State, market: MarketArrays, params: Params, n_accounts: int, horizon: int, random: Generator
) -> Route:
    """Return the route of `horizon` steps from `state`; raises DataError when a window is not complete."""
    bar, bars_left = (place[::n_accounts].cpu() for place in (state.bar, state.bars_left))
    way = plan(random, bar, bars_left, horizon, params)
    noise = held_noise(random, horizon, (len(bar), n_accounts, market.n_assets))
    fresh = tuple(
        draw_fresh(random, bar.repeat_interleave(n_accounts), left.repeat_interleave(n_accounts), market)
        if is_cut
        else None
        for bar, left, is_cut in zip(way.next_bars, way.next_bars_left, way.is_cut, strict=True)
    )
    return Route(sights(policy, market, way), noise.to(market.close_usd.device), fresh)


@torch.no_grad()
def follow(
    policy: Policy, state: State, market: MarketArrays, params: Params, route: Route
) -> tuple[State, Rollout, Behaviour]:
    """Return the state after all steps of `route`, the steps, and how the policy behaved.

    Each distinct bar is encoded once for all accounts on it; a step then runs only the heads. Between the first step
    and the last, nothing is read back from the device.
    """
    sight = route.sights
    n_steps, n_places, n_accounts, n_assets = route.noise.shape
    code = torch.cat([policy.encode_market(chunk) for chunk in torch.split(sight.seen, ENCODE_BARS)])
    behaviour, rows = Behaviour(), list[tuple[Tensor, ...]]()
    seen = look(state, market)
    output = policy.act(code[sight.at[0]], seen.reshape(n_places, n_accounts, -1))
    for t in range(n_steps):
        action = output.explore(route.noise[t])
        acted = (seen, action.flatten(0, 1), output.log_prob(action).flatten(), output.value.flatten())
        state, done = environment.step(state, acted[1].clamp(-1.0, 1.0), market, params)
        behaviour.note(output.mean, action, seen, done, n_assets)
        seen = look(state, market)
        output = policy.act(code[sight.after[t]], seen.reshape(n_places, n_accounts, -1))
        judged = (output.value.flatten(), done.reward.to(torch.float32), done.terminated, done.truncated)
        rows.append(acted + judged)
        fresh = route.fresh[t]
        if fresh is not None:
            state = restart(done.ended, fresh, state, market, params)
            seen = look(state, market)
            output = policy.act(code[sight.restart[t]], seen.reshape(n_places, n_accounts, -1))
    return state, Rollout(sight.seen, sight.at, *map(torch.stack, zip(*rows, strict=True))), behaviour
