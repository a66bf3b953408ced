"""What every learner works on, and what it hands back."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from cappuccino.env.environment import State
from cappuccino.errors import TrainingDiverged
from cappuccino.rl.hyper import Hyper
from cappuccino.rl.model import Policy


@dataclass(frozen=True)
class Budget:
    """How much one training may do."""

    updates: int
    n_groups: int
    """Places in history that a rollout starts from."""
    n_accounts: int
    """Accounts that start from each place."""
    horizon: int
    """Bars of a rollout."""
    checkpoint_every: int = 10
    """Updates between two checkpoints."""


@dataclass
class Learning:
    """Everything that changes from update to update."""

    policy: Policy
    optimizer: torch.optim.Optimizer
    generator: Generator
    state: State
    rate: float
    """Learning rate of this update."""
    trust: float = 1.0
    """Share of the rate that a step takes: apg takes less after one that moved the policy far."""


def descend(learning: Learning, loss: Tensor, hyper: Hyper) -> Tensor:
    """Take one optimiser step down `loss`; returns the gradient's length (), before it was cut."""
    learning.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    norm = nn.utils.clip_grad_norm_(learning.policy.parameters(), hyper.max_grad_norm)
    for group in learning.optimizer.param_groups:
        group["lr"] = learning.rate * learning.trust
    learning.optimizer.step()
    return norm


def require_finite(figures: dict[str, float], hyper: Hyper) -> None:
    """Raise TrainingDiverged when a figure of an update is not a number."""
    if all(map(math.isfinite, figures.values())):
        return
    said = ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in figures.items())
    raise TrainingDiverged(f"training diverged: {said} with {hyper}; try a lower learning_rate")
