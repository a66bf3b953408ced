"""How likely an order that rests at the best price is to be filled in time."""

from __future__ import annotations

import math

from cappuccino.brokers.broker import Side
from cappuccino.market.quotes import Quote

SECONDS_PER_DAY = 86_400.0
DAILY_VOLATILITY_FRAC = 0.04
"""Of a usual day of the larger coins; the probability hardly depends on it, the spread decides."""


def fill_probability(
    quote: Quote, side: Side, horizon_s: float, daily_volatility_frac: float = DAILY_VOLATILITY_FRAC
) -> float:
    """Return the probability in [0, 1] that an order at the best price of its own side is filled within `horizon_s`.

        P = min(1, 2 * Phi(-s / (sigma * sqrt(T))) * 2 * (1 - q))

    s is half the spread, as a share of the middle: so far the middle has to come towards the order (first passage of a
    Brownian motion by the reflection principle, Feller 1971). q is the share of the best two levels that stands on the
    order's own side: where many queue beside us, the price is more likely to move away (Cont, Kukanov & Stoikov 2014);
    1/2 where the sizes are not known.
    """
    sigma = daily_volatility_frac * math.sqrt(horizon_s / SECONDS_PER_DAY)
    half_spread = (quote.ask_usd - quote.bid_usd) / 2.0 / quote.mid_usd
    reached = math.erfc(half_spread / (sigma * math.sqrt(2.0))) if sigma > 0 else 0.0
    own, other = (quote.bid_units, quote.ask_units) if side is Side.BUY else (quote.ask_units, quote.bid_units)
    queue = own / (own + other) if own + other > 0 else 0.5
    return min(1.0, reached * 2.0 * (1.0 - queue))
