"""Futures that did not happen: the bars up to a row as they were, and others, or none, behind it.

       start          first      t
|--------|--------------|--------|-------------|
         [   history    [ traded ][   future   ]     one window around each cut t
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from cappuccino.errors import DataError
from cappuccino.features.compute import block_bars
from cappuccino.market.panel import PRICE_COLUMNS, BarPanel, FloatArray

TRADED_BARS = 48
"""Bars up to a cut that are traded; what looks h bars ahead is seen on the last h of them."""
FUTURE_BARS = 300
MIN_FUTURE_BARS = 8
N_EDGES = 2
"""Edges of feature blocks that are cut just before and just behind."""
_STEP_LOG = 0.05
_WILD = 100.0

Change = Callable[[BarPanel, int, np.random.Generator], BarPanel]
"""(panel, rows that are known, luck) -> the same known rows before another future."""


@dataclass(frozen=True)
class Window:
    """The bars around one cut, and where in them it lies."""

    panel: BarPanel
    start: int
    """Position of its first row in the whole panel."""
    first: int
    """First row that is traded."""
    last: int
    """The cut: the newest row that may be known."""


def cut_rows(panel: BarPanel, first: int, n_cuts: int, seed: int) -> tuple[int, ...]:
    """Return `n_cuts` rows at random and those at the edges of feature blocks, in order.

    `first` is the first row that can be traded. Raises DataError when too few bars come after it.
    """
    low, high = first + TRADED_BARS, len(panel) - MIN_FUTURE_BARS
    if high - low < n_cuts:
        raise DataError(
            f"{len(panel)} {panel.interval} bars, {max(len(panel) - first, 0)} of them with features, are too few to "
            f"audit: {TRADED_BARS + MIN_FUTURE_BARS + n_cuts} are needed; sync a longer range"
        )
    rng = np.random.default_rng(seed)
    rows = np.arange(low, high)
    opened_us = panel.opened_at[low:high].astype("datetime64[us]").astype(np.int64)
    edges = rows[opened_us // panel.interval.us % block_bars(panel.interval) == 0]
    chosen = rng.choice(edges, min(N_EDGES, len(edges)), replace=False)
    at_edges = [row + shift for row in chosen.tolist() for shift in (-1, 0) if row + shift >= low]
    return tuple(sorted({*rng.choice(rows, n_cuts, replace=False).tolist(), *at_edges}))


def window(panel: BarPanel, cut: int, history_bars: int) -> Window:
    """Return the bars that suffice to trade TRADED_BARS up to `cut`, and some future."""
    first = cut - TRADED_BARS
    start = max(0, first - history_bars)
    stop = min(len(panel), cut + 1 + FUTURE_BARS)
    return Window(panel.rows(start, stop), start, first - start, cut - start)


def truncated(panel: BarPanel, n_known: int, _: np.random.Generator) -> BarPanel:
    """Return the bars that are known, and nothing behind them."""
    return panel.rows(0, n_known)


def walked(panel: BarPanel, n_known: int, rng: np.random.Generator) -> BarPanel:
    """Return a future that went elsewhere: prices times a random walk, volumes and inputs of other bars."""
    shape = (len(panel) - n_known, len(panel.symbols))
    factor = np.exp(np.cumsum(_STEP_LOG * rng.standard_normal(shape), axis=0))
    order = rng.permutation(shape[0])
    volume = panel.volume[n_known:][order] * 1.5 + 1.0
    inputs = {
        name: values[n_known:][order] + rng.standard_normal(values[n_known:].shape)
        for name, values in panel.inputs.items()
    }
    return _with_future(panel, n_known, factor, volume, inputs)


def wild(panel: BarPanel, n_known: int, rng: np.random.Generator) -> BarPanel:
    """Return a future of extremes: prices a hundred times as high or low, volumes of nothing or far too much."""
    shape = (len(panel) - n_known, len(panel.symbols))
    factor = _WILD ** rng.choice((-1.0, 1.0), shape)
    volume = np.where(rng.random(shape) < 0.5, 0.0, panel.volume[n_known:] * _WILD**3 + _WILD)
    inputs = {name: values[n_known:] * _WILD - _WILD for name, values in panel.inputs.items()}
    return _with_future(panel, n_known, factor, volume, inputs)


PERTURBATIONS: Mapping[str, Change] = {"walked": walked, "wild": wild}


def with_moved_opens(panel: BarPanel, rng: np.random.Generator) -> BarPanel:
    """Return bars that open elsewhere than the one before closed, so that a fill tells which price it took."""
    opened = panel.open * np.exp(0.01 * rng.standard_normal(panel.open.shape))
    high, low = np.maximum(panel.high, opened), np.minimum(panel.low, opened)
    return replace(panel, open=opened, high=high, low=low)


def _with_future(
    panel: BarPanel, n_known: int, factor: FloatArray, volume: FloatArray, inputs: Mapping[str, FloatArray]
) -> BarPanel:
    later = {name: getattr(panel, name)[n_known:] * factor for name in PRICE_COLUMNS} | {"volume": volume}
    changed = {name: np.concatenate([getattr(panel, name)[:n_known], values]) for name, values in later.items()}
    known = {name: np.concatenate([panel.inputs[name][:n_known], values]) for name, values in inputs.items()}
    return BarPanel(panel.interval, panel.symbols, panel.opened_at, **changed, is_filled=panel.is_filled, inputs=known)
