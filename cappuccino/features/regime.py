"""Labels of the market's state: is it livelier than usual, does it go anywhere?"""

from __future__ import annotations

import numpy as np

from cappuccino.features.feature import Feature, always
from cappuccino.features.rolling import log_returns, rolling_mean
from cappuccino.market.panel import BarPanel, FloatArray

SHORT_BARS = 24
LONG_BARS = 192
TREND_BARS = 96
LIVELY = 1.25
"""Ratio of short to long volatility from which the label is 1; below its inverse it is -1."""
TRENDING = 0.5
"""Distance from the average from which a label is +-1, in standard deviations of TREND_BARS random steps."""


def regime() -> Feature:
    """Return the labels of volatility and trend, each -1, 0 or 1; 0 in a market that stands still."""
    return Feature(("regime_volatility", "regime_trend"), always(LONG_BARS), _compute)


def _compute(panel: BarPanel) -> FloatArray:
    squared = log_returns(panel.close) ** 2
    short, long = np.sqrt(rolling_mean(squared, SHORT_BARS)), np.sqrt(rolling_mean(squared, LONG_BARS))
    volatility = (short > LIVELY * long).astype(float) - (short < long / LIVELY)
    distance = np.log(panel.close / rolling_mean(panel.close, TREND_BARS))
    step = TRENDING * long * np.sqrt(TREND_BARS)
    trend = (distance > step).astype(float) - (distance < -step)
    return np.stack([volatility, trend], axis=-1)
