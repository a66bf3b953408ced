"""Where the price stands in the trend of a longer interval, for agents that trade a shorter one."""

from __future__ import annotations

import numpy as np

from cappuccino.features.context import ends_bucket, newest_closed
from cappuccino.features.feature import Feature
from cappuccino.features.rolling import log_returns, rolling_mean
from cappuccino.market.interval import Interval
from cappuccino.market.panel import BarPanel, FloatArray

AVERAGE_BARS = 20
"""Closed bars of the longer interval in the moving average."""


def trend(longer: Interval) -> Feature:
    """Return, for the last closed bar of `longer`, ln(close / moving average) and its log return.

    Buckets are aligned on UTC and count from the moment that they close; the last price in one is its close, filled or
    not. An agent whose own bars are as long as `longer`, or longer, gets the same two columns from its own bars, so
    that one configuration fits every interval.
    """

    def compute(panel: BarPanel) -> FloatArray:
        is_new = ends_bucket(panel, longer)
        close = panel.close[is_new]
        columns = np.stack([np.log(close / rolling_mean(close, AVERAGE_BARS)), log_returns(close)], axis=-1)
        return newest_closed(columns, is_new)

    def warmup_bars(interval: Interval) -> int:
        return AVERAGE_BARS * max(longer.us // interval.us, 1)

    return Feature((f"trend_{longer}_log_distance", f"trend_{longer}_log_return"), warmup_bars, compute)
