"""When a bar closed, as points on a circle, so that midnight is next to midnight."""

from __future__ import annotations

import numpy as np

from cappuccino.features.feature import Feature, always
from cappuccino.market.interval import Interval
from cappuccino.market.panel import BarPanel, FloatArray

_DAY_US = Interval.D1.us
# 1 January 1970 was a Thursday; weeks are counted from Monday.
_EPOCH_WEEKDAY_US = 3 * _DAY_US


def time_of_day() -> Feature:
    """Return sine and cosine of the UTC time at which the bar closed."""
    return Feature(("time_of_day_sin", "time_of_day_cos"), always(0), lambda panel: _circle(panel, _DAY_US, shift_us=0))


def day_of_week() -> Feature:
    """Return sine and cosine of the time in the week, Monday 00:00 UTC = 0, at which the bar closed."""
    return Feature(
        ("day_of_week_sin", "day_of_week_cos"),
        always(0),
        lambda panel: _circle(panel, 7 * _DAY_US, shift_us=_EPOCH_WEEKDAY_US),
    )


def _circle(panel: BarPanel, period_us: int, shift_us: int) -> FloatArray:
    closed_us = panel.closed_at.astype("datetime64[us]").astype(np.int64)
    angle = 2 * np.pi * ((closed_us + shift_us) % period_us) / period_us
    point = np.stack([np.sin(angle), np.cos(angle)], axis=-1)
    return np.repeat(point[:, None, :], len(panel.symbols), axis=1)
