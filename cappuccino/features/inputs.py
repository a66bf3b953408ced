"""Columns that the panel brings along beside its bars: sentiment, order books."""

from __future__ import annotations

import numpy as np

from cappuccino.errors import DataError
from cappuccino.features.feature import Feature, always
from cappuccino.market.inputs import columns_of
from cappuccino.market.panel import BarPanel, FloatArray


def from_input(name: str) -> Feature:
    """Return the columns of input `name`; its `compute` raises DataError for a panel that was loaded without it."""
    columns = columns_of(name)

    def compute(panel: BarPanel) -> FloatArray:
        absent = [column for column in columns if column not in panel.inputs]
        if absent:
            raise DataError(
                f"this panel of {panel.interval} bars has no {', '.join(absent)}; load it with the inputs of the "
                "features that are computed from it (load_panel, inputs=spec.inputs)"
            )
        return np.stack([panel.inputs[column] for column in columns], axis=-1)

    return Feature(columns, always(0), compute)
