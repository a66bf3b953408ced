"""What trees see of a bar: one row for each symbol, the same code for training and for trading.

All of it is done number by number, or added up in a fixed order, so that a row has the same bits whatever surrounds it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.float32]

CHANGES = (1, 4, 16, 64)
"""Bars over which changes are seen, as far as the lookback reaches."""
SYMBOL = "symbol"


@dataclass(frozen=True)
class Column:
    """One input: a feature, and how it is looked at."""

    feature: str
    """Name of the feature, or `symbol`."""
    view: str
    """`now`, `change_N` since N bars ago, or `market`, the mean over all symbols."""

    def __str__(self) -> str:
        return f"{self.feature}:{self.view}"


@dataclass(frozen=True)
class Sight:
    """What trees may look at beside a symbol's own features."""

    lookback: int
    sees_market: bool
    """Whether they see the means over all symbols, which tell times apart rather than symbols."""
    knows_symbol: bool
    """Whether they see which symbol a row is of."""


def changes_within(lookback: int) -> tuple[int, ...]:
    """Return the distances in bars that a window of `lookback` bars can tell."""
    return tuple(n for n in CHANGES if n < lookback)


def columns(names: tuple[str, ...], sight: Sight) -> tuple[Column, ...]:
    """Return what the columns of `rows` are, in order."""
    views = ["now", *(f"change_{n}" for n in changes_within(sight.lookback))]
    if sight.sees_market:
        views.append("market")
    seen = tuple(Column(name, view) for view in views for name in names)
    return (*seen, Column(SYMBOL, "now")) if sight.knows_symbol else seen


def rows(features: Rows, start: int, stop: int, sight: Sight) -> Rows:
    """Return the inputs of bars [start, stop); (T, A, F) scaled -> ((stop - start) * A, K), a bar's symbols together.

    `start` has the whole lookback before it. NaN where a feature, now or before, is NaN.
    """
    if not sight.lookback - 1 <= start <= stop <= len(features):
        raise ValueError(f"rows [{start}, {stop}) of {len(features)} with a lookback of {sight.lookback}")
    now = features[start:stop]
    changes = [now - features[start - n : stop - n] for n in changes_within(sight.lookback)]
    parts = [now, *changes]
    if sight.sees_market:
        parts.append(np.broadcast_to(_market(now)[:, None], now.shape))
    if sight.knows_symbol:
        n_assets = now.shape[1]
        parts.append(np.broadcast_to(np.arange(n_assets, dtype=np.float32)[None, :, None], (len(now), n_assets, 1)))
    seen = np.concatenate(parts, axis=2)
    return seen.reshape(-1, seen.shape[2])


def _market(features: Rows) -> Rows:
    """Return the mean over symbols, (T, A, F) -> (T, F), added up symbol by symbol."""
    total = np.zeros_like(features[:, 0])
    for asset in range(features.shape[1]):
        total += features[:, asset]
    return total / np.float32(features.shape[1])
