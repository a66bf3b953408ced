"""How trials are judged inside the training range: train on some bars, judge on others, leave a gap between.

    walk_forward     train ..........|purge| validate |
                     train .....................|purge| validate |

    combinatorial    train ...|purge| validate |after| train ...|purge| validate |    every choice of blocks

A fold is made of segments. Accounts never cross the end of one: bars on both sides of a gap are no neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, pairwise

from cappuccino.errors import DataError
from cappuccino.settings import TrainingSettings

MIN_VALIDATION_BARS = 20
"""A Sharpe ratio of fewer bars says nothing."""

Segment = tuple[int, int]
"""[start, stop) of bar positions."""


@dataclass(frozen=True)
class Fold:
    """What one training learns from and what it is judged on; segments in order."""

    train: tuple[Segment, ...]
    validation: tuple[Segment, ...]


@dataclass(frozen=True)
class Gaps:
    """Bars that belong to neither side."""

    purge_bars: int
    """Before a validation: no window and no position reaches from training into it."""
    after_bars: int
    """After a validation that is followed by training: no window looks back into it, and an embargo."""


def gaps_of(n_bars: int, lookback: int, holding_bars: int, training: TrainingSettings) -> Gaps:
    """Return the gaps for agents that see `lookback` bars and hold positions for `holding_bars`."""
    if training.folds == "walk_forward":
        return Gaps(lookback + holding_bars, 0)
    return Gaps(lookback + holding_bars, lookback + round(training.embargo_frac * n_bars))


def folds(n_bars: int, lookback: int, holding_bars: int, training: TrainingSettings) -> tuple[Fold, ...]:
    """Return the folds over bars [0, n_bars) that `training` asks for; raises DataError when there are too few."""
    gaps = gaps_of(n_bars, lookback, holding_bars, training)
    if training.folds == "walk_forward":
        return walk_forward(n_bars, training.n_folds, gaps.purge_bars)
    return combinatorial(n_bars, training.n_blocks, training.n_test_blocks, gaps, lookback)


def walk_forward(n_bars: int, n_folds: int, purge_bars: int) -> tuple[Fold, ...]:
    """Return `n_folds` folds over bars [0, n_bars), oldest first.

    The first fold trains on the older half, less the purge; the newer half is cut into adjacent validation
    ranges that end at `n_bars`. Training always begins at 0 and grows. Raises DataError when there are too few bars.
    """
    if n_folds < 1 or purge_bars < 0:
        raise ValueError(f"n_folds {n_folds}, purge_bars {purge_bars}")
    needed = 2 * max(n_folds * MIN_VALIDATION_BARS, 2 * purge_bars + 2)
    if n_bars < needed:
        raise DataError(
            f"{n_bars} bars with complete features cannot make {n_folds} folds with a purge of "
            f"{purge_bars} bars; {needed} are needed. Load a longer history, or take a shorter interval or "
            "fewer folds"
        )
    n_validation = n_bars // 2 // n_folds
    starts = [n_bars - n_validation * left for left in range(n_folds, 0, -1)]
    return tuple(Fold(((0, start - purge_bars),), ((start, start + n_validation),)) for start in starts)


def combinatorial(n_bars: int, n_blocks: int, n_test_blocks: int, gaps: Gaps, lookback: int) -> tuple[Fold, ...]:
    """Return one fold for each choice of `n_test_blocks` of `n_blocks` equal blocks of bars [0, n_bars).

    Combinatorial purged cross-validation: M. Lopez de Prado, Advances in Financial Machine Learning, 2018, chapters 7
    and 12. Neighbouring test blocks are one segment; the first begins where a window of `lookback` is complete. What
    the gaps leave of the others is trained on, segments too short for a window and a fill are dropped. Raises
    DataError when a fold has too few bars to judge or nothing to train on.
    """
    if not 0 < n_test_blocks < n_blocks:
        raise ValueError(f"n_blocks {n_blocks}, n_test_blocks {n_test_blocks}")
    first = lookback - 1
    edges = [first + (n_bars - first) * block // n_blocks for block in range(n_blocks + 1)]
    made = []
    for chosen in combinations(range(n_blocks), n_test_blocks):
        tests = _merged([(edges[block], edges[block + 1]) for block in chosen])
        trains = _between(tests, n_bars, gaps, lookback + 1)
        if not trains or min(stop - start for start, stop in tests) < MIN_VALIDATION_BARS:
            raise DataError(
                f"{n_bars} bars with complete features cannot make combinatorial folds of {n_test_blocks} of "
                f"{n_blocks} blocks with gaps of {gaps.purge_bars} and {gaps.after_bars} bars; load a longer history, "
                "or take fewer blocks (training.n_blocks)"
            )
        made.append(Fold(trains, tests))
    return tuple(made)


def _merged(blocks: list[Segment]) -> tuple[Segment, ...]:
    """Return adjacent blocks as one."""
    merged = blocks[:1]
    for start, stop in blocks[1:]:
        if start == merged[-1][1]:
            merged[-1] = (merged[-1][0], stop)
        else:
            merged.append((start, stop))
    return tuple(merged)


def _between(tests: tuple[Segment, ...], n_bars: int, gaps: Gaps, min_bars: int) -> tuple[Segment, ...]:
    """Return what lies around `tests`, less the gaps."""
    around = [(-gaps.after_bars, -gaps.after_bars), *tests, (n_bars + gaps.purge_bars, n_bars)]
    spans = [(before[1] + gaps.after_bars, after[0] - gaps.purge_bars) for before, after in pairwise(around)]
    return tuple((start, stop) for start, stop in spans if stop - start >= min_bars)
