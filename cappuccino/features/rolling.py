"""Trailing windows over (T, A) arrays; a window ends with its own row, rows without a full window are NaN."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from cappuccino.market.panel import FloatArray


def lag(values: FloatArray, n: int) -> FloatArray:
    """Return values[t - n]; (T, A) -> (T, A), the first n rows NaN."""
    lagged = np.full_like(values, np.nan)
    lagged[n:] = values[: len(values) - n]
    return lagged


def log_returns(prices: FloatArray) -> FloatArray:
    """Return ln(p[t] / p[t-1]); (T, A) -> (T, A), first row NaN."""
    return np.log(prices / lag(prices, 1))


def rolling_mean(values: FloatArray, length: int) -> FloatArray:
    """Return the mean of the last `length` rows; (T, A) -> (T, A), NaN where one of them is NaN."""
    means = np.full_like(values, np.nan)
    if len(values) >= length:
        means[length - 1 :] = sliding_window_view(values, length, axis=0).mean(axis=-1)
    return means


def rolling_covariance(x: FloatArray, y: FloatArray, length: int) -> FloatArray:
    """Return the population covariance over the last `length` rows; (T, A), (T, A) -> (T, A).

    Two passes, mean first: the one-pass formula loses every digit on windows that barely move.
    """
    covariance = np.full_like(x, np.nan)
    if len(x) >= length:
        x_windows, y_windows = (sliding_window_view(values, length, axis=0) for values in (x, y))
        x_centered = x_windows - x_windows.mean(axis=-1, keepdims=True)
        y_centered = y_windows - y_windows.mean(axis=-1, keepdims=True)
        covariance[length - 1 :] = (x_centered * y_centered).mean(axis=-1)
    return covariance
