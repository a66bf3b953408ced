"""What a fill costs: fee, spread and slippage, market impact, each a model of its own.

price = market * (1 + side * ((slippage + spread / 2) * (1 - m) + impact)),   m = share filled as a maker
fee   = notional * (taker fee * (1 - m) + maker fee * m)
impact = k * volatility of a day * sqrt(order / volume of a day)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cappuccino.portfolio.conditions import Conditions
from cappuccino.settings import CostSettings

ROUNDING_USD = 1e-6  # what float64 leaves of "hold exactly what you have"; never worth an order
MAX_IMPACT_FRAC = 0.5
"""Largest impact: the law knows orders of a few percent of a day's volume, and nothing of markets that stand still."""
_LEAST_VOLUME_USD = 1.0  # keeps the order's share of an empty market finite


@dataclass(frozen=True, slots=True)
class Costs:
    """Cost of trading: fees, spread and slippage in basis points, smallest order in USD."""

    fee_bps: float
    """Of a taker."""
    slippage_bps: float
    min_order_usd: float
    spread_bps: float = 0.0
    """Bid to ask; a taker pays half."""
    impact: float = 0.0
    """Coefficient k of the square-root law; 0 = none."""
    maker_fee_bps: float = 0.0
    maker_share_frac: float = 0.0
    """Expected share of each fill that rests in the book: it pays the maker's fee, and neither spread nor slippage."""

    @classmethod
    def of(cls, settings: CostSettings) -> Costs:
        return cls(
            fee_bps=settings.fee_bps,
            slippage_bps=settings.slippage_bps,
            min_order_usd=settings.min_order_usd,
            spread_bps=settings.spread_bps,
            impact=settings.impact,
            maker_fee_bps=settings.maker_fee_bps,
            maker_share_frac=settings.maker_share_frac,
        )

    @property
    def fee_frac(self) -> float:
        """Expected fee on a fill."""
        return (self.fee_bps * (1.0 - self.maker_share_frac) + self.maker_fee_bps * self.maker_share_frac) / 1e4

    @property
    def slippage_frac(self) -> float:
        """Expected distance of a fill from the market's price, half the spread included, impact not."""
        return (self.slippage_bps + 0.5 * self.spread_bps) * (1.0 - self.maker_share_frac) / 1e4

    @property
    def smallest_order_usd(self) -> float:
        """Notional below which an order is not sent; never 0, so that rounding does not trade.

        0 only for a negative `min_order_usd`, where gradients ask what an order of nothing would change.
        """
        return max(self.min_order_usd, ROUNDING_USD) if self.min_order_usd >= 0 else 0.0


def fill_price(market_usd: Tensor, side: Tensor, slippage_frac: float, impact: Tensor | None = None) -> Tensor:
    """Return the price of a fill, moved against us; `side` is +1 buys, -1 sells, 0 neither; `impact` (N, A)."""
    if impact is None:
        return market_usd * torch.add(1.0, side, alpha=slippage_frac)
    return market_usd * (1.0 + side * (slippage_frac + impact))


def impact_frac(wanted_usd: Tensor, conditions: Conditions, coefficient: float) -> Tensor:
    """Return how far an order for `wanted_usd` (N, A, unsigned) moves its price: k * sigma * sqrt(order / volume).

    The square-root law (Almgren, Thum, Hauptmann & Li 2005; Toth et al. 2011), k of order 1. Everything pays the full
    move, where a patient execution would pay about two thirds of it, and the move is gone by the next bar.
    """
    # Below an order that is never sent the root is level: at 0 its slope would be infinite.
    share = wanted_usd.clamp(min=ROUNDING_USD) / conditions.daily_volume_usd.clamp(min=_LEAST_VOLUME_USD)
    return (coefficient * conditions.daily_volatility_frac * torch.sqrt(share)).clamp(max=MAX_IMPACT_FRAC)


def fee_usd(notional_usd: Tensor, fee_frac: float) -> Tensor:
    """Return the fee on an unsigned notional value."""
    return notional_usd * fee_frac
