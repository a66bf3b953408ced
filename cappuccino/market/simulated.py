"""A market that needs nothing: seeded, correlated, with regimes, jumps and fat tails, and without an end."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from cappuccino.market.interval import DAY, Interval
from cappuccino.market.panel import as_datetime64
from cappuccino.market.simulated_days import EPOCH, START_PRICES_USD, market_days, symbol_path
from cappuccino.market.simulated_minutes import Bars, bars, bridge
from cappuccino.market.source import BAR_SCHEMA, LOCAL_CHUNK_BARS, check_frame, check_range, empty_frame

DAYS_AT_ONCE = 32
"""Minutes of so many days are in memory at the same time; the bars do not depend on it."""


@dataclass(frozen=True)
class SimulatedSource:
    """Bars that never traded, from 2020-01-01 to any day that is asked for.

    A bar depends on (seed, symbol, interval, time) alone, not on the other symbols or the range in the call;
    bars of every interval are the exact aggregate of the same minutes. Any name is a symbol.
    """

    seed: int
    name = "simulated"
    is_simulated = True
    chunk_bars = LOCAL_CHUNK_BARS

    def symbols(self) -> tuple[str, ...]:
        """Return the symbols that start at a price people expect; all others work too."""
        return tuple(f"{base}/USD" for base in START_PRICES_USD)

    def span(self) -> None:
        """Return None: there is always a later bar."""
        return

    def bars(self, symbols: tuple[str, ...], interval: Interval, start: datetime, stop: datetime) -> pl.DataFrame:
        """Return the bars that opened in [start, stop); there are none before 2020-01-01.

        Ask only for bars that have closed: this market knows its future, and hands it out.
        """
        start, stop = check_range(start, stop)
        first, end = max(0, (start - EPOCH) // DAY), -((EPOCH - stop) // DAY)
        names = sorted(set(symbols))
        if end <= first or not names:
            return empty_frame()
        frame = pl.concat(
            _frame(symbol, interval, first, parts)
            for symbol, parts in zip(names, self._parts(names, interval, first, end), strict=True)
        )
        in_range = frame.filter((pl.col("opened_at_utc") >= start) & (pl.col("opened_at_utc") < stop))
        return check_frame(in_range, interval, f"simulated market (seed {self.seed})")

    def _parts(self, names: list[str], interval: Interval, first: int, end: int) -> list[list[Bars]]:
        """Return the bars of days [first, end) in pieces, a list for each symbol."""
        minutes_per_bar = interval.duration // timedelta(minutes=1)
        market = market_days(self.seed, end)
        paths = [symbol_path(self.seed, name, market) for name in names]
        parts: list[list[Bars]] = [[] for _ in names]
        for day in range(first, end, DAYS_AT_ONCE):
            stop = min(day + DAYS_AT_ONCE, end)
            shared = bridge(self.seed, "", market, day, stop)
            for path, pieces in zip(paths, parts, strict=True):
                own = bridge(self.seed, path.symbol, path.own, day, stop)
                pieces.append(bars(self.seed, path, shared, own, day, minutes_per_bar))
        return parts


def _frame(symbol: str, interval: Interval, first: int, parts: list[Bars]) -> pl.DataFrame:
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in list(BAR_SCHEMA)[2:]}
    n_bars = len(columns["open"])
    opened_at = as_datetime64(EPOCH + first * DAY) + np.arange(n_bars) * np.timedelta64(interval.us, "us")
    times = pl.Series(opened_at).dt.replace_time_zone("UTC")
    return pl.DataFrame({"symbol": pl.repeat(symbol, n_bars, eager=True), "opened_at_utc": times, **columns})
