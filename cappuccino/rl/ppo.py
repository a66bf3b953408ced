"""Proximal policy optimisation (Schulman et al. 2017): one rollout in, a better policy out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import torch
from torch import Generator, Tensor

from cappuccino.env.environment import Params
from cappuccino.env.market import MarketArrays
from cappuccino.rl.figures import Figures
from cappuccino.rl.gae import advantages, without_common_luck
from cappuccino.rl.hyper import Hyper
from cappuccino.rl.learning import Budget, Learning, descend, require_finite
from cappuccino.rl.losses import approximate_kl, clipped_surrogate_loss, gaussian_entropy, value_loss
from cappuccino.rl.rollout import Rollout, follow, route

CLIP = 0.2
VALUE_WEIGHT = 0.5


@dataclass(frozen=True)
class Cells:
    """A rollout flattened to C = T * G cells, each with its M accounts."""

    at: Tensor
    """(C,) positions of the bars in the rollout's `seen`."""
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
        return len(self.at)

    def take(self, index: Tensor) -> Cells:
        return Cells(*(getattr(self, field.name)[index] for field in fields(self)))


def learn(learning: Learning, market: MarketArrays, params: Params, hyper: Hyper, budget: Budget) -> Figures:
    """Trade one rollout and improve the policy by it; raises TrainingError when training diverged."""
    policy, state, random = learning.policy, learning.state, learning.generator
    way = route(policy, state, market, params, budget.n_accounts, budget.horizon, random)
    learning.state, rollout, behaviour = follow(policy, state, market, params, way)
    return Figures(**behaviour.read(), **update(learning, rollout, hyper))


def update(learning: Learning, rollout: Rollout, hyper: Hyper) -> dict[str, float]:
    """Improve the policy in place; returns the figures of the learner by their names in `Figures`.

    Raises TrainingError when a loss or gradient is not a number.
    """
    cells, explained_variance = compute_returns(rollout, hyper)
    n_cells = max(hyper.batch_size // cells.log_prob.shape[1], 1)
    names = ("policy_loss", "value_loss", "clip_frac", "grad_norm", "kl")
    epochs: list[Tensor] = []
    kl = 0.0
    while len(epochs) < hyper.epochs and kl <= hyper.max_kl:
        batches = _minibatches(len(cells), n_cells, learning.generator)
        steps = [_minibatch_step(learning, cells.take(batch.to(cells.at.device)), rollout, hyper) for batch in batches]
        epochs.append(torch.stack(steps).mean(dim=0))
        newest = dict(zip(names, epochs[-1].tolist(), strict=True))
        require_finite(newest, hyper)
        kl = newest["kl"]
    means = dict(zip(names, torch.stack(epochs).mean(dim=0).tolist(), strict=True))
    entropy = float(gaussian_entropy(learning.policy.log_std.detach()))
    own = {"kl": kl, "entropy": entropy, "explained_variance": explained_variance, "n_epochs": float(len(epochs))}
    return {**means, **own}


def compute_returns(rollout: Rollout, hyper: Hyper) -> tuple[Cells, float]:
    """Return the rollout as cells with advantages and value targets, and the critic's explained variance."""
    n_steps, n_places = rollout.at.shape
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
    return Cells(rollout.at.flatten(), *map(cells, per_account)), explained


def _minibatches(n_cells: int, size: int, generator: Generator) -> Iterator[Tensor]:
    """Yield every cell once, in random order, in parts of about `size`."""
    n_parts = max(round(n_cells / size), 1)
    yield from torch.randperm(n_cells, generator=generator).tensor_split(n_parts)


def _minibatch_step(learning: Learning, batch: Cells, rollout: Rollout, hyper: Hyper) -> Tensor:
    """Take one optimiser step; returns policy loss, value loss, clipped share, gradient norm and KL."""
    policy = learning.policy
    output = policy.act(policy.encode_market(rollout.seen[batch.at]), batch.account)
    log_ratio = output.log_prob(batch.action) - batch.log_prob
    actor = clipped_surrogate_loss(log_ratio, batch.advantage, CLIP)
    critic = value_loss(output.value, batch.target)
    loss = actor + VALUE_WEIGHT * critic - hyper.entropy_weight * gaussian_entropy(output.log_std)
    grad_norm = descend(learning, loss, hyper)
    log_ratio = log_ratio.detach()
    clip_frac = ((log_ratio.exp() - 1.0).abs() > CLIP).float().mean()
    return torch.stack([actor.detach(), critic.detach(), clip_frac, grad_norm, approximate_kl(log_ratio)])
