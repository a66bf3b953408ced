"""Small made-up markets for the tests of features."""

from __future__ import annotations

import dataclasses

import numpy as np

from cappuccino.market.interval import Interval
from cappuccino.market.panel import BarPanel, FloatArray

SYMBOLS = ("BTC/USD", "ETH/USD")


def walk(
    n_bars: int,
    *,
    symbols: tuple[str, ...] = SYMBOLS,
    interval: Interval = Interval.H1,
    start: str = "2024-01-01",
    seed: int = 0,
) -> BarPanel:
    """Return bars whose close is a geometric random walk, with gaps at the open and lognormal volume."""
    rng = np.random.default_rng(seed)
    shape = (n_bars, len(symbols))
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, shape), axis=0))
    open_ = close * np.exp(rng.normal(0, 0.008, shape))
    high = np.maximum(open_, close) * np.exp(np.abs(rng.normal(0, 0.004, shape)))
    low = np.minimum(open_, close) * np.exp(-np.abs(rng.normal(0, 0.004, shape)))
    return panel_of(open_, high, low, close, np.exp(rng.normal(3, 0.5, shape)), symbols, interval, start)


def closes(
    close: FloatArray,
    *,
    volume: FloatArray | None = None,
    interval: Interval = Interval.H1,
    start: str = "2024-01-01",
) -> BarPanel:
    """Return bars that open, peak and bottom at the (T, A) closes; volume 1 unless given."""
    symbols = tuple(f"{base}/USD" for base in ("BTC", "ETH", "LTC")[: close.shape[1]])
    traded = np.ones_like(close) if volume is None else volume
    return panel_of(close, close, close, close, traded, symbols, interval, start)


def panel_of(
    open_: FloatArray,
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    volume: FloatArray,
    symbols: tuple[str, ...],
    interval: Interval,
    start: str,
) -> BarPanel:
    opened_at = np.datetime64(start, "us") + np.arange(len(close)) * np.timedelta64(interval.us, "us")
    no_gap = np.zeros(close.shape, dtype=bool)
    return BarPanel(interval, symbols, opened_at, open_, high, low, close, volume, no_gap)


def rescaled(panel: BarPanel, price: float = 1.0, volume: float = 1.0, start: int = 0) -> BarPanel:
    """Return the panel with the prices and volumes of rows from `start` on multiplied."""
    changed = {name: getattr(panel, name).copy() for name in ("open", "high", "low", "close", "volume")}
    for name, values in changed.items():
        values[start:] *= volume if name == "volume" else price
    return dataclasses.replace(panel, **changed)
