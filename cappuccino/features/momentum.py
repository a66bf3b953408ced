"""Rate of change, and the strength of a trend."""

from __future__ import annotations

from cappuccino.features.catalogue import indicator
from cappuccino.features.feature import Feature, always
from cappuccino.features.rolling import lag
from cappuccino.market.panel import BarPanel, FloatArray


def rate_of_change(length: int) -> Feature:
    """Return close / close `length` bars ago - 1."""

    def compute(panel: BarPanel) -> FloatArray:
        change: FloatArray = panel.close / lag(panel.close, length) - 1
        return change[..., None]

    return Feature((f"roc_{length}",), always(length), compute)


def average_directional_index(length: int) -> Feature:
    """Return the catalogue's ADX alone, without the directional movements that it brings along."""
    whole = indicator(f"adx_{length}")
    column = whole.names.index(f"adx_{length}")
    return Feature((f"adx_{length}",), whole.warmup_bars, lambda panel: whole.compute(panel)[..., column : column + 1])
