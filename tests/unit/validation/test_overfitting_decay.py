"""What a holdout kept, by hand and against scipy; and how far a Sharpe could have come out otherwise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cappuccino.validation.bootstrap import sharpe_range, stationary_rows
from cappuccino.validation.decay import decay
from cappuccino.validation.deflated import TrackRecord

SCORES = st.lists(st.floats(-5, 5).map(lambda score: round(score, 2)), min_size=3, max_size=30)


def test_a_holdout_of_four_trials_is_reckoned_by_hand():
    found = decay(np.array([2.0, 1.0, 3.0, -1.0]), np.array([1.0, 0.5, -0.5, 0.0]))
    # Ranks 3, 2, 4, 1 and 4, 3, 1, 2: squared differences 1 + 1 + 9 + 1, so 1 - 6 * 12 / (4 * 15).
    assert found.spearman == pytest.approx(-0.2)
    # Deviations 0.75, -0.25, 1.75, -2.25 and 0.75, 0.25, -0.75, -0.25: products sum to -0.25, squares to 8.75, 1.25.
    assert found.slope == pytest.approx(-0.25 / 8.75)
    assert found.pearson == pytest.approx(-0.25 / math.sqrt(8.75 * 1.25))
    assert found.mean_decay == pytest.approx(1.25 - 0.25)
    assert found.stayed_positive_frac == pytest.approx(2 / 3)
    assert (found.best_place, found.best_holdout, found.n_trials) == (4, -0.5, 4)


def test_the_order_of_three_trials_is_chance_in_one_of_six():
    assert decay(np.array([1.0, 2.0, 3.0]), np.array([0.1, 0.2, 0.3])).p_value == pytest.approx(1 / 6)
    assert decay(np.array([1.0, 2.0, 3.0]), np.array([0.3, 0.2, 0.1])).p_value == 1.0


def test_many_trials_are_shuffled_to_the_p_value_of_the_formula():
    rng = np.random.default_rng(3)
    validation = rng.normal(size=60)
    holdout = 0.25 * validation + rng.normal(size=60)
    found = decay(validation, holdout)
    expected = stats.spearmanr(validation, holdout, alternative="greater")
    assert found.spearman == pytest.approx(expected.statistic)
    assert found.p_value == pytest.approx(expected.pvalue, abs=0.02)
    assert found == decay(validation, holdout)


@settings(max_examples=40)
@given(SCORES, st.randoms(use_true_random=False))
def test_ranks_agree_with_scipy_ties_included(scores, random):
    other = random.sample(scores, len(scores))
    found = decay(np.array(scores), np.array(other))
    if len(set(scores)) > 1:
        assert found.spearman == pytest.approx(stats.spearmanr(scores, other).statistic, abs=1e-9)
        assert found.pearson == pytest.approx(stats.pearsonr(scores, other).statistic, abs=1e-6)
    assert 0.0 < found.p_value <= 1.0


def test_equal_scores_tell_nothing():
    found = decay(np.full(5, 0.3), np.array([1.0, 2.0, 3.0, 4.0, 5.0]))
    assert (found.spearman, found.pearson, found.slope, found.p_value) == (0.0, 0.0, 0.0, 1.0)
    assert found.best_place == 5


def test_a_single_trial_has_a_place_and_no_correlation():
    found = decay(np.array([1.0]), np.array([-1.0]))
    assert (found.best_place, found.spearman, found.p_value, found.stayed_positive_frac) == (1, 0.0, 1.0, 0.0)


@pytest.mark.parametrize(
    ("validation", "holdout"),
    [(np.zeros(2), np.zeros(3)), (np.zeros(0), np.zeros(0)), (np.zeros(2), np.array([0.0, np.nan]))],
)
def test_scores_of_other_trials_or_without_a_number_are_refused(validation, holdout):
    with pytest.raises(ValueError, match=r"holdout|NaN"):
        decay(validation, holdout)


def test_blocks_of_one_draw_every_period_anew_and_long_blocks_go_on():
    rng = np.random.default_rng(1)
    assert len(np.unique(stationary_rows(1_000, 1, 1.0, rng))) == pytest.approx(1_000 * (1 - 1 / math.e), rel=0.05)
    rows = stationary_rows(1_000, 20, 10.0, rng)
    goes_on = (np.diff(rows, axis=1) % 1_000) == 1
    assert goes_on.mean() == pytest.approx(0.9, abs=0.01)
    assert np.bincount(rows.ravel(), minlength=1_000).min() > 0


def test_one_endless_block_is_the_record_turned_round():
    rows = stationary_rows(7, 5, math.inf, np.random.default_rng(1))
    assert np.sort(rows, axis=1).tolist() == [list(range(7))] * 5


def test_the_interval_of_independent_returns_is_that_of_the_formula():
    returns = np.random.default_rng(4).normal(0.001, 0.01, 500)
    record = TrackRecord.of(returns)
    half = 1.96 * math.sqrt(record.spread / 499)
    low, high = sharpe_range(returns, mean_block=1.0)
    assert low == pytest.approx(record.sharpe - half, abs=0.012)
    assert high == pytest.approx(record.sharpe + half, abs=0.012)
    assert (low, high) == sharpe_range(returns, mean_block=1.0)


def test_trending_days_widen_the_interval_when_blocks_keep_them_together():
    shocks = np.random.default_rng(5).normal(0.0, 0.01, 600)
    returns = shocks.copy()
    for t in range(1, 600):
        returns[t] += 0.5 * returns[t - 1]
    single, blocks = (sharpe_range(returns, mean_block=length) for length in (1.0, 15.0))
    assert blocks[1] - blocks[0] > 1.3 * (single[1] - single[0])


def test_blocks_have_at_least_one_period():
    with pytest.raises(ValueError, match="blocks"):
        sharpe_range(np.zeros(5), mean_block=0.5)
