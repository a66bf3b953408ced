"""What the network sees of a window."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from cappuccino.rl.view import n_rows, see, stretches


def test_stretches_of_sixteen_bars_are_those_of_the_picture() -> None:
    assert [stop - start for start, stop in stretches(16)] == [4, 4, 2, 2, 1, 1, 1, 1]


@given(st.integers(1, 1000))
def test_stretches_cover_every_bar_once_and_grow_with_the_logarithm(lookback: int) -> None:
    bars = [bar for start, stop in stretches(lookback) for bar in range(start, stop)]
    assert bars == list(range(lookback))
    assert len(stretches(lookback)) <= 4 + 2 * lookback.bit_length()


def test_means_by_hand() -> None:
    """Six bars of one symbol: the two oldest are seen as their mean."""
    windows = torch.tensor([1.0, 3.0, 5.0, 6.0, 7.0, 8.0]).reshape(1, 1, 6, 1)
    assert see(windows, "dyadic").flatten().tolist() == [2.0, 5.0, 6.0, 7.0, 8.0]
    assert see(windows, "every_bar").flatten().tolist() == [1.0, 3.0, 5.0, 6.0, 7.0, 8.0]
    assert (n_rows("dyadic", 6), n_rows("every_bar", 6)) == (5, 6)
