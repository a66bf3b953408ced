"""From findings of days to a verdict about the whole record: one row per check and symbol."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

import polars as pl

from cappuccino.market.interval import Interval
from cappuccino.market.quality_catalogue import DAILY, RESULT_SCHEMA, SEVERITIES, SIZED, size_limit
from cappuccino.market.quality_days import judged
from cappuccino.market.source import utc_text
from cappuccino.settings import MarketSettings


@dataclass(frozen=True)
class Newest:
    """How far each symbol's bars reach, seen at a moment."""

    interval: Interval
    start: datetime
    """Where the record could begin."""
    now: datetime
    opens: dict[str, datetime]
    """Open of the newest bar that is complete at `now`; symbols without one are absent."""
    n_marked: dict[str, int] = field(default_factory=dict)
    """Bars that are there, but marked as filled."""


class _Finding(NamedTuple):
    check: str
    symbol: str
    severity: str
    passed: bool
    n_bad: int
    n_checked: int
    figure: float
    detail: str


def summary(days: pl.DataFrame, symbols: tuple[str, ...], settings: MarketSettings) -> pl.DataFrame:
    """Return one row per symbol and daily check over all `days` (findings as `check_days` gives them, any order).

    Counts add up; the figure is the share of bad bars, or the largest size; the detail is that of the worst day, the
    earliest of equals. Severity and verdict are those of `settings` now, whatever they were when a day was checked.
    Symbols and checks without a day have counts of 0. Columns as RESULT_SCHEMA.
    """
    n_bad, n_checked, is_sized = pl.col("n_bad"), pl.col("n_checked"), pl.col("check").is_in(SIZED)
    badness = pl.when(is_sized).then(pl.col("figure")).otherwise(n_bad)
    share = n_bad.sum() / n_checked.sum()
    totals = (
        judged(days, settings)
        .sort("day")
        .group_by("symbol", "check")
        .agg(
            n_bad=n_bad.sum(),
            n_checked=n_checked.sum(),
            figure=pl.when(is_sized.first()).then(pl.col("figure").max()).otherwise(share),
            n_days=(~pl.col("passed")).sum(),
            worst=pl.col("detail").get(badness.arg_max()),
        )
    )
    wanted = pl.DataFrame({"symbol": symbols}).join(pl.DataFrame({"check": DAILY}), how="cross")
    whole = wanted.join(totals, on=["symbol", "check"], how="left", maintain_order="left").with_columns(
        pl.col("n_bad", "n_checked", "n_days").fill_null(0),
        pl.col("figure").fill_null(0.0).fill_nan(0.0),
        pl.col("worst").fill_null(""),
    )
    rated = judged(whole, settings).with_columns(detail=_detail(settings))
    return rated.select(pl.col(name).cast(kind) for name, kind in RESULT_SCHEMA.items())


def _detail(settings: MarketSettings) -> pl.Expr:
    worst, n_days = pl.col("worst"), pl.col("n_days")
    text = worst
    for name in SIZED:
        is_sized = (pl.col("check") == name) & (worst != "")
        limited = pl.format("largest {}, limit {}", worst, pl.lit(f"{size_limit(name, settings):g}"))
        text = pl.when(is_sized).then(limited).otherwise(text)
    return pl.when(n_days > 1).then(pl.format("{}; on {} days", text, n_days)).otherwise(text)


def of_record(days: pl.DataFrame, symbols: tuple[str, ...], newest: Newest, settings: MarketSettings) -> pl.DataFrame:
    """Return the findings about the record as a whole: missing_symbols, stale and filled_share of each symbol.

    `days` is what `summary` returned. Columns as RESULT_SCHEMA.
    """
    totals = days.filter(pl.col("check").is_in(("gaps", "halts"))).group_by("symbol")
    absent = totals.agg(pl.col("n_bad").sum(), pl.col("n_checked").max())
    counts = {symbol: (n_absent, n_expected) for symbol, n_absent, n_expected in absent.iter_rows()}
    findings = []
    for symbol in symbols:
        n_absent, n_expected = counts.get(symbol, (0, 0))
        findings += [
            _missing(symbol, n_absent, n_expected),
            _stale(symbol, newest, settings),
            _filled_share(symbol, n_absent + newest.n_marked.get(symbol, 0), n_expected, settings.max_filled_frac),
        ]
    return pl.DataFrame(findings, schema=RESULT_SCHEMA, orient="row")


def _missing(symbol: str, n_absent: int, n_expected: int) -> _Finding:
    n_bars = n_expected - n_absent
    detail = f"{n_bars} bars" if n_bars else "no bar in the range"
    return _verdict("missing_symbols", symbol, n_bars > 0, int(not n_bars), 1, float(not n_bars), detail)


def _stale(symbol: str, newest: Newest, settings: MarketSettings) -> _Finding:
    """Compare the age of the newest complete bar, from its open, with two intervals and the grace time.

    The newest complete bar of a live market opened one to two intervals ago, so the first bar to stay away is
    noticed. The figure is the age in intervals; without any bar it is that of the range.
    """
    duration, opened = newest.interval.duration, newest.opens.get(symbol)
    limit = 2 * duration + timedelta(minutes=settings.grace_minutes)
    age = newest.now - (opened or newest.start)
    detail = (
        f"newest complete bar opened at {utc_text(opened)}, {age} before {utc_text(newest.now)}; limit {limit}"
        if opened
        else f"no complete bar at {utc_text(newest.now)}"
    )
    is_fresh = opened is not None and age <= limit
    return _verdict("stale", symbol, is_fresh, int(not is_fresh), 1, age / duration, detail)


def _filled_share(symbol: str, n_filled: int, n_expected: int, limit: float) -> _Finding:
    share = n_filled / n_expected if n_expected else 0.0
    detail = f"{n_filled} of {n_expected} bars absent or filled, {share:.2%}; limit {limit:.2%}"
    return _verdict("filled_share", symbol, share <= limit, n_filled, n_expected, share, detail)


def _verdict(check: str, symbol: str, passed: bool, n_bad: int, n_checked: int, figure: float, detail: str) -> _Finding:
    return _Finding(check, symbol, SEVERITIES[check], passed, n_bad, n_checked, figure, detail)
