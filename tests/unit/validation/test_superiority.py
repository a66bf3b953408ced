"""The best of many variants against the one in use: exact on what can be worked by hand, silent on noise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cappuccino.portfolio.measures import DAYS_PER_YEAR
from cappuccino.validation.bootstrap import stationary_rows
from cappuccino.validation.deflated import sharpes
from cappuccino.validation.superiority import superiority


def noise(seed: int, n_days: int = 120, n: int = 12, shared: float = 0.8) -> np.ndarray:
    rng = np.random.default_rng(seed)
    together = rng.normal(0, 0.02, (n_days, 1))
    return np.sqrt(shared) * together + np.sqrt(1 - shared) * rng.normal(0, 0.02, (n_days, n))


def test_the_lead_is_the_difference_of_sharpes_and_of_means():
    returns = noise(1)
    found = superiority(returns, 3)
    scores = sharpes(returns)
    assert found.best == scores.argmax()
    assert found.place_in_use == 1 + (scores > scores[3]).sum()
    assert found.difference_sharpe == pytest.approx((scores.max() - scores[3]) * np.sqrt(DAYS_PER_YEAR))
    assert found.difference_per_day_frac == pytest.approx(returns[:, found.best].mean() - returns[:, 3].mean())
    assert found.low_sharpe < found.difference_sharpe < found.high_sharpe


def test_draws_by_counts_are_the_draws_written_out():
    returns, n = noise(2, 30, 4), 50
    rows = stationary_rows(30, n, 30 ** (1 / 3), np.random.default_rng(0))
    lead = np.array([sharpes(returns[drawn]) for drawn in rows])
    lead -= lead[:, [0]]
    scores = sharpes(returns)
    best = scores.argmax()
    as_lucky = ((lead - (scores - scores[0])).max(axis=1) >= scores[best] - scores[0]).sum()
    found = superiority(returns, n_resamples=n)
    assert found.p_value == (as_lucky + 1) / (n + 1)
    ends = np.quantile(lead[:, best], (0.025, 0.975)) * np.sqrt(DAYS_PER_YEAR)
    assert (found.low_sharpe, found.high_sharpe) == pytest.approx(tuple(ends))


def test_what_is_the_best_already_leads_nothing():
    returns = noise(3)
    found = superiority(returns, int(sharpes(returns).argmax()))
    assert (found.place_in_use, found.difference_sharpe, found.p_value) == (1, 0.0, 1.0)


def test_accounts_that_never_trade_are_all_alike():
    found = superiority(np.zeros((40, 3)), 1)
    assert (found.best, found.place_in_use, found.p_value, found.high_sharpe) == (0, 1, 1.0, 0.0)


def test_noise_is_believed_about_as_seldom_as_it_should_be():
    believed = [superiority(noise(seed), n_resamples=200).p_value < 0.05 for seed in range(150)]
    assert sum(believed) <= 15  # 5 % of 150 are 7.5


def test_a_planted_advantage_is_found():
    returns = noise(4, 365)
    returns[:, 5] += 0.003
    found = superiority(returns, 0)
    assert found.best == 5
    assert found.p_value < 0.01
    assert found.low_sharpe > 0


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 99), st.sampled_from((0.25, 4.0)))
def test_the_size_of_the_account_does_not_matter_and_more_copies_are_no_more_luck(seed, scale):
    returns = noise(seed, 40, 5)
    found = superiority(returns, n_resamples=60)
    scaled, twice = (superiority(other, n_resamples=60) for other in (returns * scale, np.hstack([returns, returns])))
    assert scaled.p_value == found.p_value == twice.p_value
    assert scaled.difference_sharpe == pytest.approx(found.difference_sharpe)
