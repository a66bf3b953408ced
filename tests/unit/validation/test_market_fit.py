"""Beta, alpha and their t-values."""

from __future__ import annotations

import numpy as np
import pytest

from cappuccino.market.interval import Interval
from cappuccino.validation.market_fit import MIN_DAYS, MarketFit, fit_market, regress

DAILY = Interval.D1


def market(n=400, seed=1):
    return np.random.default_rng(seed).normal(0.001, 0.03, n)


def slow_newey_west(y, x, lags):
    """Return coefficients and t-values, sum by sum."""
    n, k = x.shape
    inverse = np.linalg.inv(x.T @ x)
    b = inverse @ x.T @ y
    e = y - x @ b
    total = np.zeros((k, k))
    for t in range(n):
        for s in range(n):
            if abs(t - s) <= lags:
                total += (1 - abs(t - s) / (lags + 1)) * e[t] * e[s] * np.outer(x[t], x[s])
    return b, b / np.sqrt(np.diag(inverse @ total @ inverse) * n / (n - k))


def test_a_share_of_the_market_with_a_daily_gift_is_found_exactly():
    m = market()
    fit = fit_market(0.002 + 0.5 * m, m, DAILY)
    assert (fit.beta, fit.alpha_per_day_frac, fit.r_squared) == pytest.approx((0.5, 0.002, 1.0))
    assert fit.timing_gamma == pytest.approx(0.0, abs=1e-9)


def test_the_fast_sums_are_the_slow_ones():
    rng = np.random.default_rng(2)
    x = np.column_stack([np.ones(60), rng.normal(size=60)])
    noise = np.convolve(rng.normal(size=62), [1, 0.7, 0.4], "valid")
    y = 0.3 + 0.8 * x[:, 1] + noise
    for lags in (0, 3, 7):
        b, t = slow_newey_west(y, x, lags)
        found_b, found_t = regress(y, x, lags)
        assert found_b == pytest.approx(b.tolist())
        assert found_t == pytest.approx(t.tolist())


def test_who_is_exposed_when_the_market_rises_has_timing():
    m = market(seed=3)
    timed = fit_market(np.where(m > 0, m, 0.2 * m) + market(seed=4) / 10, m, DAILY)
    assert timed.timing_t > 4
    untimed = fit_market(0.6 * m + market(seed=4) / 10, m, DAILY)
    assert abs(untimed.timing_t) < 2
    assert abs(untimed.alpha_t) < 2.5


def test_bars_are_compounded_to_days():
    m = np.repeat(market(50), 6) / 6
    fit = fit_market(0.5 * m, m, Interval.H4)
    assert fit.n_days == 50
    assert fit.beta == pytest.approx(0.5, abs=0.02)


def test_what_cannot_be_measured_is_nothing():
    m = market(MIN_DAYS - 1)
    assert fit_market(m, m, DAILY) == MarketFit(MIN_DAYS - 1, 0, 0, 0, 0, 0, 0)
    assert fit_market(market(9), np.zeros(9), DAILY) == MarketFit(9, 0, 0, 0, 0, 0, 0)
    cash = fit_market(np.zeros(99), market(99), DAILY)
    assert (cash.beta, cash.alpha_per_day_frac, cash.alpha_t, cash.timing_t, cash.r_squared) == (0, 0, 0, 0, 0)


def test_returns_of_other_steps_are_refused():
    with pytest.raises(ValueError, match=r"\(3,\), market \(4,\)"):
        fit_market(np.zeros(3), np.zeros(4), DAILY)
