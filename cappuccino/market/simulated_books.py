"""Order books of the simulated market, made of its past alone.

    imbalance = tanh(LEAN * r + NOISE * e)

r is the log return over the last hour of 15-minute bars that had closed, in units of the symbol's typical hour, and e a
standard normal that belongs to (seed, symbol, minute). Buyers gather where the price has risen; where it goes next is
not in it, so that nobody earns by reading it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from cappuccino.clock import Clock, require_utc
from cappuccino.market.book import BOOK_SCHEMA
from cappuccino.market.interval import DAY, Interval
from cappuccino.market.panel import FloatArray
from cappuccino.market.simulated import SimulatedSource
from cappuccino.market.simulated_days import EPOCH, IntArray, character, stream

LEAN = 0.5
NOISE = 0.3
DEPTH_DAYS = 1e-4
"""Units on the best levels of both sides, in days of typical volume."""
MINUTE = timedelta(minutes=1)
_QUARTER = Interval.M15
_HOUR_BARS = 4


@dataclass(frozen=True)
class SimulatedBooks:
    """Books that nobody ever wrote; a book depends on (seed, symbol, minute) alone."""

    source: SimulatedSource
    clock: Clock
    name = "simulated"

    def books(self, symbols: tuple[str, ...]) -> pl.DataFrame:
        """Return the books of this minute, see `between`."""
        now = self.clock.now()
        minute = now - (now - EPOCH) % MINUTE
        return self.between(symbols, minute, minute + MINUTE, MINUTE)

    def between(self, symbols: tuple[str, ...], start: datetime, stop: datetime, step: timedelta) -> pl.DataFrame:
        """Return the books seen every `step` from `start` until before `stop`, in columns of BOOK_SCHEMA.

        Moments before the market's second hour have none. Raises ValueError when start or step is not whole minutes.
        """
        start, stop = require_utc(start), require_utc(stop)
        if (start - EPOCH) % MINUTE or step % MINUTE or step < MINUTE:
            raise ValueError(f"books from {start} every {step}: they are there on whole minutes only")
        first = EPOCH + _HOUR_BARS * _QUARTER.duration + _QUARTER.duration
        start = max(start, start + -((start - first) // step) * step)
        seen = pl.datetime_range(start, stop, step, closed="left", time_unit="us", time_zone="UTC", eager=True)
        if seen.is_empty():
            return pl.DataFrame(schema=BOOK_SCHEMA)
        since = _QUARTER.floor(start) - (_HOUR_BARS + 1) * _QUARTER.duration
        bars = self.source.bars(symbols, _QUARTER, since, _QUARTER.floor(seen[-1]))
        names = sorted(set(symbols))
        return pl.concat(self._books_of(name, bars.filter(pl.col("symbol") == name), seen) for name in names)

    def _books_of(self, symbol: str, bars: pl.DataFrame, seen: pl.Series) -> pl.DataFrame:
        traits = character(self.source.seed, symbol)
        opened_us, seen_us = bars["opened_at_utc"].dt.epoch("us").to_numpy(), seen.dt.epoch("us").to_numpy()
        newest = np.searchsorted(opened_us + _QUARTER.us, seen_us, side="right") - 1
        close = bars["close"].to_numpy()
        moved = np.log(close[newest] / close[newest - _HOUR_BARS]) / (traits.volatility / np.sqrt(24))
        imbalance = np.tanh(LEAN * moved + NOISE * self._noise(symbol, seen_us))
        units = DEPTH_DAYS * traits.daily_volume_usd / close[newest]
        columns = [[symbol] * len(seen), seen, units * (1 + imbalance) / 2, units * (1 - imbalance) / 2]
        return pl.DataFrame(dict(zip(BOOK_SCHEMA, columns, strict=True)), schema=BOOK_SCHEMA)

    def _noise(self, symbol: str, seen_us: IntArray) -> FloatArray:
        """Return a standard normal for each minute; (N,) microseconds since 1970 -> (N,)."""
        minutes = (seen_us - int(EPOCH.timestamp()) * 1_000_000) // 60_000_000
        days, in_day = np.divmod(minutes, DAY // MINUTE)
        noise = np.empty(len(minutes))
        for day in np.unique(days):
            draws = stream(self.source.seed, symbol, "book", int(day)).standard_normal(DAY // MINUTE)
            noise[days == day] = draws[in_day[days == day]]
        return noise
