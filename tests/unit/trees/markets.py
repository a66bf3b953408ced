"""Markets for trees: one whose volume tells where prices will go, one that is noise; and what they look like."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cappuccino.env.market import MarketArrays, market_arrays
from cappuccino.features.compute import compute, first_row
from cappuccino.features.scaler import Scaler, fit
from cappuccino.features.spec import FeatureSpec
from cappuccino.market.interval import Interval
from cappuccino.market.panel import BarPanel, FloatArray
from cappuccino.risk.rules import Rules
from cappuccino.settings import CostSettings, RiskSettings
from tests.unit.small_market import SYMBOLS

RULES = Rules.of(RiskSettings(), CostSettings())
SPEC = FeatureSpec((), ("roc_12",))
LOOKBACK = 6
N_BARS = 1900
KEEP = 0.97
"""Share of a drift that is left after a bar: it lasts for more than a day."""


@dataclass(frozen=True)
class Ground:
    """A panel, what trees see of it, and where training ends."""

    panel: BarPanel
    market: MarketArrays
    scaler: Scaler
    train: tuple[int, int]
    held_out: tuple[int, int]


def panel(drift: float, seed: int = 3, n_bars: int = N_BARS) -> BarPanel:
    """Return hourly bars that drift by about `drift` a bar, as their volume tells."""
    rng = np.random.default_rng(seed)
    slow = _slow(rng, n_bars)
    returns = drift * slow + rng.normal(0, 0.004, slow.shape)
    return panel_of(returns, np.exp(5 + slow), rng)


def panel_of(returns: FloatArray, volume: FloatArray, rng: np.random.Generator) -> BarPanel:
    close = 100 * np.exp(np.cumsum(returns, axis=0))
    opens = np.vstack([close[:1], close[:-1]]) * np.exp(rng.normal(0, 0.0005, close.shape))
    opened_at = np.datetime64("2025-01-01", "us") + np.arange(len(close)) * np.timedelta64(Interval.H1.us, "us")
    high, low = np.maximum(opens, close), np.minimum(opens, close)
    return BarPanel(Interval.H1, SYMBOLS, opened_at, opens, high, low, close, volume, close < 0)


def ground(drift: float, seed: int = 3) -> Ground:
    """Return a market of which the last third is held out."""
    bars = panel(drift, seed)
    first, middle = first_row(bars, SPEC), N_BARS * 2 // 3
    features = compute(bars, SPEC)
    scaler = fit(features[first:middle], SPEC.names, SYMBOLS)
    market = market_arrays(bars, scaler.transform(features))
    return Ground(bars, market, scaler, (first, middle), (middle + LOOKBACK + 24, N_BARS))


def _slow(rng: np.random.Generator, n_bars: int) -> FloatArray:
    """Return (T, A) of about unit deviation that changes slowly."""
    slow = np.zeros((n_bars, len(SYMBOLS)))
    shocks = rng.normal(0, np.sqrt(1 - KEEP**2), slow.shape)
    for t in range(1, n_bars):
        slow[t] = KEEP * slow[t - 1] + shocks[t]
    return slow
