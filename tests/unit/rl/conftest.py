"""A market with an obvious pattern: the first feature says where each symbol is going."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from cappuccino.env.market import MarketArrays
from cappuccino.market.interval import Interval
from cappuccino.risk.rules import Rules
from cappuccino.settings import CostSettings, RiskSettings
from tests.unit.threads import one_thread

__all__ = ["make_market", "one_thread", "rules"]

TREND = 0.003
NOISE = 0.004
PERSISTENCE = 0.97


def trending_market(n_bars: int, n_assets: int = 3, n_features: int = 3, seed: int = 0) -> MarketArrays:
    """Every symbol rises or falls by 0.3 % a bar for about a day, with noise; feature 0 is +-1, the rest noise."""
    rng = np.random.default_rng(seed)
    flips = np.where(rng.random((n_bars, n_assets)) > PERSISTENCE, -1.0, 1.0)
    direction = np.cumprod(flips, axis=0)
    moves = TREND * np.roll(direction, 1, axis=0) + NOISE * rng.standard_normal((n_bars, n_assets))
    close = 100 * np.exp(np.cumsum(moves, axis=0))
    opened = np.vstack([close[:1], close[:-1]])
    features = rng.standard_normal((n_bars, n_assets, n_features))
    features[..., 0] = direction
    return MarketArrays(
        Interval.H1,
        torch.tensor(features, dtype=torch.float32),
        torch.tensor(opened),
        torch.tensor(close),
        torch.arange(n_bars) * Interval.H1.us,
    )


@pytest.fixture(scope="session")
def make_market() -> Callable[..., MarketArrays]:
    return trending_market


@pytest.fixture(scope="session")
def rules() -> Rules:
    return Rules.of(RiskSettings(), CostSettings()).for_training()
