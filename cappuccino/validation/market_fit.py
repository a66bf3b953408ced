"""How much of an account was the market: beta, alpha and timing by regression on daily returns.

    r = alpha + beta * m + e                 Jensen (1968)
    r = a + b * m + gamma * m^2 + e          gamma > 0: more exposed when the market rose, Treynor & Mazuy (1966)

Errors of daily returns are neither equal nor independent, so t-values stand on Newey & West's (1987) covariance with
Bartlett weights and floor(4 * (n / 100)^(2 / 9)) lags. What cannot be measured is 0.0, as in `portfolio.measures`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from cappuccino.market.interval import Interval
from cappuccino.market.panel import FloatArray
from cappuccino.portfolio.measures import daily_returns

MIN_DAYS = 5
_SINGULAR = 1e-12


@dataclass(frozen=True)
class MarketFit:
    """One account's daily returns beside the market's."""

    n_days: int
    beta: float
    alpha_per_day_frac: float
    alpha_t: float
    timing_gamma: float
    timing_t: float
    r_squared: float
    """Share of the variance that the market explains."""


def fit_market(returns: FloatArray, market_returns: FloatArray, interval: Interval) -> MarketFit:
    """Return the fit of per-bar returns (T,) to the market's (T,), both compounded to whole days.

    All is 0 with fewer than `MIN_DAYS`, or when the market did not move. Raises ValueError when the shapes differ.
    """
    if returns.ndim != 1 or returns.shape != market_returns.shape:
        raise ValueError(f"returns {returns.shape}, market {market_returns.shape}; both must be (T,)")
    own, market = daily_returns(returns, interval), daily_returns(market_returns, interval)
    if len(own) < MIN_DAYS or market.std() < _SINGULAR:
        return MarketFit(len(own), 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    line = np.column_stack([np.ones_like(market), market])
    (alpha, beta), (alpha_t, _) = regress(own, line)
    # Around its mean, so that the square is not the market itself once more.
    (*_, gamma), (*_, gamma_t) = regress(own, np.column_stack([line, (market - market.mean()) ** 2]))
    variance = own.var()
    unexplained = float(np.var(own - line @ [alpha, beta]))
    r_squared = 1.0 - unexplained / float(variance) if variance > _SINGULAR**2 else 0.0
    return MarketFit(len(own), beta, alpha, alpha_t, gamma, gamma_t, r_squared)


def regress(y: FloatArray, x: FloatArray, lags: int | None = None) -> tuple[list[float], list[float]]:
    """Return coefficients of y (n,) on x (n, k) and their Newey-West t-values; 0 where there is no error left."""
    n, k = x.shape
    lags = math.floor(4 * (n / 100) ** (2 / 9)) if lags is None else lags
    inverse = np.linalg.pinv(x.T @ x)
    coefficients = inverse @ x.T @ y
    scores = x * (y - x @ coefficients)[:, None]
    covariance = inverse @ _long_run(scores, lags) @ inverse * n / max(n - k, 1)
    deviation = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    # An error that is only rounding would make any coefficient significant.
    floor = _SINGULAR * max(float(np.abs(y).max()), _SINGULAR)
    t_values = np.divide(coefficients, deviation, out=np.zeros(k), where=deviation > floor)
    return coefficients.tolist(), t_values.tolist()


def _long_run(scores: FloatArray, lags: int) -> FloatArray:
    """Return the sum of autocovariances of (n, k) scores with Bartlett weights, (k, k)."""
    total: FloatArray = scores.T @ scores
    for lag in range(1, min(lags, len(scores) - 1) + 1):
        at_lag = scores[lag:].T @ scores[:-lag]
        total = total + (1 - lag / (lags + 1)) * (at_lag + at_lag.T)
    return total
