"""Absent bars, and whether the exchange stood still or a source lost them.

A bar is absent when its time is on the grid between the symbol's first and last bar (the symbol is listed then) and
there is no bar. A symbol stands still in a bar when it is absent, or flat (high = low) with volume 0; otherwise it
moves. The exchange is halted while no symbol moves although at least two are listed: the absences of that time are a
halt, all others are holes of a source. With one symbol listed no halt can be told from a hole.

Exchanges come back within hours: where nothing moves for longer than LONGEST_HALT, a source lost the bars, whatever
of it is absent and whatever flat. And they do not come back for all symbols at once: for as long as its silence could
be a halt, a symbol whose bars ended counts as listed. sql/market/absences.sql has the same rules for people and models.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cappuccino.market.interval import Interval

LONGEST_HALT = timedelta(days=1)
_LONGEST_US = LONGEST_HALT // timedelta(microseconds=1)
_NEVER_US = 2**62
"""Later than any bar; negative, it is earlier."""
TIME = pl.Datetime("us", "UTC")
opened = pl.col("opened_at_utc")
STANDS_STILL = ((pl.col("volume") == 0) & (pl.col("high") == pl.col("low"))).fill_null(value=False)
Times = NDArray[np.int64]


def spans_of(bars: pl.DataFrame) -> pl.DataFrame:
    """Return symbol, first and last (opens) of `bars`: from when to when each symbol is listed."""
    return bars.group_by("symbol", maintain_order=True).agg(first=opened.min(), last=opened.max())


def moves_of(bars: pl.DataFrame) -> pl.Series:
    """Return the opens at which a symbol of `bars` moved."""
    return bars.filter(~STANDS_STILL)["opened_at_utc"]


def halts(moves: pl.Series, spans: pl.DataFrame, interval: Interval) -> pl.DataFrame:
    """Return first and last (opens of bars that nobody has, or that are flat) of each halt, the earliest first.

    `moves` are the opens at which any symbol moved, in any order and as often as one likes; `spans` says from when to
    when each symbol is listed (symbol, first, last); both are of the whole record and on the grid.
    """
    if spans.is_empty():
        return pl.DataFrame(schema={"first": TIME, "last": TIME})
    firsts, lasts = _us(spans["first"]), _us(spans["last"])
    oldest, newest = firsts.min(), lasts.max()
    lasts = np.where(newest - lasts - interval.us <= _LONGEST_US, newest, lasts)
    edges = np.unique(np.concatenate([[oldest - interval.us], _us(moves), [newest + interval.us]]))
    begins, ends = edges[:-1] + interval.us, edges[1:]
    is_halt = (begins < ends) & (ends - begins <= _LONGEST_US)
    found = [
        np.stack([np.maximum(begins[is_halt], since), np.minimum(ends[is_halt], until) - interval.us])
        for since, until in _several(firsts, lasts + interval.us)
    ]
    first, last = np.concatenate([np.empty((2, 0), np.int64), *found], axis=1)
    return pl.DataFrame({"first": first, "last": last}).filter(pl.col("first") <= pl.col("last")).cast(TIME)


def _several(begins: Times, ends: Times) -> Iterator[tuple[int, int]]:
    """Yield begin and end of each stretch, the earliest first, of which at least two of the given ones are part."""
    times, place = np.unique(np.concatenate([begins, ends]), return_inverse=True)
    steps = np.repeat([1, -1], len(begins))
    is_inside = np.cumsum(np.bincount(place, steps)) >= 2
    flips = times[np.diff(is_inside, prepend=False)].tolist()
    yield from zip(flips[::2], flips[1::2], strict=True)


def holes(bars: pl.DataFrame, interval: Interval) -> pl.DataFrame:
    """Return symbol, after_utc and before_utc (opens of the bars around it) and hole_bars for each hole.

    `bars` are symbol and opened_at_utc, on the grid, each once, sorted by both.
    """
    last = pl.when(pl.col("symbol") == pl.col("symbol").shift(1)).then(opened.shift(1))
    around = bars.lazy().select("symbol", after_utc=last, before_utc=opened)
    length = pl.col("before_utc") - pl.col("after_utc")
    n_steps = length.dt.total_microseconds() // interval.us
    return around.filter(length > interval.duration).with_columns(hole_bars=n_steps - 1).collect()


def absences(
    bars: pl.DataFrame, halted: pl.DataFrame, interval: Interval, start: datetime, stop: datetime
) -> pl.DataFrame:
    """Return one row per absent bar that would have opened in [start, stop), by symbol and time.

    Columns: symbol, opened_at_utc, after_utc (open of the last bar before the hole) and is_halt; and of the run of
    absences of the same kind that the bar belongs to, also where it leaves the range: run_after_utc (the open before
    its first) and run_bars. `bars` are those of the range and, for each symbol, the bar before and the one after it,
    as `holes` wants them; `halted` is what `halts` found.
    """
    first = pl.max_horizontal(pl.col("after_utc") + interval.duration, pl.lit(start))
    last = pl.min_horizontal(pl.col("before_utc"), pl.lit(stop)) - interval.duration
    absent = (
        holes(bars, interval)
        .with_columns(first=first, last=last)
        .filter(pl.col("first") <= pl.col("last"))
        .with_columns(opened_at_utc=pl.datetime_ranges("first", "last", f"{interval.us}us"))
        .explode("opened_at_utc", empty_as_null=False)
    )
    return _in_runs(absent, halted, interval).select(
        "symbol", "opened_at_utc", "after_utc", "is_halt", "run_after_utc", "run_bars"
    )


def _in_runs(absent: pl.DataFrame, halted: pl.DataFrame, interval: Interval) -> pl.DataFrame:
    """Return `absent` with is_halt, run_after_utc and run_bars."""
    us, times = interval.us, _us(absent["opened_at_utc"])
    firsts = np.concatenate([[-_NEVER_US], _us(halted["first"]), [_NEVER_US]])
    lasts = np.concatenate([[-_NEVER_US], _us(halted["last"])])
    n = np.searchsorted(firsts, times, "right")
    is_halt = lasts[n - 1] >= times
    begins = np.where(is_halt, firsts[n - 1] - us, lasts[n - 1])
    ends = np.where(is_halt, lasts[n - 1] + us, firsts[n])
    after = np.maximum(begins, _us(absent["after_utc"]))
    before = np.minimum(ends, _us(absent["before_utc"]))
    return absent.with_columns(
        is_halt=pl.Series(is_halt, dtype=pl.Boolean),
        run_after_utc=pl.Series(after, dtype=pl.Int64).cast(TIME),
        run_bars=pl.Series((before - after) // us - 1, dtype=pl.Int64),
    )


def _us(times: pl.Series) -> Times:
    return times.to_physical().to_numpy()
