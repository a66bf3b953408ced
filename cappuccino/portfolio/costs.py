"""What a fill costs: fee and slippage, each a model of its own."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cappuccino.settings import CostSettings

ROUNDING_USD = 1e-6  # what float64 leaves of "hold exactly what you have"; never worth an order


@dataclass(frozen=True, slots=True)
class Costs:
    """Cost of trading: taker fee and slippage in basis points, smallest order in USD."""

    fee_bps: float
    slippage_bps: float
    min_order_usd: float

    @classmethod
    def of(cls, settings: CostSettings) -> Costs:
        return cls(settings.fee_bps, settings.slippage_bps, settings.min_order_usd)

    @property
    def fee_frac(self) -> float:
        return self.fee_bps / 1e4

    @property
    def slippage_frac(self) -> float:
        return self.slippage_bps / 1e4

    @property
    def smallest_order_usd(self) -> float:
        """Notional below which an order is not sent; never 0, so that rounding does not trade.

        0 only for a negative `min_order_usd`, where gradients ask what an order of nothing would change.
        """
        return max(self.min_order_usd, ROUNDING_USD) if self.min_order_usd >= 0 else 0.0


def fill_price(market_usd: Tensor, side: Tensor, slippage_frac: float) -> Tensor:
    """Return the price of a fill, moved against us; `side` is +1 buys, -1 sells, 0 neither."""
    return market_usd * torch.add(1.0, side, alpha=slippage_frac)


def fee_usd(notional_usd: Tensor, fee_frac: float) -> Tensor:
    """Return the fee on an unsigned notional value."""
    return notional_usd * fee_frac
