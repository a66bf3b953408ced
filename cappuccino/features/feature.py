"""What a family of columns is: names, how much history it needs, and how it is computed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cappuccino.market.interval import Interval
from cappuccino.market.panel import BarPanel, FloatArray


@dataclass(frozen=True)
class Feature:
    """Columns that are computed together.

    `compute` maps a panel of T bars and A symbols to (T, A, len(names)); row t uses bars up to t only, and
    what it says in rows with less than `warmup_bars` bars before them is ignored. After them every value is
    finite.
    """

    names: tuple[str, ...]
    warmup_bars: Callable[[Interval], int]
    compute: Callable[[BarPanel], FloatArray]


def always(n_bars: int) -> Callable[[Interval], int]:
    """Return a warm-up that is the same number of bars at every interval."""
    return lambda _: n_bars
