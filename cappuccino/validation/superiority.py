"""Is the best of many variants better than the one in use, or only the luckiest?

Whole days are drawn again for all variants together (stationary bootstrap), so that what they share cancels. The
p-value is White's "A Reality Check for Data Snooping", Econometrica 68(5), 2000, with Sharpe ratios: how often the
best of N without any advantage would show so much of one. The interval of the difference knows nothing of the choice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cappuccino.market.panel import FloatArray
from cappuccino.validation.bootstrap import N_RESAMPLES, stationary_rows
from cappuccino.validation.deflated import NO_VARIANCE, a_year, sharpes

SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Superiority:
    """The variant with the best Sharpe beside the one in use; Sharpes are of daily returns, annualised."""

    best: int
    """The first of equals."""
    place_in_use: int
    """1 + how many variants have a higher Sharpe than the one in use."""
    difference_sharpe: float
    """Best minus in use, not negative."""
    low_sharpe: float
    """Ends of the interval of the difference."""
    high_sharpe: float
    difference_per_day_frac: float
    """Mean daily return of the best minus that of the one in use."""
    low_per_day_frac: float
    high_per_day_frac: float
    p_value: float
    """Share of draws in which the best of all, without an advantage, led by as much; 1 when nothing leads."""


def superiority(
    daily_returns: FloatArray,
    in_use: int = 0,
    *,
    confidence: float = 0.95,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> Superiority:
    """Compare the columns of net returns (T, N) with column `in_use`.

    Raises ValueError on NaN or fewer than two days.
    """
    found = sharpes(daily_returns)
    best, n_days = int(found.argmax()), len(daily_returns)
    lead = found - found[in_use]
    rows = stationary_rows(n_days, n_resamples, n_days ** (1 / 3), np.random.default_rng(seed))
    mean, sharpe = _drawn(daily_returns, _counts(rows, n_days))
    drawn_lead = sharpe - sharpe[:, [in_use]]
    drawn_gain = mean[:, best] - mean[:, in_use]
    # Each draw less what the sample shows is a draw of variants without any advantage.
    n_as_lucky = int(((drawn_lead - lead).max(axis=1) >= lead[best]).sum())
    ends = ((1 - confidence) / 2, (1 + confidence) / 2)
    low, high = np.quantile(drawn_lead[:, best], ends)
    low_gain, high_gain = np.quantile(drawn_gain, ends)
    gain = daily_returns[:, best] - daily_returns[:, in_use]
    return Superiority(
        best=best,
        place_in_use=1 + int((found > found[in_use]).sum()),
        difference_sharpe=a_year(lead[best]),
        low_sharpe=a_year(low),
        high_sharpe=a_year(high),
        difference_per_day_frac=float(gain.mean()),
        low_per_day_frac=float(low_gain),
        high_per_day_frac=float(high_gain),
        p_value=1.0 if lead[best] <= 0.0 else (n_as_lucky + 1) / (n_resamples + 1),
    )


def _counts(rows: np.ndarray, n_days: int) -> FloatArray:
    """Return how often each day was drawn, (B, T), from the days of each draw, (B, T)."""
    flat = rows + np.arange(len(rows))[:, None] * n_days
    counts: FloatArray = (
        np.bincount(flat.ravel(), minlength=len(rows) * n_days).reshape(len(rows), n_days).astype(float)
    )
    return counts


def _drawn(returns: FloatArray, counts: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return mean and per-day Sharpe of every column in every draw, (B, N) each; 0 without variance.

    Moments of the drawn days are products of counts with returns (T, N): no draw is written out.
    """
    n_days = len(returns)
    mean, square = counts @ returns / n_days, counts @ returns**2 / n_days
    variance = (square - mean**2) * n_days / (n_days - 1)
    deviation = np.where(variance > NO_VARIANCE * square, np.sqrt(np.maximum(variance, 0.0)), np.inf)
    return mean, mean / deviation
