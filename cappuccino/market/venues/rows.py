"""What a venue handed over, made fit for `check_frame`: dropped and counted where it cannot be true, never patched.

A bar that is dropped is a hole, and the quality checks find holes. A patched bar would be found by nobody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from cappuccino.errors import SourceError
from cappuccino.market.interval import Interval
from cappuccino.market.ranges import Ask
from cappuccino.market.source import BAR_SCHEMA, PRICES, TIME, utc_text

NUMBERS = (*PRICES, "volume")
KEY = ("symbol", "opened_at_utc")
MAX_BAD_FRAC, MAX_BAD_BARS = 0.05, 10
"""An answer with a larger share of bad bars, and more of them, is nonsense as a whole."""


@dataclass(frozen=True)
class Kept:
    """The good bars of an answer, in columns of BAR_SCHEMA, sorted by symbol and time."""

    bars: pl.DataFrame
    n_rows: int
    """Different rows of the answer."""
    n_bad: int
    example: str
    """The first bad bar: symbol, time, column and value; empty without one."""

    def refuse_nonsense(self, origin: str) -> None:
        """Raise SourceError, naming `origin` and a bar, when too many bars are bad to believe the others."""
        if self.n_bad > MAX_BAD_BARS and self.n_bad > MAX_BAD_FRAC * self.n_rows:
            raise SourceError(
                f"{origin}: {self.n_bad:,} of {self.n_rows:,} bars cannot be true, so none is taken; the first: "
                f"{self.example}. Sync again later; if it stays, the venue or its interface has changed"
            )


def raw_frame(symbols: Sequence[str], opened_at: pl.Series, numbers: Mapping[str, Sequence[Any]]) -> pl.DataFrame:
    """Return rows as the venue sent them in types of BAR_SCHEMA; what cannot be read is null.

    `opened_at` holds times in UTC, each of `numbers` numbers or their text.
    """
    columns = {name: _numbers(values) for name, values in numbers.items()}
    frame = pl.DataFrame({"symbol": pl.Series(symbols, dtype=pl.String), "opened_at_utc": opened_at, **columns})
    return frame.select(pl.col(name).cast(wanted) for name, wanted in BAR_SCHEMA.items())


def _numbers(values: Sequence[Any]) -> pl.Series:
    if any(isinstance(value, str) for value in values):
        return pl.Series(values, dtype=pl.String, strict=False).cast(pl.Float64, strict=False)
    return pl.Series(values, dtype=pl.Float64, strict=False)


def fit(raw: pl.DataFrame, ask: Ask, interval: Interval, now: datetime) -> Kept:
    """Return the bars of `raw` that answer `ask` and had closed at `now`, in whatever order and how often they came.

    Left out in silence: repetitions, the bar before the range and the one after it (ends may be inclusive), and the
    bar still in progress. Left out and counted as bad: what nobody asked for, the future, times off the grid,
    numbers that no market makes, and different bars of the same time. Of those none is kept: nothing says which is
    right, and choosing by order would make the record depend on it.
    """
    # `unique` takes -0.0 for 0.0 and keeps either; adding 0.0, which would mend the sign, is optimised away.
    rows = raw.with_columns(pl.when(pl.col(n) == 0).then(0.0).otherwise(n).alias(n) for n in NUMBERS).unique()
    judged = rows.with_columns(_fault(ask, interval, now).alias("fault"))
    judged = judged.filter(pl.col("fault").is_not_null() | ~_is_left_out(ask, interval, now))
    judged = judged.with_columns(_with_contradictions())
    bad = judged.filter(pl.col("fault").is_not_null())
    good = judged.filter(pl.col("fault").is_null()).select(*BAR_SCHEMA).sort(*KEY)
    return Kept(good, len(rows), len(bad), _example(bad))


def _is_left_out(ask: Ask, interval: Interval, now: datetime) -> pl.Expr:
    opened = pl.col("opened_at_utc")
    return (opened < _time(ask.start)) | (opened >= _time(ask.stop)) | _is_open(interval, now)


def _is_open(interval: Interval, now: datetime) -> pl.Expr:
    return pl.col("opened_at_utc") > _time(now - interval.duration)


def _fault(ask: Ask, interval: Interval, now: datetime) -> pl.Expr:
    """Return what is wrong with each row, as a text with the names of columns to fill in; null for a good row."""
    opened = pl.col("opened_at_utc")
    near = opened.is_between(_time(ask.start - interval.duration), _time(ask.stop + interval.duration), closed="left")
    strange = [
        (opened.is_null(), "its time cannot be read"),
        (pl.col("symbol").is_in(list(ask.symbols)).not_(), "the symbol was not asked for"),
        (opened > _time(now), f"it opens in the future, now is {utc_text(now)}"),
        (near.not_(), f"asked for was {utc_text(ask.start)} to {utc_text(ask.stop)}"),
    ]
    untrue = [
        (opened.dt.epoch("us") % interval.us != 0, f"it is not on the grid of {interval} bars"),
        *((_is_no_price(name), f"{name} is {{{name}}}, and prices are positive numbers") for name in PRICES),
        (_is_no_volume(), "volume is {volume}, and volumes are numbers from 0 on"),
        (_is_inside_out(), "low {low} and high {high} do not hold open {open} and close {close} between them"),
    ]
    # What lies beside the range or is still open is no bar of ours, so its values are nobody's business.
    wanted = ~_is_left_out(ask, interval, now)
    cases = [*strange, *((wanted & is_bad, text) for is_bad, text in untrue)]
    return pl.coalesce(pl.when(is_bad).then(pl.lit(text)) for is_bad, text in cases)


def _is_no_price(name: str) -> pl.Expr:
    return ((pl.col(name) > 0) & pl.col(name).is_finite()).fill_null(False).not_()


def _is_no_volume() -> pl.Expr:
    return ((pl.col("volume") >= 0) & pl.col("volume").is_finite()).fill_null(False).not_()


def _is_inside_out() -> pl.Expr:
    low, high = pl.min_horizontal("open", "close"), pl.max_horizontal("open", "close")
    return (pl.col("low") > low) | (pl.col("high") < high)


def _with_contradictions() -> pl.Expr:
    """Return the column `fault` with every good row marked that shares its time with another good one."""
    is_good = pl.col("fault").is_null()
    text = pl.lit("it came several times with different values, one of them close {close}")
    return pl.when(is_good & (is_good.sum().over(*KEY) > 1)).then(text).otherwise("fault").alias("fault")


def _example(bad: pl.DataFrame) -> str:
    if bad.is_empty():
        return ""
    bar = bad.sort(*BAR_SCHEMA).row(0, named=True)
    return f"{bar['symbol']} at {utc_text(bar['opened_at_utc'])}: {bar['fault'].format(**bar)}"


def _time(moment: datetime) -> pl.Expr:
    return pl.lit(moment, dtype=TIME)
