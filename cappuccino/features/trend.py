"""Where the price stands in the trend of a longer interval, for agents that trade a shorter one."""

from __future__ import annotations

import numpy as np

from cappuccino.features.feature import Feature
from cappuccino.features.rolling import log_returns, rolling_mean
from cappuccino.market.interval import Interval
from cappuccino.market.panel import BarPanel, FloatArray

AVERAGE_BARS = 20
"""Closed bars of the longer interval in the moving average."""


def trend(longer: Interval) -> Feature:
    """Return, for the last closed bar of `longer`, ln(close / moving average) and its log return.

    Buckets are aligned on UTC and count from the moment that they close. An agent whose own bars are as long
    as `longer`, or longer, gets the same two columns from its own bars, so that one configuration fits every
    interval.
    """

    def compute(panel: BarPanel) -> FloatArray:
        bucket_us = max(longer.us, panel.interval.us)
        closed_us = panel.closed_at.astype("datetime64[us]").astype(np.int64)
        ends_bucket = closed_us % bucket_us == 0
        close = panel.close[ends_bucket]
        columns = np.stack([np.log(close / rolling_mean(close, AVERAGE_BARS)), log_returns(close)], axis=-1)
        return _last_known(columns, ends_bucket)

    def warmup_bars(interval: Interval) -> int:
        return AVERAGE_BARS * max(longer.us // interval.us, 1)

    return Feature((f"trend_{longer}_log_distance", f"trend_{longer}_log_return"), warmup_bars, compute)


def _last_known(columns: FloatArray, is_new: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> FloatArray:
    """Spread row j of `columns` from the j-th true of `is_new` to before the next; NaN before the first."""
    position = np.cumsum(is_new) - 1
    before_first = np.full((1, *columns.shape[1:]), np.nan)
    # Position -1 reads the NaN row at the end.
    spread: FloatArray = np.concatenate([columns, before_first])[position]
    return spread
