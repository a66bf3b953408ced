"""How far a Sharpe ratio could have come out otherwise, without a formula for its distribution.

The stationary bootstrap (Politis & Romano, "The Stationary Bootstrap", JASA 89, 1994) draws blocks of geometric length
from the returns, wrapped into a circle, so that serial correlation shorter than a block survives.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cappuccino.market.panel import FloatArray
from cappuccino.validation.deflated import sharpes

N_RESAMPLES = 2_000


def sharpe_range(
    returns: FloatArray,
    *,
    confidence: float = 0.95,
    mean_block: float | None = None,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the percentile interval of the per-period Sharpe of (T,) returns.

    Blocks have `mean_block` periods on average, T^(1/3) when not given. Raises ValueError on NaN, another shape, fewer
    than two periods or blocks shorter than one.
    """
    if returns.ndim != 1:
        raise ValueError(f"returns are {returns.shape}; give (T,)")
    mean_block = len(returns) ** (1 / 3) if mean_block is None else mean_block
    rows = stationary_rows(len(returns), n_resamples, mean_block, np.random.default_rng(seed))
    low, high = np.quantile(sharpes(returns[rows].T), [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def stationary_rows(
    n_periods: int, n_resamples: int, mean_block: float, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Return the periods of each resample, (B, T): each starts a new block with probability 1 / `mean_block`."""
    if mean_block < 1.0:
        raise ValueError(f"blocks of {mean_block} periods")
    shape = (n_resamples, n_periods)
    period = np.arange(n_periods)
    starts_block = rng.random(shape) < 1.0 / mean_block
    starts_block[:, 0] = True
    began = np.maximum.accumulate(np.where(starts_block, period, 0), axis=1)
    origin = np.take_along_axis(rng.integers(n_periods, size=shape), began, axis=1)
    rows: npt.NDArray[np.int64] = (origin + period - began) % n_periods
    return rows
