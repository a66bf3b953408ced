"""Whether a bar's volume is unusual."""

from __future__ import annotations

import numpy as np

from cappuccino.features.feature import Feature, always
from cappuccino.features.rolling import rolling_covariance, rolling_mean
from cappuccino.market.panel import BarPanel, FloatArray

# In units of ln(1 + volume): a window that varies less stands still, and what varies is rounding.
_MIN_STD = 1e-9


def volume_zscore(length: int) -> Feature:
    """Return the standard deviations from ln(1 + volume) to its mean of `length` bars, or 0 without any."""

    def compute(panel: BarPanel) -> FloatArray:
        log_volume = np.log1p(panel.volume)
        std = np.sqrt(rolling_covariance(log_volume, log_volume, length))
        moves = std > _MIN_STD
        zscore = np.divide(log_volume - rolling_mean(log_volume, length), std, where=moves, out=np.zeros_like(std))
        return zscore[..., None]

    return Feature((f"volume_zscore_{length}",), always(length), compute)
