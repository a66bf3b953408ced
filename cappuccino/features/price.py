"""Open, high, low, close and volume of a bar, made stationary."""

from __future__ import annotations

import numpy as np

from cappuccino.features.feature import Feature, always
from cappuccino.features.rolling import lag
from cappuccino.market.panel import BarPanel, FloatArray

NAMES = ("log_open", "log_high", "log_low", "log_close", "log_volume")


def price() -> Feature:
    """Return ln(price / previous close) of the four prices, and ln(1 + volume)."""
    return Feature(NAMES, always(1), _compute)


def _compute(panel: BarPanel) -> FloatArray:
    previous_close = lag(panel.close, 1)
    prices = [np.log(p / previous_close) for p in (panel.open, panel.high, panel.low, panel.close)]
    return np.stack([*prices, np.log1p(panel.volume)], axis=-1)
