"""Quality of the bars that the warehouse holds: found day by day, kept in ops.data_quality, judged as a whole."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any, Protocol

import polars as pl

from cappuccino.clock import require_utc
from cappuccino.market.interval import DAY, Interval
from cappuccino.market.quality import DAILY, RECORD, in_order
from cappuccino.market.quality_catalogue import DAY_SCHEMA, RESULT_SCHEMA
from cappuccino.market.quality_days import KEY, check_days, judged
from cappuccino.market.quality_record import Newest, of_record, summary
from cappuccino.market.ranges import Range
from cappuccino.market.record_bars import RecordBars
from cappuccino.settings import MarketSettings
from cappuccino.store.warehouse import Warehouse


class Queries(Protocol):
    """Answers SQL: an open reader, or the warehouse itself."""

    def query(self, sql: str, /, **params: Any) -> pl.DataFrame: ...


def check_record(
    warehouse: Warehouse, market: MarketSettings, now: datetime, days: Range | None = None
) -> pl.DataFrame:
    """Check stored bars that had closed at `now`, replace their rows of ops.data_quality, and judge the whole record.

    `days` is the range whose bars have changed, that of a sync: days before it are not looked at again, unless a hole
    reaches back to them, or they were never checked, or their bars are others than then; a change of the symbols looks
    at everything, because halts are told by all of them. None checks all. Returns a row per symbol and check about the
    window that `market` asks for, as `quality.check` does. Raises DataError without any bar.
    """
    now = require_utc(now)
    with warehouse.read() as reader:
        bars = RecordBars(reader, market, now)
        first = bars.first if days is None else bars.first_to_check(days[0])
        since = date.min if first <= bars.first else first.date()
        fresh = _checked(bars, first, market)
        before = stored_days(reader, market, first_day(market, now), first.date())
        spans, held = bars.spans, bars.held
    inside = fresh.filter(pl.col("day") >= first_day(market, now))
    whole = summary(pl.concat([before, inside]), market.symbols, market)
    opens = dict(spans.select("symbol", "last").iter_rows())
    about = of_record(whole, market.symbols, Newest(market.base_interval, _midnight(market, now), now, opens), market)
    _store(warehouse, market, now, since, fresh.join(held, on=KEY, how="left"), about)
    return in_order(pl.concat([whole, about]), market.symbols)


def state(reader: Queries, market: MarketSettings) -> pl.DataFrame:
    """Return the verdict of the newest look, as `check_record` returned it, from ops.data_quality; empty before."""
    about = reader.query(
        """
        select * from ops.data_quality
        where interval = $interval and list_contains($checks, "check") and list_contains($symbols, symbol)
        qualify "day" = max("day") over ()
        """,
        interval=market.base_interval.value,
        symbols=list(market.symbols),
        checks=list(RECORD),
    )
    if about.is_empty():
        return pl.DataFrame(schema=RESULT_SCHEMA)
    now = about["checked_at_utc"][0]
    days = stored_days(reader, market, first_day(market, now), now.date() + timedelta(days=1))
    whole = summary(days, market.symbols, market)
    return in_order(pl.concat([whole, about.select(list(RESULT_SCHEMA))]), market.symbols)


def worst_days(reader: Queries, market: MarketSettings, now: datetime, n_days: int = 8) -> pl.DataFrame:
    """Return the worst `n_days` of each daily check that fail: check, day, symbol, n_bad, n_checked, figure, detail.

    They are judged by `market`, whatever the limits were when a day was checked.
    """
    found = stored_days(reader, market, first_day(market, now), now.date() + timedelta(days=1))
    ordered = (
        judged(found, market)
        .filter(~pl.col("passed"))
        .sort("check", "n_bad", "figure", "day", descending=[False, True, True, False])
    )
    columns = ("check", "day", "symbol", "n_bad", "n_checked", "figure", "detail")
    return ordered.group_by("check", maintain_order=True).head(n_days).select(columns)


def first_day(market: MarketSettings, now: datetime) -> date:
    """Return the first day of the window that the configuration asks for."""
    return _midnight(market, now).date()


def stored_days(reader: Queries, market: MarketSettings, start: date, stop: date) -> pl.DataFrame:
    """Return what daily checks found about [start, stop), in the columns of DAY_SCHEMA."""
    return reader.query(
        """
        select "day", "check", symbol, severity, passed, n_bad, n_checked, figure, detail
        from ops.data_quality
        where interval = $interval and "day" >= $start and "day" < $stop
            and list_contains($checks, "check") and list_contains($symbols, symbol)
        """,
        interval=market.base_interval.value,
        start=start,
        stop=stop,
        symbols=list(market.symbols),
        checks=list(DAILY),
    ).select(list(DAY_SCHEMA))


def _midnight(market: MarketSettings, now: datetime) -> datetime:
    return Interval.D1.floor(market.start or now - market.history_days * DAY)


def _checked(bars: RecordBars, first: datetime, market: MarketSettings) -> pl.DataFrame:
    found = [
        check_days(frame, bars.spans, bars.halted, market.base_interval, start, stop, market)
        for frame, start, stop in bars.blocks(first)
    ]
    return pl.concat(found) if found else pl.DataFrame(schema=DAY_SCHEMA)


def _store(
    warehouse: Warehouse, market: MarketSettings, now: datetime, first: date, days: pl.DataFrame, about: pl.DataFrame
) -> None:
    """Replace the findings about the days from `first` on, and those about the record of the day of `now`.

    Nothing is left of days after that one: it is from when the clock said something else, and `state` would take it
    for the newest look.
    """
    stamps = (
        pl.lit(now).dt.cast_time_unit("us").alias("checked_at_utc"),
        pl.lit(market.base_interval.value).alias("interval"),
    )
    today = now.date()
    looked = about.with_columns(day=pl.lit(today)).select(list(DAY_SCHEMA))
    rows = pl.concat([days, looked], how="diagonal").with_columns(*stamps)
    with warehouse.write() as writer:
        writer.replace(
            "ops.data_quality",
            rows,
            """
            -- Rows without a day are from before there were any.
            "day" is null
            or (interval = $interval and "day" >= $today)
            or (interval = $interval and "day" >= $first and list_contains($daily, "check"))
            """,
            interval=market.base_interval.value,
            first=first,
            today=today,
            daily=list(DAILY),
        )
