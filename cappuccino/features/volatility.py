"""How much the price has moved."""

from __future__ import annotations

import numpy as np

from cappuccino.features.feature import Feature, always
from cappuccino.features.rolling import log_returns, rolling_mean
from cappuccino.market.panel import BarPanel, FloatArray


def realized_volatility(length: int) -> Feature:
    """Return the root mean square of the last `length` log returns, annualised (365 days)."""

    def compute(panel: BarPanel) -> FloatArray:
        per_bar = np.sqrt(rolling_mean(log_returns(panel.close) ** 2, length))
        annualized: FloatArray = per_bar * np.sqrt(panel.interval.per_year)
        return annualized[..., None]

    return Feature((f"realized_volatility_{length}",), always(length), compute)
