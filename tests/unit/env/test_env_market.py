"""Windows: which rows an agent sees, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cappuccino.env.market import MarketArrays, market_arrays
from cappuccino.errors import DataError
from cappuccino.market.interval import Interval
from cappuccino.market.panel import BarPanel
from cappuccino.portfolio.conditions import conditions_of


def counting_market(n_bars: int = 6) -> MarketArrays:
    """Two symbols, one feature: bar number, plus 100 for the second symbol."""
    bar = torch.arange(n_bars, dtype=torch.float64)
    prices = torch.stack([bar + 1, bar + 1], dim=1)
    features = torch.stack([bar, bar + 100], dim=1).to(torch.float32)[..., None]
    return MarketArrays(Interval.H1, features, prices, prices, torch.arange(n_bars) * Interval.H1.us)


def test_a_window_ends_with_its_bar_and_looks_back() -> None:
    windows = counting_market().windows(torch.tensor([2, 5]), 3)
    assert windows.shape == (2, 2, 3, 1)
    assert windows[..., 0].tolist() == [[[0, 1, 2], [100, 101, 102]], [[3, 4, 5], [103, 104, 105]]]


def test_a_window_never_holds_the_future() -> None:
    market = counting_market()
    changed = counting_market()
    changed.features[4:] = 9e9
    bars = torch.tensor([2, 3])
    assert torch.equal(market.windows(bars, 3), changed.windows(bars, 3))


@pytest.mark.parametrize(("bar", "complaint"), [(1, "fewer than 3"), (6, "past the last")])
def test_bars_without_a_whole_window_are_refused(bar: int, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        counting_market().windows(torch.tensor([bar]), 3)


def test_a_window_with_a_missing_feature_is_refused_by_bar() -> None:
    market = counting_market()
    market.features[1, 1] = torch.nan
    assert market.windows(torch.tensor([4]), 3).shape == (1, 2, 3, 1)
    with pytest.raises(DataError, match="bar 3 "):
        market.windows(torch.tensor([4, 3]), 3)


def test_features_must_be_of_the_panel() -> None:
    prices = np.ones((4, 2))
    opened_at = np.datetime64("2024-01-01", "us") + np.arange(4) * np.timedelta64(1, "h")
    panel = BarPanel(Interval.H1, ("A/USD", "B/USD"), opened_at, *[prices] * 5, is_filled=prices > 1)
    market = market_arrays(panel, np.zeros((4, 2, 3), dtype=np.float32))
    assert market.opened_us[1] - market.opened_us[0] == Interval.H1.us
    assert (len(market), market.n_assets, market.n_features) == (4, 2, 3)
    assert market.symbols == ("A/USD", "B/USD")
    assert torch.equal(market.conditions.daily_volume_usd, conditions_of(panel).daily_volume_usd)
    moved = market.to("cpu")
    assert (moved.symbols, moved.interval) == (market.symbols, market.interval)
    assert torch.equal(moved.conditions.daily_volatility_frac, market.conditions.daily_volatility_frac)
    with pytest.raises(DataError, match="compute features from this very panel"):
        market_arrays(panel, np.zeros((3, 2, 3), dtype=np.float32))
