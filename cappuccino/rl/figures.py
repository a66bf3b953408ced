"""What one update of a training measured; the same figures for every learner."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Figures:
    """Diagnostics of one update: means over its rollout and its optimiser steps, each a finite plain number.

    A figure that a learner does not have is 0: analytic gradients know neither divergence nor clipping.
    """

    reward_mean: float
    """Mean reward per step and account, all parts together, scaled as the learner sees it."""
    gain: float
    """Part of `reward_mean`: the log return."""
    concentration: float
    """Part of `reward_mean`: the charge for holding few symbols."""
    cash_shortfall: float
    """Part of `reward_mean`: the charge for cash below the reserve."""
    turnover_cost: float
    """Part of `reward_mean`: the charge for trading, beside real costs."""
    time_decay: float
    """Part of `reward_mean`: the charge for being invested."""
    variance: float
    """Part of `reward_mean`: the charge for squared log returns."""
    policy_loss: float
    value_loss: float
    entropy: float
    """Mean entropy of the action distribution, nats."""
    kl: float
    """Divergence of the new policy from the one that acted, nats."""
    clip_frac: float
    """Share of probability ratios that left the clip range."""
    explained_variance: float
    """1 - var(return - value) / var(return): 1 is a perfect critic, below 0 worse than a constant."""
    grad_norm: float
    """Mean length of the gradient before it was cut."""
    n_epochs: float
    """Passes over the rollout; fewer than asked for when the policy moved far."""
    exposure_frac: float
    """Mean share of the portfolio that was invested."""
    turnover_frac: float
    """Mean traded notional over portfolio value, per bar."""
    saturation_frac: float
    """Share of actions outside (-1, 1), or clipped to it."""
    action_spread: float
    """Standard deviation over bars of the mean action, mean over symbols: 0 is a constant action."""


@dataclass(frozen=True)
class Progress:
    """One update of a training."""

    update: int
    """Counts from 1."""
    figures: Figures
    n_env_steps: int
    """Steps of all accounts in this update."""
    duration_s: float = field(compare=False)
    """Wall time."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for a checkpoint."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Progress:
        """Return what `to_dict` gave."""
        return cls(**{**values, "figures": Figures(**values["figures"])})
