"""Walk-forward folds."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cappuccino.errors import DataError
from cappuccino.search.folds import MIN_VALIDATION_BARS, Fold, walk_forward


def test_two_folds_by_hand() -> None:
    # 200 usable bars: the newer 100 make two validation ranges of 50, each after a purge of 10.
    assert walk_forward(250, 50, 2, 10) == (
        Fold(train=(50, 140), validation=(150, 200)),
        Fold(train=(50, 190), validation=(200, 250)),
    )


@given(st.integers(0, 3000), st.integers(0, 300), st.integers(1, 8), st.integers(0, 200))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_folds_are_ordered_apart_and_inside(n_bars: int, first: int, n_folds: int, purge_bars: int) -> None:
    try:
        folds = walk_forward(n_bars, first, n_folds, purge_bars)
    except DataError:
        assume(False)
    assert len(folds) == n_folds
    assert folds[-1].validation[1] == n_bars
    for fold in folds:
        assert fold.train[0] == first
        assert fold.train[1] - fold.train[0] >= purge_bars + 2
        assert fold.validation[0] - fold.train[1] == purge_bars
        assert fold.validation[1] - fold.validation[0] >= MIN_VALIDATION_BARS
    for earlier, later in pairwise(folds):
        assert earlier.validation[1] == later.validation[0]


@given(st.integers(0, 50), st.integers(1, 8), st.integers(0, 200))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_the_refusal_says_how_many_bars_are_enough(first: int, n_folds: int, purge_bars: int) -> None:
    with pytest.raises(DataError) as refused:
        walk_forward(first + 1, first, n_folds, purge_bars)
    enough = int(str(refused.value).split("; ")[1].split()[0])
    assert len(walk_forward(first + enough, first, n_folds, purge_bars)) == n_folds
    with pytest.raises(DataError, match=str(enough)):
        walk_forward(first + enough - 1, first, n_folds, purge_bars)
