"""How sure a Sharpe ratio is: alone, as the best of many, and how long a record it would need.

All Sharpe ratios here are per period: mean over standard deviation (n - 1) of the returns of one period. Annualised
ones give nonsense. The formulas take the returns as independent; `serial_inflation` says by how much they are not.
Sources: Bailey & López de Prado, "The Sharpe Ratio Efficient Frontier", Journal of Risk 15(2), 2012 (PSR, minimum
track record length); "The Deflated Sharpe Ratio", Journal of Portfolio Management 40(5), 2014 (DSR).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from cappuccino.market.panel import BoolArray, FloatArray
from cappuccino.portfolio.measures import DAYS_PER_YEAR

NO_VARIANCE = 1e-12
"""Squared deviations below this share of the sum of squares are rounding: the returns are constant."""
EULER_GAMMA = 0.5772156649015329
_NORMAL = NormalDist()
_SMALLEST_SPREAD = 1e-12  # of the Sharpe's variance: returns of two values can bring it to exactly 0


@dataclass(frozen=True)
class TrackRecord:
    """What T returns of one period each tell about their Sharpe ratio."""

    n_periods: int
    sharpe: float
    """Per period; 0 without variance."""
    skewness: float = 0.0
    kurtosis: float = 3.0
    """3 for a normal distribution, not 0."""
    inflation: float = 1.0
    """Variance of the mean over what it were if the periods were independent; 1 in the published formulas."""

    @classmethod
    def of(cls, returns: FloatArray, inflation: float = 1.0) -> TrackRecord:
        """Return the record of (T,) returns, with moments over T; raises ValueError on NaN or another shape."""
        if returns.ndim != 1:
            raise ValueError(f"returns are {returns.shape}; give (T,)")
        sharpe = float(sharpes(returns[:, None])[0])
        if not _varies(returns[:, None])[0]:
            return cls(len(returns), 0.0, inflation=inflation)
        score = (returns - returns.mean()) / returns.std()
        return cls(len(returns), sharpe, float((score**3).mean()), float((score**4).mean()), inflation)

    @property
    def spread(self) -> float:
        """1 - skew SR + (kurtosis - 1) / 4 SR^2, times the inflation: T - 1 times the variance of the Sharpe."""
        shape = 1.0 - self.skewness * self.sharpe + (self.kurtosis - 1.0) / 4.0 * self.sharpe**2
        return max(shape, _SMALLEST_SPREAD) * self.inflation

    def probability_above(self, benchmark_sharpe: float) -> float:
        """Return Phi((SR - SR*) sqrt(T - 1) / sqrt(spread)); 0.0 with fewer than two periods or a Sharpe of 0.

        A Sharpe of exactly 0 is what cash has: no evidence of anything.
        """
        if self.n_periods < 2 or self.sharpe == 0.0:
            return 0.0
        return _NORMAL.cdf((self.sharpe - benchmark_sharpe) * math.sqrt((self.n_periods - 1) / self.spread))

    def min_length(self, benchmark_sharpe: float, confidence: float) -> float:
        """Return 1 + spread (Z(confidence) / (SR - SR*))^2, the periods after which SR would be believed."""
        excess = self.sharpe - benchmark_sharpe
        if excess <= 0.0:
            return math.inf
        return 1.0 + self.spread * (_NORMAL.inv_cdf(confidence) / excess) ** 2


def sharpes(returns: FloatArray) -> FloatArray:
    """Return the per-period Sharpe ratio of each column; (T, N) -> (N,), 0 for a column without variance.

    Raises ValueError on NaN, infinity, or fewer than two periods.
    """
    if returns.ndim != 2 or len(returns) < 2:
        raise ValueError(f"returns are {returns.shape}; give (T, N) with T at least 2")
    if not np.isfinite(returns).all():
        raise ValueError("a return is NaN or infinite")
    deviation = np.where(_varies(returns), returns.std(axis=0, ddof=1), np.inf)
    ratio: FloatArray = returns.mean(axis=0) / deviation
    return ratio


def a_year(sharpe_per_day: float) -> float:
    """Return the Sharpe of daily returns, annualised, for showing only."""
    return float(sharpe_per_day * math.sqrt(DAYS_PER_YEAR))


def probabilistic_sharpe(returns: FloatArray, benchmark_sharpe: float = 0.0) -> float:
    """Return the probability that the true Sharpe of (T,) returns is above the benchmark's, both per period (PSR)."""
    return TrackRecord.of(returns).probability_above(benchmark_sharpe)


def expected_max_sharpe(n_trials: int, sharpe_variance: float) -> float:
    """Return the Sharpe that the best of N trials without any edge is expected to show (SR0).

    sqrt(V) ((1 - g) Z(1 - 1/N) + g Z(1 - 1/(N e))), g = 0.5772...; 0 for one trial. Raises ValueError without a trial.
    """
    if n_trials < 1 or sharpe_variance < 0.0:
        raise ValueError(f"{n_trials} trials with a variance of {sharpe_variance}")
    if n_trials == 1:
        return 0.0
    usual, rare = _NORMAL.inv_cdf(1 - 1 / n_trials), _NORMAL.inv_cdf(1 - 1 / (n_trials * math.e))
    return math.sqrt(sharpe_variance) * ((1 - EULER_GAMMA) * usual + EULER_GAMMA * rare)


def deflated_sharpe(returns: FloatArray, n_trials: int, sharpe_variance: float) -> float:
    """Return the probability that the best trial's true Sharpe is above what luck among N trials explains (DSR).

    `returns` (T,) are the chosen trial's; `n_trials` counts failed and pruned ones too; `sharpe_variance` is that of
    the per-period Sharpes of the trials that have one.
    """
    return probabilistic_sharpe(returns, expected_max_sharpe(n_trials, sharpe_variance))


def min_track_record_length(returns: FloatArray, benchmark_sharpe: float, confidence: float = 0.95) -> float:
    """Return after how many periods the Sharpe of (T,) returns would be believed to be above the benchmark's.

    Infinite when it is not above it: no length helps.
    """
    return TrackRecord.of(returns).min_length(benchmark_sharpe, confidence)


def serial_inflation(returns: FloatArray) -> FloatArray:
    """Return how much serial correlation widens the variance of each column's mean; (T, N) -> (N,), at least 1.

    1 + 2 sum_k (1 - k / (q + 1)) rho_k over q = 4 (T / 100)^(2/9) lags (Newey & West 1987, 1994; Lo 2002 applies it to
    Sharpe ratios). Negative correlation would narrow it; that is not believed. 1 for a column without variance.
    """
    n_periods = len(returns)
    n_lags = min(int(4 * (n_periods / 100) ** (2 / 9)), n_periods - 1)
    centred = np.where(_varies(returns), returns - returns.mean(axis=0), 0.0)
    variance = np.maximum((centred**2).sum(axis=0), np.finfo(float).tiny)
    inflation = np.ones(returns.shape[1])
    for lag in range(1, n_lags + 1):
        covariance = (centred[lag:] * centred[:-lag]).sum(axis=0)
        inflation += 2 * (1 - lag / (n_lags + 1)) * covariance / variance
    return np.maximum(inflation, 1.0)


def effective_trials(returns: FloatArray) -> float:
    """Return how many independent trials the columns (T, N) are worth, in [1, N].

    N^2 over the sum of squared correlations, which is (sum of eigenvalues)^2 / (sum of their squares) of the
    correlation matrix; what chance adds to a squared correlation, 1 / (T - 1), is taken off first. Columns without
    variance are no trials.
    """
    moving = returns[:, _varies(returns)]
    n_periods, n_trials = moving.shape
    if n_trials < 2:
        return 1.0
    score = (moving - moving.mean(axis=0)) / moving.std(axis=0)
    squares = float((((score.T @ score) / n_periods) ** 2).sum())
    by_chance = n_trials * (n_trials - 1) / (n_periods - 1)
    return float(n_trials**2 / max(squares - by_chance, n_trials))


def _varies(returns: FloatArray) -> BoolArray:
    """Return which columns are more than a constant and rounding."""
    largest = np.abs(returns).max(axis=0)
    unit = returns / np.where(largest > 0, largest, 1.0)
    varies: BoolArray = ((unit - unit.mean(axis=0)) ** 2).sum(axis=0) > NO_VARIANCE * (unit**2).sum(axis=0)
    return varies
