"""Walk-forward and combinatorial purged folds."""

from __future__ import annotations

from itertools import pairwise
from math import comb

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cappuccino.errors import DataError
from cappuccino.search.folds import MIN_VALIDATION_BARS, Fold, Gaps, combinatorial, folds, gaps_of, walk_forward
from cappuccino.settings import TrainingSettings


def test_two_folds_by_hand() -> None:
    # 200 bars: the newer 100 make two validation ranges of 50, each after a purge of 10.
    assert walk_forward(200, 2, 10) == (
        Fold(train=((0, 90),), validation=((100, 150),)),
        Fold(train=((0, 140),), validation=((150, 200),)),
    )


def test_combinatorial_folds_by_hand() -> None:
    # Blocks of 50; 5 bars are purged before a test, 8 left out after it; neighbouring tests are one segment.
    made = combinatorial(200, 4, 2, Gaps(5, 8), lookback=1)
    assert made == (
        Fold(train=((108, 200),), validation=((0, 100),)),
        Fold(train=((58, 95), (158, 200)), validation=((0, 50), (100, 150))),
        Fold(train=((58, 145),), validation=((0, 50), (150, 200))),
        Fold(train=((0, 45), (158, 200)), validation=((50, 150),)),
        Fold(train=((0, 45), (108, 145)), validation=((50, 100), (150, 200))),
        Fold(train=((0, 95),), validation=((100, 200),)),
    )


@given(st.integers(0, 3000), st.integers(1, 8), st.integers(0, 200))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_folds_are_ordered_apart_and_inside(n_bars: int, n_folds: int, purge_bars: int) -> None:
    try:
        made = walk_forward(n_bars, n_folds, purge_bars)
    except DataError:
        assume(False)
    assert len(made) == n_folds
    assert made[-1].validation[0][1] == n_bars
    for fold in made:
        (train,), (validation,) = fold.train, fold.validation
        assert train[0] == 0
        assert train[1] >= purge_bars + 2
        assert validation[0] - train[1] == purge_bars
        assert validation[1] - validation[0] >= MIN_VALIDATION_BARS
    for earlier, later in pairwise(made):
        assert earlier.validation[0][1] == later.validation[0][0]


@given(st.integers(50, 2000), st.integers(2, 8), st.data(), st.integers(0, 60), st.integers(0, 60))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_no_training_bar_lies_within_the_gaps_of_a_judged_one(
    n_bars: int, n_blocks: int, data: st.DataObject, purge_bars: int, after_bars: int
) -> None:
    n_test_blocks = data.draw(st.integers(1, n_blocks - 1))
    try:
        made = combinatorial(n_bars, n_blocks, n_test_blocks, Gaps(purge_bars, after_bars), 1)
    except DataError:
        assume(False)
    assert len(made) == comb(n_blocks, n_test_blocks)
    judged = np.zeros(n_bars, dtype=int)
    for fold in made:
        trains = np.zeros(n_bars, dtype=bool)
        forbidden = np.zeros(n_bars, dtype=bool)
        for start, stop in fold.train:
            trains[start:stop] = True
        for start, stop in fold.validation:
            judged[start:stop] += 1
            forbidden[max(start - purge_bars, 0) : stop + after_bars] = True
        assert trains.any()
        assert not (trains & forbidden).any()
        for segments in (fold.train, fold.validation):
            assert all(earlier[1] < later[0] for earlier, later in pairwise(segments))
    # Every bar is judged equally often.
    assert (judged == comb(n_blocks - 1, n_test_blocks - 1)).all()


@given(st.integers(1, 8), st.integers(0, 200))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_the_refusal_says_how_many_bars_are_enough(n_folds: int, purge_bars: int) -> None:
    with pytest.raises(DataError) as refused:
        walk_forward(1, n_folds, purge_bars)
    enough = int(str(refused.value).split("; ")[1].split()[0])
    assert len(walk_forward(enough, n_folds, purge_bars)) == n_folds
    with pytest.raises(DataError, match=str(enough)):
        walk_forward(enough - 1, n_folds, purge_bars)


def test_too_few_bars_for_combinations_are_refused_with_what_to_do() -> None:
    with pytest.raises(DataError, match=r"2 of 4 blocks with gaps of 40 and 30 bars.*training\.n_blocks"):
        combinatorial(100, 4, 2, Gaps(40, 30), 5)


def test_gaps_are_measured_from_lookback_holding_time_and_embargo() -> None:
    assert gaps_of(1000, 24, 30, TrainingSettings()) == Gaps(54, 0)
    combined = TrainingSettings(folds="combinatorial", embargo_frac=0.02)
    assert gaps_of(1000, 24, 30, combined) == Gaps(54, 44)
    assert len(folds(1000, 24, 30, combined)) == 6
    assert len(folds(1000, 24, 30, TrainingSettings())) == 3
    with pytest.raises(ValueError, match="leaves none"):
        TrainingSettings(n_blocks=3, n_test_blocks=3)
