"""Sharpe ratios against luck: the papers' own examples, and hand-worked sums."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from cappuccino.validation.deflated import (
    TrackRecord,
    deflated_sharpe,
    effective_trials,
    expected_max_sharpe,
    min_track_record_length,
    probabilistic_sharpe,
    serial_inflation,
    sharpes,
)
from tests.golden.oracles import golden, inputs

DAYS = 250  # a year in the papers' examples


def noise(*shape: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.0, 0.01, shape)


def test_the_best_of_a_hundred_trials_in_the_paper_is_deflated_to_0_9004():
    # Bailey & López de Prado 2014, "A numerical example": 5 years of daily returns, an annual Sharpe of 2.5, skewness
    # -3, kurtosis 10, 100 trials whose annual Sharpes have a variance of 1/2.
    luck = expected_max_sharpe(100, 0.5 / DAYS)
    record = TrackRecord(5 * DAYS, 2.5 / math.sqrt(DAYS), skewness=-3.0, kurtosis=10.0)
    assert luck == pytest.approx(0.1132, abs=5e-5)
    assert record.probability_above(luck) == pytest.approx(0.9004, abs=5e-5)


@pytest.mark.parametrize(("n_trials", "skewness", "kurtosis"), [(46, -3.0, 10.0), (88, 0.0, 3.0)])
def test_the_paper_would_have_believed_it_after_fewer_trials_or_normal_returns(n_trials, skewness, kurtosis):
    record = TrackRecord(5 * DAYS, 2.5 / math.sqrt(DAYS), skewness, kurtosis)
    assert record.probability_above(expected_max_sharpe(n_trials, 0.5 / DAYS)) == pytest.approx(0.9505, abs=5e-5)


@pytest.mark.parametrize(("skewness", "kurtosis", "probability"), [(0.0, 3.0, 0.982), (-2.448, 10.164, 0.913)])
def test_two_years_of_months_in_the_paper_are_less_sure_when_they_are_skewed(skewness, kurtosis, probability):
    # Bailey & López de Prado 2012: 24 months with a Sharpe of 0.458 each.
    record = TrackRecord(24, 0.458, skewness, kurtosis)
    assert record.probability_above(0.0) == pytest.approx(probability, abs=5e-4)


@pytest.mark.parametrize(
    ("per_year", "skewness", "kurtosis", "years"),
    [(252, 0.0, 3.0, 2.73), (52, 0.0, 3.0, 2.83), (12, 0.0, 3.0, 3.24), (12, -0.72, 5.78, 4.99)],
)
def test_the_paper_wants_a_record_of_years_to_believe_two_above_one(per_year, skewness, kurtosis, years):
    record = TrackRecord(99, 2 / math.sqrt(per_year), skewness, kurtosis)
    assert record.min_length(1 / math.sqrt(per_year), 0.95) / per_year == pytest.approx(years, abs=0.005)


def test_a_sharpe_that_is_not_above_the_benchmark_needs_an_endless_record():
    returns = np.array([0.01, -0.01, 0.02])
    assert min_track_record_length(returns, float(sharpes(returns[:, None])[0])) == math.inf


def test_a_record_of_its_minimum_length_has_just_the_confidence_asked_for():
    returns = noise(300) + 0.002
    periods = min_track_record_length(returns, 0.0, confidence=0.9)
    record = TrackRecord.of(returns)
    longer = TrackRecord(round(periods), record.sharpe, record.skewness, record.kurtosis)
    assert longer.probability_above(0.0) == pytest.approx(0.9, abs=0.01)


def test_the_moments_are_those_of_the_textbook():
    # mean 1, deviations -1, -1, -1, 3: variance 3 over n, 4 over n - 1; third moment 6, fourth 21.
    record = TrackRecord.of(np.array([0.0, 0.0, 0.0, 4.0]))
    assert record.sharpe == pytest.approx(1 / 2)
    assert record.skewness == pytest.approx(6 / 3**1.5)
    assert record.kurtosis == pytest.approx(21 / 9)
    assert record.spread == pytest.approx(1 - 6 / 3**1.5 / 2 + (21 / 9 - 1) / 4 / 4)
    probability = stats.norm.cdf(0.5 * math.sqrt(3 / record.spread))
    assert probabilistic_sharpe(np.array([0.0, 0.0, 0.0, 4.0])) == pytest.approx(probability)


def test_the_best_of_two_is_reckoned_by_hand():
    # Z(1 - 1/2) = 0, so only the second part stays.
    assert expected_max_sharpe(2, 0.04) == pytest.approx(0.2 * 0.5772156649 * stats.norm.ppf(1 - 1 / (2 * math.e)))


def test_one_trial_had_no_choice_and_so_no_luck():
    returns = noise(100) + 0.002
    assert expected_max_sharpe(1, 0.04) == 0.0
    assert deflated_sharpe(returns, 1, 0.04) == probabilistic_sharpe(returns)


def test_luck_is_what_the_best_of_many_noises_shows():
    best = np.sort(np.random.default_rng(2).normal(0, 0.05, (4_000, 50)), axis=1)[:, -1]
    assert expected_max_sharpe(50, 0.05**2) == pytest.approx(best.mean(), rel=0.03)


@pytest.mark.parametrize("returns", [np.zeros(50), np.full(50, 0.1), np.full(50, -1e-9)])
def test_returns_that_never_vary_are_evidence_of_nothing(returns):
    assert probabilistic_sharpe(returns, -1.0) == 0.0
    assert serial_inflation(returns[:, None]).tolist() == [1.0]


def test_two_valued_returns_do_not_divide_by_zero():
    assert 0.0 <= probabilistic_sharpe(np.array([-0.1] + [0.1] * 9)) <= 1.0


@given(st.floats(1e-6, 1e6), st.integers(2, 200))
def test_the_unit_of_the_returns_does_not_matter(scale, n_trials):
    returns = noise(60) + 0.002
    assert deflated_sharpe(returns * scale, n_trials, 0.01) == pytest.approx(deflated_sharpe(returns, n_trials, 0.01))


@given(st.integers(2, 5_000), st.floats(1e-6, 1.0))
def test_more_trials_or_a_wider_spread_ask_for_more(n_trials, variance):
    luck = expected_max_sharpe(n_trials, variance)
    assert 0.0 < luck < expected_max_sharpe(n_trials + 1, variance)
    assert luck < expected_max_sharpe(n_trials, 2 * variance)


def test_days_that_follow_each_other_inflate_the_variance_as_reckoned_by_hand():
    # Five periods allow int(4 * 0.05^(2/9)) = 2 lags of weights 2/3 and 1/3; deviations -2, -1, 0, 1, 2 have
    # covariances 4 (lag 1) and -1 (lag 2) over a variance of 10.
    found = serial_inflation(np.array([[1.0], [2.0], [3.0], [4.0], [5.0]]))
    assert found[0] == pytest.approx(1 + 2 * (2 / 3 * 4 / 10 - 1 / 3 * 1 / 10))


def test_serial_correlation_is_found_and_reversal_is_not_rewarded():
    shocks = noise(2_000, 2)
    trending, reverting = shocks.copy(), shocks.copy()
    for t in range(1, len(shocks)):
        trending[t] += 0.4 * trending[t - 1]
        reverting[t] -= 0.4 * reverting[t - 1]
    # In the long run (1 + 0.4) / (1 - 0.4) = 2.33; the window of lags sees a part of it.
    assert (serial_inflation(trending) > 1.7).all()
    assert (serial_inflation(trending) < 2.6).all()
    assert serial_inflation(reverting).tolist() == [1.0, 1.0]


def test_inflation_makes_a_record_less_sure():
    returns = noise(300) + 0.002
    plain, inflated = TrackRecord.of(returns), TrackRecord.of(returns, 2.0)
    assert 0.5 < inflated.probability_above(0.0) < plain.probability_above(0.0)
    assert inflated.min_length(0.0, 0.95) == pytest.approx(2 * plain.min_length(0.0, 0.95) - 1)


def test_trials_that_are_alike_count_once():
    independent = noise(1_000, 12)
    assert effective_trials(independent) == pytest.approx(12, rel=0.02)
    assert effective_trials(np.repeat(independent[:, :3], 4, axis=1)) == pytest.approx(3, rel=0.02)
    assert effective_trials(np.hstack([independent[:, :1], np.zeros((1_000, 5))])) == 1.0


def test_ffn_says_the_same_with_its_own_moments():
    # ffn corrects skewness and kurtosis for bias, the papers do not.
    said, returns = golden()["study"]["ffn"], inputs().study()
    assert inputs().digest(returns) == golden()["study"]["sha256"]
    scores = sharpes(returns)
    luck = expected_max_sharpe(len(scores), float(scores.var(ddof=1)))
    record = TrackRecord(len(returns), float(scores.max()), said["skewness"], said["kurtosis"])
    assert luck == pytest.approx(said["expected_max_sharpe"], rel=1e-12)
    assert record.probability_above(luck) == pytest.approx(said["deflated_sharpe"], rel=1e-12)
    assert deflated_sharpe(returns[:, scores.argmax()], len(scores), float(scores.var(ddof=1))) == pytest.approx(
        said["deflated_sharpe"], abs=2e-4
    )


@pytest.mark.parametrize("returns", [np.array([0.1]), np.array([[0.1, 0.2]]), np.array([0.1, math.nan])])
def test_returns_that_cannot_have_a_sharpe_are_refused(returns):
    with pytest.raises(ValueError, match=r"return"):
        probabilistic_sharpe(returns)


def test_luck_needs_a_trial():
    with pytest.raises(ValueError, match="0 trials"):
        expected_max_sharpe(0, 0.1)
