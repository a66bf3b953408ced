"""From an agent's action to the weights it wants: the same in training and trading."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cappuccino.portfolio.engine import actions_to_targets


@dataclass(frozen=True)
class Wish:
    """How actions are read."""

    max_weight: float
    """Share of the portfolio that action 1 asks for."""
    cash_reserve: float
    """Share that is left in cash."""
    no_trade_band: float
    """Distance from the present weight that is not worth a trade: under costs the best policies have one."""

    def weights(self, action: Tensor, present_weights: Tensor) -> Tensor:
        """Return target weights for actions in [-1, 1]; both and the result (N, A).

        Inside the band a position stays as it is; a wish for none at all always counts.
        """
        wanted = actions_to_targets(action, self.max_weight, self.cash_reserve)
        is_near = (wanted - present_weights).abs() < self.no_trade_band
        return torch.where(is_near & (wanted > 0.0), present_weights, wanted)
