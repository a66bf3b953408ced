"""The windows of history that a match is played over: drawn from its seed, the same for a repeated match."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

import numpy as np

from cappuccino.errors import DataError
from cappuccino.market.interval import Interval
from cappuccino.market.panel import BarPanel

Window = tuple[datetime, datetime]
"""[start, stop): decisions from the bar that closes at `start`, value taken at `stop`."""

_DRAWS = 50  # of disjoint windows, before one settles for windows that overlap


def _anything(start: datetime, stop: datetime) -> bool:
    return True


def mostly_traded(panels: Iterable[BarPanel], max_filled_frac: float) -> Callable[[datetime, datetime], bool]:
    """Return whether a window lies inside each of `panels` with at most `max_filled_frac` filled bars."""
    checked = tuple(panels)

    def accepts(start: datetime, stop: datetime) -> bool:
        cuts = [panel.between(start, stop) for panel in checked]
        n_bars = [(stop - start) // cut.interval.duration for cut in cuts]
        return all(len(c) == n and c.is_filled.mean() <= max_filled_frac for c, n in zip(cuts, n_bars, strict=True))

    return accepts


def draw_windows(
    seed: int,
    range_start: datetime,
    range_stop: datetime,
    n: int,
    days: float,
    interval: Interval,
    accepts: Callable[[datetime, datetime], bool] = _anything,
) -> list[Window]:
    """Return `n` windows of `days`, rounded to bars, inside the range, in order, on the grid of `interval`.

    They do not overlap where the range has room for that and `accepts` allows it; otherwise they may.
    `interval` is the longest of those that play. Raises DataError when no window fits.
    """
    first = interval.floor(range_start)
    first = first if first >= range_start else first + interval.duration
    n_bars = max(0, (interval.floor(range_stop) - first) // interval.duration)
    length = max(1, round(timedelta(days=days) / interval.duration))
    rng = np.random.default_rng(seed)

    def window(offset: int) -> Window:
        return first + offset * interval.duration, first + (offset + length) * interval.duration

    slack = n_bars - n * length
    for _ in range(_DRAWS if slack >= 0 else 0):
        offsets = np.sort(rng.integers(0, slack + 1, n)) + np.arange(n) * length
        windows = [window(int(offset)) for offset in offsets]
        if all(accepts(*w) for w in windows):
            return windows
    possible = [w for w in map(window, range(n_bars - length + 1)) if accepts(*w)]
    if not possible:
        raise DataError(
            f"no acceptable window of {days:g} days ({length} bars of {interval}) in {range_start} to "
            f"{range_stop}; sync more bars, shorten arena.window_days, or see which bars are filled "
            "(market.max_filled_frac)"
        )
    chosen = rng.choice(len(possible), size=n, replace=len(possible) < n)
    return [possible[i] for i in np.sort(chosen)]
