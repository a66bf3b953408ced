"""The reward: change of value after costs, less parts that can each be switched off."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

CASH_SHORTFALL_WEIGHT = 0.01
"""Log return charged a bar for missing the whole reserve."""


@dataclass(frozen=True)
class RewardWeights:
    """Weights of the parts in log returns a bar; 0 switches a part off."""

    scale: float
    cash_reserve: float = 0.0
    """Share of the portfolio that should stay in cash."""
    concentration: float = 0.0
    turnover: float = 0.0
    time_decay: float = 0.0
    variance: float = 0.0


@dataclass(frozen=True)
class RewardParts:
    """Each part of the reward, scaled, (N,); the reward is their sum."""

    gain: Tensor
    concentration: Tensor
    cash_shortfall: Tensor
    turnover: Tensor
    time_decay: Tensor
    variance: Tensor

    @property
    def total(self) -> Tensor:
        return torch.stack([getattr(self, field.name) for field in fields(self)]).sum(dim=0)


def reward_parts(
    value_before_usd: Tensor,
    value_after_usd: Tensor,
    traded_usd: Tensor,
    asset_weights: Tensor,
    weights: RewardWeights,
) -> RewardParts:
    """Return the parts for one bar.

    Values and `traded_usd` (unsigned notional) are (N,), `asset_weights` (N, A) are those after the bar. Time
    decay charges exposure, so that a position has to earn its time; variance charges squared log returns.
    """
    growth = torch.log(value_after_usd / value_before_usd)
    exposure = asset_weights.sum(dim=1)
    shortfall = (weights.cash_reserve - (1.0 - exposure)).clamp(min=0.0)
    return RewardParts(
        gain=weights.scale * growth,
        concentration=-weights.scale * weights.concentration * asset_weights.square().sum(dim=1),
        cash_shortfall=-weights.scale * CASH_SHORTFALL_WEIGHT * shortfall,
        turnover=-weights.scale * weights.turnover * traded_usd / value_before_usd,
        time_decay=-weights.scale * weights.time_decay * exposure,
        variance=-weights.scale * weights.variance * growth.square(),
    )
