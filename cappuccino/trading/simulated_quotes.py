"""Quotes of the simulated market: the price at which its present minute opened."""

from __future__ import annotations

from collections.abc import Mapping

from cappuccino.clock import Clock
from cappuccino.market.interval import Interval
from cappuccino.market.quotes import Quote
from cappuccino.market.simulated import SimulatedSource


class SimulatedQuotes:
    """Bid and ask are the same: what a fill costs beside fees says the cost model."""

    def __init__(self, source: SimulatedSource, clock: Clock) -> None:
        self._source, self._clock = source, clock

    def quotes(self, symbols: tuple[str, ...]) -> Mapping[str, Quote]:
        """Return the quotes of now."""
        minute, now = Interval.M1, self._clock.now()
        opened_at = minute.floor(now)
        bars = self._source.bars(symbols, minute, opened_at, opened_at + minute.duration)
        opens = bars.select("symbol", "open").iter_rows()
        return {symbol: Quote(symbol, price, price, now) for symbol, price in opens}
