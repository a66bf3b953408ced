"""Places in an order, where equals share one."""

from __future__ import annotations

import numpy as np

from cappuccino.market.panel import FloatArray


def midranks(values: FloatArray, tolerance: float = 0.0) -> FloatArray:
    """Return the rank of each value within its row, 1 for the smallest; (C, N) -> (C, N).

    Values that follow each other at no more than `tolerance` are equal: all have the mean of their places.
    """
    order = np.argsort(values, axis=1, kind="stable")
    ascending = np.take_along_axis(values, order, axis=1)
    places = np.broadcast_to(np.arange(values.shape[1]), values.shape)
    rises = np.diff(ascending, axis=1) > tolerance
    edge = np.ones((len(values), 1), dtype=bool)
    first = np.maximum.accumulate(np.where(np.hstack([edge, rises]), places, 0), axis=1)
    last_reversed = np.where(np.hstack([rises, edge]), places, values.shape[1])[:, ::-1]
    last = np.minimum.accumulate(last_reversed, axis=1)[:, ::-1]
    ranks = np.empty(values.shape)
    np.put_along_axis(ranks, order, (first + last) / 2 + 1, axis=1)
    return ranks
