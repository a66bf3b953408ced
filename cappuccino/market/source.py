"""What every source of bars offers, and the frame that it must hand over."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol, runtime_checkable

import polars as pl

from cappuccino.clock import require_utc
from cappuccino.errors import DataError
from cappuccino.market.interval import Interval

TIME = pl.Datetime("us", "UTC")
BAR_SCHEMA: dict[str, pl.DataType] = {
    "symbol": pl.String(),
    "opened_at_utc": TIME,
    "open": pl.Float64(),
    "high": pl.Float64(),
    "low": pl.Float64(),
    "close": pl.Float64(),
    "volume": pl.Float64(),
}
"""Columns of raw bars: prices in quote currency, volume in base units, one row per symbol and open."""

PRICES = ("open", "high", "low", "close")


class BarSource(Protocol):
    """Where bars come from. Sources hand over what they have: a hole stays a hole."""

    @property
    def name(self) -> str:
        """Short name for tables and messages."""
        ...

    @property
    def is_simulated(self) -> bool:
        """True when no bar ever traded; whoever shows such bars says so."""
        ...

    @property
    def chunk_bars(self) -> int:
        """Bars worth asking for, and storing, at once."""
        ...

    def symbols(self) -> tuple[str, ...]:
        """Return the symbols that the source knows."""
        ...

    def span(self) -> tuple[datetime, datetime] | None:
        """Return (first open, close of the last bar); None when there is no end."""
        ...

    def bars(self, symbols: tuple[str, ...], interval: Interval, start: datetime, stop: datetime) -> pl.DataFrame:
        """Return the bars that opened in [start, stop), checked by `check_frame`.

        Raises DataError for bars that cannot be trusted, ValueError for a range without zone or turned round.
        """
        ...


@runtime_checkable
class RemoteSource(BarSource, Protocol):
    """A source that is asked over a network: what it has answered is not asked again, and its failures are kept."""

    def drain(self) -> pl.DataFrame:
        """Return how its calls went since the last time, in columns of ops.api_errors but for `synced_at_utc`."""
        ...


LOCAL_CHUNK_BARS = 1_000_000
"""Bars that a source on this machine gives at once: a few hundred MB on their way into the warehouse."""


def check_range(start: datetime, stop: datetime) -> tuple[datetime, datetime]:
    """Return both in UTC; raises ValueError when one has no zone or `stop` is before `start`."""
    start, stop = require_utc(start), require_utc(stop)
    if stop < start:
        raise ValueError(f"bars from {start} to {stop}: the end is before the start")
    return start, stop


def empty_frame() -> pl.DataFrame:
    """Return no bars in the right columns."""
    return pl.DataFrame(schema=BAR_SCHEMA)


def utc_text(moment: datetime | None) -> str:
    """Return a moment as people read it in messages."""
    return "no time" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S} UTC".replace(":00 UTC", " UTC")


def check_frame(frame: pl.DataFrame, interval: Interval, origin: str) -> pl.DataFrame:
    """Return `frame` with exactly the columns of BAR_SCHEMA, proven to be bars of `interval`.

    Proven: types; nothing null, NaN or infinite; prices positive; volume not negative; low <= open, close <=
    high; times on the interval's grid; sorted by symbol and time without repetition. Raises DataError that
    names `origin`, symbol, time and column of the first row that breaks one.
    """
    frame = _check_columns(frame, origin)
    failures = [*_bad_values(), *_bad_times(interval)]
    found = frame.select(is_bad.any().alias(str(n)) for n, (is_bad, _) in enumerate(failures)).row(0)
    for (is_bad, text), is_found in zip(failures, found, strict=True):
        if is_found:
            bar = frame.filter(is_bad).row(0, named=True)
            where = f"{bar['symbol']} at {utc_text(bar['opened_at_utc'])}"
            raise DataError(f"{origin}: {where}: {text.format(**bar)}")
    return frame


def _check_columns(frame: pl.DataFrame, origin: str) -> pl.DataFrame:
    missing = [name for name in BAR_SCHEMA if name not in frame.columns]
    if missing:
        raise DataError(
            f"{origin}: column {', '.join(missing)} is missing, found {', '.join(frame.columns)}; "
            f"bars need {', '.join(BAR_SCHEMA)}"
        )
    for name, wanted in BAR_SCHEMA.items():
        if frame.schema[name] != wanted:
            raise DataError(f"{origin}: column {name} is {frame.schema[name]}, bars need {wanted}; convert it")
    return frame.select(*BAR_SCHEMA)


_Failure = tuple[pl.Expr, str]


def _bad_values() -> list[_Failure]:
    """Return (is the row bad, what is wrong and what to do) for all that one row shows by itself."""
    numbers = (*PRICES, "volume")
    absent = [(pl.col(name).is_null(), f"{name} is missing; fill it in, or remove the row") for name in BAR_SCHEMA]
    not_finite = [
        (~pl.col(name).is_finite(), f"{name} is {{{name}}}; correct the bar, or remove it") for name in numbers
    ]
    not_positive = [
        (pl.col(name) <= 0, f"{name} is {{{name}}}, prices are above zero; correct the bar, or remove it")
        for name in PRICES
    ]
    negative = (pl.col("volume") < 0, "volume is {volume}; correct the bar, or remove it")
    low_high = (
        (pl.col("low") > pl.min_horizontal("open", "close")) | (pl.col("high") < pl.max_horizontal("open", "close")),
        "low <= open, close <= high is broken (open {open}, high {high}, low {low}, close {close}); "
        "correct the bar, or remove it",
    )
    return [*absent, *not_finite, *not_positive, negative, low_high]


def _bad_times(interval: Interval) -> list[_Failure]:
    symbol, time = pl.col("symbol"), pl.col("opened_at_utc")
    same = symbol == symbol.shift(1)
    return [
        (
            time.dt.epoch("us") % interval.us != 0,
            f"not on the grid of {interval} bars, which open at multiples of {interval} after midnight UTC; "
            "correct the time, or ask for another interval",
        ),
        (same & (time == time.shift(1)), "the bar is there twice; keep one of the two"),
        (
            (same & (time < time.shift(1))) | (symbol < symbol.shift(1)),
            "the bar comes after a later one; sort by symbol and time",
        ),
    ]
