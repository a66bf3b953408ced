"""Proximal policy optimisation (Schulman et al. 2017): one rollout in, a better policy out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields

import torch
from torch import Generator, Tensor, nn

from cappuccino.env.market import MarketArrays
from cappuccino.errors import TrainingError
from cappuccino.rl.gae import advantages, without_common_luck
from cappuccino.rl.hyper import Hyper
from cappuccino.rl.losses import approximate_kl, clipped_surrogate_loss, gaussian_entropy, value_loss
from cappuccino.rl.model import Policy
from cappuccino.rl.rollout import Rollout

CLIP = 0.2
VALUE_WEIGHT = 0.5
MAX_KL = 0.03
"""An epoch that moved the policy further than this is the update's last."""


@dataclass(frozen=True)
class UpdateStats:
    """What an update did; means over its minibatches unless said otherwise."""

    policy_loss: float
    value_loss: float
    clip_frac: float
    """Share of transitions that the clip held back."""
    grad_norm: float
    """Before it is cut to the largest allowed."""
    kl: float
    """Distance from the policy that acted, in the last epoch."""
    entropy: float
    """Of the policy at the end, in nats."""
    explained_variance: float
    """1 = the critic foresaw all variance of the returns; 0 = none."""
    n_epochs: int


@dataclass(frozen=True)
class Cells:
    """A rollout flattened to C = T * G cells, each with its M accounts."""

    bars: Tensor
    """(C,)."""
    account: Tensor
    """(C, M, K)."""
    action: Tensor
    """(C, M, A)."""
    log_prob: Tensor
    """(C, M), as are those below."""
    advantage: Tensor
    target: Tensor
    """What the critic should have said."""

    def __len__(self) -> int:
        return len(self.bars)

    def take(self, index: Tensor) -> Cells:
        return Cells(*(getattr(self, field.name)[index] for field in fields(self)))


def update(
    policy: Policy,
    optimizer: torch.optim.Optimizer,
    rollout: Rollout,
    market: MarketArrays,
    hyper: Hyper,
    generator: Generator,
) -> UpdateStats:
    """Improve `policy` in place; raises TrainingError when a loss or gradient is not a number."""
    cells, explained_variance = compute_returns(rollout, hyper)
    n_cells = max(hyper.batch_size // cells.log_prob.shape[1], 1)
    steps: list[Tensor] = []
    n_epochs, kl = 0, 0.0
    while n_epochs < hyper.epochs and kl <= MAX_KL:
        batches = _minibatches(len(cells), n_cells, generator)
        epoch = [_minibatch_step(policy, optimizer, cells.take(batch), market, hyper) for batch in batches]
        kl = float(torch.stack(epoch)[:, -1].mean())
        steps += epoch
        n_epochs += 1
    policy_loss, critic_loss, clip_frac, grad_norm, _ = torch.stack(steps).mean(dim=0).tolist()
    entropy = float(gaussian_entropy(policy.log_std.detach()))
    return UpdateStats(policy_loss, critic_loss, clip_frac, grad_norm, kl, entropy, explained_variance, n_epochs)


def compute_returns(rollout: Rollout, hyper: Hyper) -> tuple[Cells, float]:
    """Return the rollout as cells with advantages and value targets, and the critic's explained variance."""
    n_steps, n_places = rollout.bars.shape
    raw = advantages(
        rollout.reward,
        rollout.value,
        rollout.next_value,
        rollout.terminated,
        rollout.truncated,
        hyper.discount,
        hyper.gae_lambda,
    )
    n_accounts = raw.shape[1] // n_places
    target = raw + rollout.value
    own = without_common_luck(raw, n_accounts)
    own = (own - own.mean()) / (own.std(correction=0) + 1e-8)

    def cells(array: Tensor) -> Tensor:
        return array.reshape(n_steps * n_places, n_accounts, *array.shape[2:])

    explained = 1.0 - float(raw.var(correction=0) / target.var(correction=0).clamp(min=1e-12))
    per_account = (rollout.account, rollout.action, rollout.log_prob, own, target)
    return Cells(rollout.bars.flatten(), *map(cells, per_account)), explained


def _minibatches(n_cells: int, size: int, generator: Generator) -> Iterator[Tensor]:
    """Yield every cell once, in random order, in parts of about `size`."""
    n_parts = max(round(n_cells / size), 1)
    yield from torch.randperm(n_cells, generator=generator).tensor_split(n_parts)


def _minibatch_step(
    policy: Policy, optimizer: torch.optim.Optimizer, batch: Cells, market: MarketArrays, hyper: Hyper
) -> Tensor:
    """Take one optimiser step; returns policy loss, value loss, clipped share, gradient norm and KL."""
    code = policy.encode_market(market.windows(batch.bars, policy.shape.lookback))
    output = policy.act(code, batch.account)
    log_ratio = output.log_prob(batch.action) - batch.log_prob
    actor = clipped_surrogate_loss(log_ratio, batch.advantage, CLIP)
    critic = value_loss(output.value, batch.target)
    loss = actor + VALUE_WEIGHT * critic - hyper.entropy_weight * gaussian_entropy(output.log_std)
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    grad_norm = nn.utils.clip_grad_norm_(policy.parameters(), hyper.max_grad_norm)
    log_ratio = log_ratio.detach()
    clip_frac = ((log_ratio.exp() - 1.0).abs() > CLIP).float().mean()
    figures = [actor.detach(), critic.detach(), clip_frac, grad_norm, approximate_kl(log_ratio)]
    if not math.isfinite(sum(map(float, figures))):
        policy_loss, critic_loss, _, norm, kl = map(float, figures)
        raise TrainingError(
            f"training diverged: policy loss {policy_loss}, value loss {critic_loss}, gradient norm {norm}, "
            f"divergence {kl} with {hyper}; the trial cannot go on, try a lower learning rate"
        )
    optimizer.step()
    return torch.stack(figures)
