"""Invented markets and accounts for what is validated on them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cappuccino.market.interval import Interval
from cappuccino.market.panel import BarPanel, FloatArray
from cappuccino.portfolio.costs import Costs
from cappuccino.risk.rules import Rules
from cappuccino.settings import CostSettings, RiskSettings
from cappuccino.validation.baselines import table_policy
from cappuccino.validation.evaluate import EpisodeResult, run

UNDER_RULES = Rules.of(RiskSettings(), CostSettings())
RULES = UNDER_RULES.without_protection()
FREE = replace(RULES, costs=replace(Costs.of(CostSettings()), fee_bps=0.0, slippage_bps=0.0, min_order_usd=0.0))


def market(
    n_bars: int = 400,
    n_assets: int = 3,
    seed: int = 5,
    *,
    drift: float = 0.0,
    deviation: float = 0.01,
    interval: Interval = Interval.H4,
) -> BarPanel:
    """Return random walks whose opens are a little off the closes before them."""
    rng = np.random.default_rng(seed)
    returns = rng.normal(drift, deviation, (n_bars, n_assets))
    return panel_of(100 * np.exp(np.cumsum(returns, axis=0)), rng, interval=interval)


def panel_of(closes: FloatArray, rng: np.random.Generator | None = None, interval: Interval = Interval.H4) -> BarPanel:
    """Return the panel of (T, A) closes; without `rng` each bar opens where the one before closed."""
    n_bars, n_assets = closes.shape
    opens = np.vstack([closes[:1], closes[:-1]])
    if rng is not None:
        opens = opens * np.exp(rng.normal(0, 0.001, closes.shape))
    return BarPanel(
        interval,
        tuple(f"S{a}/USD" for a in range(n_assets)),
        np.datetime64("2025-01-01", "us") + np.arange(n_bars) * np.timedelta64(interval.us, "us"),
        open=opens,
        high=np.maximum(opens, closes) * 1.001,
        low=np.minimum(opens, closes) * 0.999,
        close=closes,
        volume=np.ones_like(closes),
        is_filled=np.zeros(closes.shape, dtype=bool),
    )


def in_and_out(n_bars: int, n_assets: int, seed: int, mean_bars: float = 12.0, weight: float = 0.9) -> FloatArray:
    """Return targets (T, A) of somebody who is in and out of each symbol by chance, NaN where nothing changes."""
    rng = np.random.default_rng(seed)
    changes = rng.random((n_bars, n_assets)) < 1 / mean_bars
    changes[0] = True
    is_in = (np.cumsum(changes, axis=0) + rng.integers(0, 2, n_assets)) % 2
    return np.where(changes, is_in * weight / n_assets, np.nan)


def episode(panel: BarPanel, targets: FloatArray, rules: Rules = RULES, start: int = 0) -> EpisodeResult:
    """Return what became of (T, A) target weights from row `start` on."""
    stop = start + len(targets)
    return run(table_policy(panel, start, targets[:, None]), panel, start, stop, rules)
