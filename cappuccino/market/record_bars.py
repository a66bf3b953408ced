"""Stored bars for the quality checks: in blocks of days that fit into memory, and since when they need checking."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import polars as pl

from cappuccino.errors import DataError
from cappuccino.market.interval import DAY, Interval
from cappuccino.market.quality_days import KEY
from cappuccino.market.quality_holes import LONGEST_HALT, halts
from cappuccino.settings import MarketSettings
from cappuccino.store.warehouse import Reader

BLOCK_BARS = 1_000_000
"""Bars that are checked at once: a few hundred MB."""


@dataclass(frozen=True)
class RecordBars:
    """The bars of `market.symbols` that had closed at `now`."""

    reader: Reader
    market: MarketSettings
    now: datetime

    @cached_property
    def spans(self) -> pl.DataFrame:
        """Return symbol, first and last (opens on the grid) of each symbol with bars; raises DataError without any."""
        found = self._query(
            """
            select symbol, min(opened_at_utc) as first, max(opened_at_utc) as last
            from market.bars
            where closed_at_utc <= $now and list_contains($symbols, symbol) and epoch_us(opened_at_utc) % $us = 0
            group by symbol
            order by symbol
            """
        )
        if found.is_empty():
            wanted = ", ".join(self.market.symbols)
            raise DataError(f"the warehouse has no bars of {wanted}; materialise market/bars first")
        return found

    @property
    def first(self) -> datetime:
        """Midnight of the first day."""
        return Interval.D1.floor(_moment(self.spans["first"].min()))

    @property
    def stop(self) -> datetime:
        """Close of the last bar."""
        return _moment(self.spans["last"].max()) + self.market.base_interval.duration

    @cached_property
    def halted(self) -> pl.DataFrame:
        """Return first and last of each halt of the exchange, as `quality_holes.halts` does."""
        moves = self._query(
            """
            select distinct opened_at_utc from market.bars
            where closed_at_utc <= $now and list_contains($symbols, symbol) and epoch_us(opened_at_utc) % $us = 0
                and not (volume = 0 and high = low)
            """
        )
        return halts(moves["opened_at_utc"], self.spans, self.market.base_interval)

    @cached_property
    def held(self) -> pl.DataFrame:
        """Return symbol, day and bars_fingerprint of each day with bars.

        The fingerprint need not last: under a DuckDB that hashes otherwise everything is looked at once more.
        """
        return self._query(
            """
            select
                symbol,
                opened_at_utc::date as day,
                -- Half of each hash, so that sums fit.
                sum(hash(opened_at_utc, open, high, low, close, volume) >> 32)::bigint as bars_fingerprint
            from market.bars
            where closed_at_utc <= $now and list_contains($symbols, symbol)
            group by all
            """
        )

    def first_to_check(self, since: datetime) -> datetime:
        """Return the midnight from which days need a check when bars at or after `since` have changed.

        Earlier are days that were never checked, that were not over when they were, or that have other bars than
        then; and those that a hole or a halt reaches back to. All are when the symbols are not those of the last look.
        """
        if self._symbols_of_last_look() != set(self.market.symbols):
            return self.first
        changed = min(moment for moment in (since, self._due(), self.stop) if moment is not None)
        # Who is listed or absent can have changed from there on, hence what is a halt up to a day before, hence the
        # lengths of the holes that lie around those halts.
        listed = self._reach(Interval.D1.floor(changed))
        return Interval.D1.floor(self._reach(listed - LONGEST_HALT))

    def _symbols_of_last_look(self) -> set[str]:
        found = self._query(
            """
            select symbol from ops.data_quality where interval = $interval and "check" = 'stale'
            qualify "day" = max("day") over ()
            """
        )
        return set(found["symbol"])

    def _due(self) -> datetime | None:
        """Return the midnight of the first day whose findings are not those of its bars; None when all are."""
        checked = self._query(
            """
            select symbol, "day", checked_at_utc, n_checked as n_rows, bars_fingerprint as was
            from ops.data_quality
            where interval = $interval and "check" = 'duplicates' and list_contains($symbols, symbol)
                and "day" <= $now::date
            """
        )
        last_day = self.spans.select("symbol", last_day=pl.col("last").dt.date())
        day, is_held = pl.col("day"), pl.col("bars_fingerprint").is_not_null()
        is_over = pl.min_horizontal(day.cast(pl.Datetime("us", "UTC")) + DAY, pl.lit(self.now))
        is_other = pl.col("was").ne_missing(pl.col("bars_fingerprint")) | (pl.col("checked_at_utc") < is_over)
        # Also of the last days of a symbol that were holes: without the bars after them it is not listed any more.
        is_withdrawn = ~is_held & ((pl.col("n_rows") > 0) | (day > pl.col("last_day")))
        due = (
            self.held.join(checked, on=KEY, how="full", coalesce=True)
            .join(last_day, on="symbol", how="left")
            .select(
                pl.when(is_withdrawn)
                .then(pl.min_horizontal("day", "last_day"))
                .when(is_held & is_other)
                .then(day)
                .min()
                .cast(pl.Datetime("us", "UTC"))
            )
            .item()
        )
        return None if due is None else _moment(due)

    def _reach(self, moment: datetime) -> datetime:
        """Return since when symbols can be absent, or listed without bars, at or after `moment`."""
        back = self._query(
            """
            with lasts as (
                select
                    max(opened_at_utc) as last_utc,
                    max(opened_at_utc) filter (where opened_at_utc < $moment) as before_utc
                from market.bars
                where closed_at_utc <= $now and list_contains($symbols, symbol) and epoch_us(opened_at_utc) % $us = 0
                group by symbol
            )

            select min(before_utc) as back from lasts
            where last_utc >= $moment or before_utc >= (select max(before_utc) from lasts) - $silence
            """,
            moment=moment,
            silence=LONGEST_HALT + self.market.base_interval.duration,
        )["back"].item()
        return moment if back is None else min(moment, _moment(back) + self.market.base_interval.duration)

    def blocks(self, first: datetime) -> Iterator[tuple[pl.DataFrame, datetime, datetime]]:
        """Yield (bars, start, stop) from midnight `first` on: whole days, with the nearest bars of each symbol around.

        The frames are as `quality_days.check_days` wants them.
        """
        per_day = len(self.market.symbols) * self.market.base_interval.per_day
        length = max(1, BLOCK_BARS // per_day) * DAY
        start = first
        while start < self.stop:
            stop = min(start + length, self.stop)
            yield self._block(start, stop), start, stop
            start = stop

    def _block(self, start: datetime, stop: datetime) -> pl.DataFrame:
        bars = self._query(
            """
            with known as (
                select symbol, opened_at_utc, open, high, low, close, volume from market.bars
                where closed_at_utc <= $now and list_contains($symbols, symbol)
            ),

            around as (
                select symbol, max(opened_at_utc) as opened_at_utc from known
                where opened_at_utc < $start and epoch_us(opened_at_utc) % $us = 0
                group by symbol
                union all
                select symbol, min(opened_at_utc) as opened_at_utc from known
                where opened_at_utc >= $stop and epoch_us(opened_at_utc) % $us = 0
                group by symbol
            )

            select * from known where opened_at_utc >= $start and opened_at_utc < $stop
            union all
            select known.* from known semi join around using (symbol, opened_at_utc)
            """,
            start=start,
            stop=stop,
        )
        return bars.with_columns(is_filled=pl.lit(value=False))

    def _query(self, sql: str, **params: Any) -> pl.DataFrame:
        interval = self.market.base_interval
        known = {
            "now": self.now,
            "symbols": list(self.market.symbols),
            "us": interval.us,
            "interval": interval.value,
            **params,
        }
        return self.reader.query(sql, **{name: value for name, value in known.items() if f"${name}" in sql})


def _moment(value: object) -> datetime:
    assert isinstance(value, datetime)
    return value
