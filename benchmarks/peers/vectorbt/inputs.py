"""Bars and wishes from a seed, in NumPy alone: both this environment and the tests make them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SEED = 20261121
N_BARS, N_ASSETS = 600, 3
CASH_USD = 10_000.0
WEEK_BARS = 7 * 24
AVERAGE_BARS = 20


@dataclass(frozen=True)
class Case:
    """A strategy with its costs; the wish of row t is decided at close[t] and filled at open[t + 1]."""

    weights: NDArray[np.float64]
    """(T, A) target weights, NaN where nothing is wanted."""
    fee_bps: float
    slippage_bps: float


def bars() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return opens and closes (T, A), rounded so that no machine's exponential makes a difference."""
    rng = np.random.default_rng(SEED)
    close = np.array([100.0, 2.0, 40_000.0]) * np.exp(np.cumsum(rng.normal(0, 0.01, (N_BARS, N_ASSETS)), axis=0))
    opened = np.vstack([close[:1], close[:-1]]) * np.exp(rng.normal(0, 0.001, close.shape))
    return np.round(opened, 6), np.round(close, 6)


def cases() -> dict[str, Case]:
    """Return the strategies by name; only the first wants more than its cash can pay with costs."""
    _, close = bars()
    return {
        "buy_and_hold": Case(_all_in_one(), fee_bps=25.0, slippage_bps=5.0),
        "weekly_rebalance": Case(_weekly(), fee_bps=25.0, slippage_bps=5.0),
        "weekly_rebalance_without_costs": Case(_weekly(), fee_bps=0.0, slippage_bps=0.0),
        "threshold_crossing": Case(_crossing(close), fee_bps=40.0, slippage_bps=10.0),
    }


def sha256() -> str:
    """Return the hash of all bars and wishes."""
    digest = hashlib.sha256()
    for array in (*bars(), *(case.weights for case in cases().values())):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _all_in_one() -> NDArray[np.float64]:
    weights = np.full((N_BARS, N_ASSETS), np.nan)
    weights[0] = [1.0, 0.0, 0.0]
    return weights


def _weekly() -> NDArray[np.float64]:
    weights = np.full((N_BARS, N_ASSETS), np.nan)
    weights[::WEEK_BARS] = [0.4, 0.3, 0.2]
    return weights


def _crossing(close: NDArray[np.float64]) -> NDArray[np.float64]:
    """Hold a third of 90 % in what closed above its mean of 20 bars, told when that changes."""
    sums = np.cumsum(np.vstack([np.zeros((1, N_ASSETS)), close]), axis=0)
    mean = (sums[AVERAGE_BARS:] - sums[:-AVERAGE_BARS]) / AVERAGE_BARS
    is_above = np.vstack([np.zeros((AVERAGE_BARS - 1, N_ASSETS), dtype=bool), close[AVERAGE_BARS - 1 :] > mean])
    has_changed = np.vstack([is_above[:1], is_above[1:] != is_above[:-1]])
    return np.where(has_changed, np.where(is_above, 0.3, 0.0), np.nan)
