"""What trees learn to predict: the return that a decision at the close of a bar could still have earned."""

from __future__ import annotations

import numpy as np

from cappuccino.market.panel import FloatArray
from cappuccino.trees.hyper import Target

MIN_VOLATILITY = 1e-4
"""Of a bar: symbols that hardly moved must not look like certain gains."""


def forward_log_returns(open_usd: FloatArray, close_usd: FloatArray, horizon_bars: int) -> FloatArray:
    """Return ln(close[t + h] / open[t + 1]), from the fill of a decision at close[t] on; (T, A) -> (T - h, A)."""
    if not 0 < horizon_bars < len(close_usd):
        raise ValueError(f"a horizon of {horizon_bars} in {len(close_usd)} bars")
    n = len(close_usd) - horizon_bars
    gains: FloatArray = np.log(close_usd[horizon_bars:] / open_usd[1 : n + 1])
    return gains


def units(close_usd: FloatArray, start: int, stop: int, lookback: int, horizon_bars: int, target: Target) -> FloatArray:
    """Return what a prediction of 1 is worth at bars [start, stop), as a log return; (T, A) -> (stop - start, A).

    For `risk` that is the volatility of the last `lookback` bars over the horizon. `start` has them before it.
    """
    if not lookback - 1 <= start <= stop <= len(close_usd):
        raise ValueError(f"rows [{start}, {stop}) of {len(close_usd)} with a lookback of {lookback}")
    if target == "return":
        return np.ones((stop - start, close_usd.shape[1]))
    squares = np.zeros((stop - start, close_usd.shape[1]))
    # Number by number in a fixed order: the bits must not depend on how many rows are asked for.
    for n in range(lookback - 1):
        after, before = close_usd[start - n : stop - n], close_usd[start - n - 1 : stop - n - 1]
        squares += (after / before - 1.0) ** 2
    of_a_bar = np.maximum(np.sqrt(squares / (lookback - 1)), MIN_VOLATILITY)
    return np.asarray(of_a_bar * np.sqrt(horizon_bars))
