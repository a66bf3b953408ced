"""What is wrong with bars, as figures: pure and vectorised.

    quality_catalogue   the checks: meanings, severities, columns
    quality_holes       absent bars, told apart into halts of the exchange and holes of a source
    quality_days        the checks of each symbol's days
    quality_record      days added up, and the checks of the record as a whole

`check` does all of it for a frame of bars that anything gave; `market.record` does it for the warehouse.
"""

from __future__ import annotations

from datetime import datetime

import polars as pl

from cappuccino.clock import require_utc
from cappuccino.errors import DataError
from cappuccino.market.interval import Interval
from cappuccino.market.quality_catalogue import (
    DAILY,
    MEANINGS,
    RECORD,
    RESULT_SCHEMA,
    SEVERITIES,
    can_block,
    severities,
)
from cappuccino.market.quality_days import check_days, on_grid
from cappuccino.market.quality_holes import halts, moves_of, opened, spans_of
from cappuccino.market.quality_record import Newest, of_record, summary
from cappuccino.market.source import BAR_SCHEMA
from cappuccino.settings import MarketSettings

__all__ = ["DAILY", "MEANINGS", "RECORD", "RESULT_SCHEMA", "SEVERITIES", "can_block", "check", "in_order", "severities"]


def check(
    frame: pl.DataFrame,
    symbols: tuple[str, ...],
    interval: Interval,
    start: datetime,
    stop: datetime,
    now: datetime,
    settings: MarketSettings,
) -> pl.DataFrame:
    """Return the findings of all checks about the bars of `symbols` that opened in [start, stop).

    `frame` has the columns of BAR_SCHEMA, and `is_filled` if filled bars are among them; no order, no uniqueness and
    no values are assumed. The result has a row per symbol and check: check, symbol, severity, passed, n_bad,
    n_checked, figure (a share, or the size that is compared with a limit) and detail (the worst place, for people).
    Staleness is judged at `now`: for a range of the past, pass its end. Raises DataError when a column is absent, of
    another type, or names no symbol, ValueError when the range does not lie on the grid.
    """
    start, stop, present = _on_grid(start, interval), _on_grid(stop, interval), require_utc(now)
    rows = _required(frame, symbols, start, stop)
    bars = rows.filter(on_grid(interval))
    spans = spans_of(bars)
    days = check_days(rows, spans, halts(moves_of(bars), spans, interval), interval, start, stop, settings)
    whole = summary(days, symbols, settings)
    complete = bars.filter(opened <= present - interval.duration)
    newest = Newest(
        interval,
        start,
        present,
        dict(complete.group_by("symbol").agg(opened.max()).iter_rows()),
        dict(bars.unique(["symbol", "opened_at_utc"]).group_by("symbol").agg(pl.col("is_filled").sum()).iter_rows()),
    )
    return in_order(pl.concat([whole, of_record(whole, symbols, newest, settings)]), symbols)


def in_order(findings: pl.DataFrame, symbols: tuple[str, ...]) -> pl.DataFrame:
    """Return findings in the order of the symbols, then of the checks in SEVERITIES."""
    place = [
        pl.col(name).replace_strict(list(order), list(range(len(order))))
        for name, order in (("symbol", symbols), ("check", SEVERITIES))
    ]
    return findings.sort(place)


def _on_grid(moment: datetime, interval: Interval) -> datetime:
    if interval.floor(moment) != require_utc(moment):
        raise ValueError(f"{moment} is not on the {interval} grid; bars are checked from open to open")
    return require_utc(moment)


def _required(frame: pl.DataFrame, symbols: tuple[str, ...], start: datetime, stop: datetime) -> pl.DataFrame:
    """Return the rows of the range, with is_filled."""
    wrong = [name for name, dtype in BAR_SCHEMA.items() if frame.schema.get(name) != dtype]
    if wrong:
        raise DataError(
            f"bars cannot be checked: column {', '.join(wrong)} is absent or not {BAR_SCHEMA[wrong[0]]}; "
            f"found {dict(frame.schema)}"
        )
    if frame["symbol"].null_count():
        raise DataError(f"bars cannot be checked: {frame['symbol'].null_count()} rows name no symbol; remove them")
    in_range = opened.is_null() | ((opened >= start) & (opened < stop))
    rows = frame.filter(pl.col("symbol").is_in(symbols) & in_range)
    return rows if "is_filled" in rows.columns else rows.with_columns(is_filled=pl.lit(value=False))
