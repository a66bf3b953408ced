"""Quotes of the simulated market: the price at which its present minute opened."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import polars as pl

from cappuccino.clock import Clock
from cappuccino.market.interval import DAY, Interval
from cappuccino.market.quotes import Quote
from cappuccino.market.simulated import SimulatedSource


class SimulatedQuotes:
    """Bid and ask are the same: what a fill costs beside fees says the cost model."""

    def __init__(self, source: SimulatedSource, clock: Clock) -> None:
        self._source, self._clock = source, clock
        self._day: tuple[tuple[str, ...], datetime] | None = None
        self._opens: dict[str, pl.Series] = {}
        """Of all minutes of `_day`: a minute alone takes as long to make."""

    def quotes(self, symbols: tuple[str, ...]) -> Mapping[str, Quote]:
        """Return the quotes of now; none before the market's first day."""
        now = self._clock.now()
        day = Interval.D1.floor(now)
        if self._day != (symbols, day):
            bars = self._source.bars(symbols, Interval.M1, day, day + DAY)
            parts = bars.partition_by("symbol", as_dict=True, include_key=False)
            self._opens = {str(symbol): rows["open"] for (symbol,), rows in parts.items()}
            self._day = (symbols, day)
        minute = (now - day) // Interval.M1.duration
        return {symbol: Quote(symbol, opens[minute], opens[minute], now) for symbol, opens in self._opens.items()}
