"""Rewards, eliminations and weights by hand, and what makes them safe: a row knows its past only."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cappuccino.ensemble.seasons import Recall, rewards, season

RECALL = Recall(reward_bars=2, drop_every_bars=2, keep=2)
"""Four members: seasons of 8 bars, one goes at row 2, one at row 4."""


def constant(levels: list[float], n_rows: int = 8) -> np.ndarray:
    """Return rewards that each member earns on every bar."""
    return np.repeat(np.array(levels)[:, None], n_rows + RECALL.reward_bars - 1, axis=1)


def test_a_reward_is_the_vote_times_the_next_return_over_all_symbols() -> None:
    close = np.array([[100.0, 10.0], [110.0, 9.0], [110.0, 18.0]])  # +10 %, -10 %; then 0, +100 %
    votes = np.array([[[1.0, 0.5], [0.3, -0.2]]])
    assert rewards(votes, close).tolist() == [[pytest.approx(0.05), pytest.approx(-0.2)]]


def test_rewards_need_one_close_more_than_votes() -> None:
    with pytest.raises(ValueError, match="one close more"):
        rewards(np.zeros((1, 3, 2)), np.ones((3, 2)))


def test_the_worst_goes_at_each_step_until_enough_stay_and_all_return_in_the_next_season() -> None:
    assert RECALL.season_bars(4) == 8
    found = season(constant([3.0, 1.0, 2.0, -1.0]), RECALL).is_active.astype(int).tolist()
    assert found == [
        [1, 1, 1, 1, 1, 1, 1, 1],
        [1, 1, 1, 1, 0, 0, 0, 0],
        [1, 1, 1, 1, 1, 1, 1, 1],
        [1, 1, 0, 0, 0, 0, 0, 0],
    ]


def test_who_did_badly_lately_goes_not_who_did_badly_before() -> None:
    earned = constant([0.0, 0.0, 0.0])
    earned[0, :2], earned[1, 2:4] = -5.0, -1.0  # row 2 looks back on columns 2 and 3
    assert season(earned, RECALL).is_active[:, 2].tolist() == [True, False, True]


def test_of_equals_the_lowest_ranked_goes_first() -> None:
    active = season(constant([1.0, 1.0, 1.0, 1.0]), RECALL).is_active
    assert active[:, 3].tolist() == [True, True, True, False]
    assert active[:, 4].tolist() == [True, True, False, False]


def test_five_members_or_fewer_all_stay_by_default() -> None:
    spec = Recall(reward_bars=120, drop_every_bars=24, keep=5)
    assert season(np.random.default_rng(0).normal(size=(5, 119 + 48)), spec).is_active.all()


def test_the_seasons_of_the_specification() -> None:
    """Ten members: five go within five days of hourly bars, five stay as long; 360 bars are enough to know."""
    spec = Recall(reward_bars=120, drop_every_bars=24, keep=5)
    assert (spec.season_bars(10), spec.history_bars(10)) == (240, 359)
    counts = season(np.random.default_rng(0).normal(size=(10, 119 + 240)), spec).is_active.sum(axis=0)
    assert counts[[0, 23, 24, 47, 48, 119, 120, 239]].tolist() == [10, 10, 9, 9, 8, 6, 5, 5]


def test_half_of_the_vote_is_shared_equally_and_half_by_recent_gains() -> None:
    weights = season(constant([3.0, 1.0, 0.0, -1.0]), RECALL).weights
    assert weights[:, 0].tolist() == pytest.approx([1 / 8 + 3 / 8, 1 / 8 + 1 / 8, 1 / 8, 1 / 8])
    assert weights[:, 2].tolist() == pytest.approx([1 / 6 + 3 / 8, 1 / 6 + 1 / 8, 1 / 6, 0.0])


def test_shares_are_equal_when_nobody_gained() -> None:
    weights = season(constant([-3.0, -1.0, -2.0, -4.0]), RECALL).weights
    assert weights[:, 0].tolist() == [0.25] * 4
    assert weights[:, 4].tolist() == [0.0, 0.5, 0.5, 0.0]


def test_too_few_rewards_to_look_back_on_are_refused() -> None:
    with pytest.raises(ValueError, match="too few"):
        season(np.zeros((3, 1)), RECALL)


@given(st.integers(1, 40), st.integers(1, 8), st.integers(0, 2**32 - 1))
def test_rewards_that_come_later_change_no_row_by_a_bit(n_rows: int, n_members: int, seed: int) -> None:
    spec = Recall(reward_bars=7, drop_every_bars=3, keep=2)
    earned = np.random.default_rng(seed).normal(size=(n_members, 6 + 40))
    whole, part = season(earned, spec), season(earned[:, : 6 + n_rows], spec)
    assert np.array_equal(whole.weights[:, :n_rows], part.weights)
    assert np.array_equal(whole.is_active[:, :n_rows], part.is_active)
    assert np.allclose(part.weights.sum(axis=0), 1.0)
    assert (part.weights[~part.is_active] == 0.0).all()
    assert (part.is_active.sum(axis=0) >= min(2, n_members)).all()
