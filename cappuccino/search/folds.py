"""Walk-forward folds: train on the past, judge on what followed, leave a gap between."""

from __future__ import annotations

from dataclasses import dataclass

from cappuccino.errors import DataError

MIN_VALIDATION_BARS = 20
"""A Sharpe ratio of fewer bars says nothing."""


@dataclass(frozen=True)
class Fold:
    """Ranges [start, stop) of bar positions."""

    train: tuple[int, int]
    validation: tuple[int, int]


def walk_forward(n_bars: int, first: int, n_folds: int, purge_bars: int) -> tuple[Fold, ...]:
    """Return `n_folds` folds over bars [first, n_bars), oldest first.

    The first fold trains on the older half, less the purge; the newer half is cut into adjacent validation
    ranges that end at `n_bars`. Training always begins at `first` and grows. `purge_bars` lie between the end
    of training and the start of validation, so that no window or holding time reaches from one into the
    other. Raises DataError when there are too few bars.
    """
    if n_folds < 1 or purge_bars < 0 or first < 0:
        raise ValueError(f"n_folds {n_folds}, purge_bars {purge_bars}, first {first}")
    n_usable = n_bars - first
    needed = 2 * max(n_folds * MIN_VALIDATION_BARS, 2 * purge_bars + 2)
    if n_usable < needed:
        raise DataError(
            f"{max(n_usable, 0)} bars with complete features cannot make {n_folds} folds with a purge of "
            f"{purge_bars} bars; {needed} are needed. Load a longer history, or take a shorter interval or "
            "fewer folds"
        )
    n_validation = n_usable // 2 // n_folds
    starts = [n_bars - n_validation * left for left in range(n_folds, 0, -1)]
    return tuple(Fold((first, start - purge_bars), (start, start + n_validation)) for start in starts)
