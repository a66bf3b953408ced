"""How closely a symbol follows Bitcoin."""

from __future__ import annotations

import numpy as np

from cappuccino.features.feature import Feature, always
from cappuccino.features.rolling import log_returns, rolling_covariance
from cappuccino.market.panel import BarPanel, FloatArray

# Product of two standard deviations of log returns; below it one of the prices stands still.
_MIN_SCALE = 1e-18


def reference_symbol(symbols: tuple[str, ...]) -> int:
    """Return the position of the first symbol whose base is BTC, or 0 where there is none."""
    bases = [symbol.partition("/")[0] for symbol in symbols]
    return bases.index("BTC") if "BTC" in bases else 0


def correlation(length: int) -> Feature:
    """Return the correlation of log returns with the reference over `length` bars; 0 if one stands still."""

    def compute(panel: BarPanel) -> FloatArray:
        returns = log_returns(panel.close)
        a = reference_symbol(panel.symbols)
        reference = returns[:, a : a + 1]
        own_variance = rolling_covariance(returns, returns, length)
        scale = np.sqrt(own_variance * own_variance[:, a : a + 1])
        together = rolling_covariance(returns, np.broadcast_to(reference, returns.shape), length)
        coefficient = np.divide(together, scale, where=scale > _MIN_SCALE, out=np.zeros_like(scale))
        return np.clip(coefficient, -1.0, 1.0)[..., None]

    return Feature((f"correlation_{length}",), always(length), compute)
