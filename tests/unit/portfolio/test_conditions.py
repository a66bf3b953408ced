"""Trailing volume and volatility: hand-worked, causal, and the same wherever the history begins."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cappuccino.market.interval import Interval
from cappuccino.market.panel import BarPanel
from cappuccino.portfolio.conditions import WINDOW_DAYS, Conditions, conditions_of, trailing_sums


def panel_of(close, volume, interval=Interval.D1) -> BarPanel:
    close, volume = np.array(close, dtype=float), np.array(volume, dtype=float)
    opened_at = np.datetime64("2025-01-01", "us") + np.arange(len(close)) * np.timedelta64(interval.us, "us")
    symbols = tuple(f"S{a}/USD" for a in range(close.shape[1]))
    return BarPanel(interval, symbols, opened_at, close, close, close, close, volume, np.zeros(close.shape, dtype=bool))


def random_panel(n_bars, seed=0, interval=Interval.H4) -> BarPanel:
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.02, (n_bars, 2)), axis=0))
    return panel_of(close, rng.uniform(0, 1e3, (n_bars, 2)), interval)


def test_volume_is_the_mean_value_traded_a_day():
    conditions = conditions_of(panel_of([[10], [20], [20], [20]], [[1], [2], [0], [3]], Interval.H4))
    per_bar = [10, (10 + 40) / 2, 50 / 3, 110 / 4]
    assert conditions.daily_volume_usd[:, 0].tolist() == pytest.approx([6 * value for value in per_bar])


def test_volatility_is_the_root_mean_square_of_returns_scaled_to_a_day():
    close = np.exp([[0.0], [0.01], [-0.02], [-0.02]])
    conditions = conditions_of(panel_of(close, np.ones((4, 1)), Interval.H1))
    squares = [0.0, 0.01**2, (0.01**2 + 0.03**2) / 2, (0.01**2 + 0.03**2) / 3]
    assert conditions.daily_volatility_frac[:, 0].tolist() == pytest.approx([np.sqrt(24 * x) for x in squares])


def test_what_lies_before_the_window_is_forgotten():
    close = np.ones((WINDOW_DAYS + 3, 1))
    close[:2] = [[1000], [1]]
    conditions = conditions_of(panel_of(close, np.vstack([[[9e9]], np.ones((WINDOW_DAYS + 2, 1))])))
    assert conditions.daily_volatility_frac[WINDOW_DAYS, 0] > 0
    assert conditions.daily_volatility_frac[WINDOW_DAYS + 1, 0] == 0
    assert conditions.daily_volume_usd[WINDOW_DAYS - 1, 0] > 1
    assert conditions.daily_volume_usd[WINDOW_DAYS, 0] == 1


@given(st.integers(2, 150), st.integers(0, 100))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_conditions_never_see_the_future(known, seed):
    panel = random_panel(150, seed)
    future = np.arange(150)[:, None] >= known
    changed = dataclasses.replace(
        panel, close=np.where(future, 1e-3, panel.close), volume=np.where(future, 1e12, panel.volume)
    )
    for later in (panel.rows(0, known), changed):
        before, after = conditions_of(panel).at(slice(0, known)), conditions_of(later).at(slice(0, known))
        assert torch.equal(before.daily_volume_usd, after.daily_volume_usd)
        assert torch.equal(before.daily_volatility_frac, after.daily_volatility_frac)


@given(st.integers(1, 60), st.integers(0, 100))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_conditions_are_the_same_bits_wherever_the_history_begins(start, seed):
    panel = random_panel(160, seed)
    window = WINDOW_DAYS * panel.interval.per_day
    whole = conditions_of(panel).at(slice(start + window, 160))
    late = conditions_of(panel.rows(start, 160)).at(slice(window, 160 - start))
    assert torch.equal(whole.daily_volume_usd, late.daily_volume_usd)
    assert torch.equal(whole.daily_volatility_frac, late.daily_volatility_frac)


@given(st.integers(1, 40), st.integers(1, 50))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_trailing_sums_are_those_of_a_loop(window, n_rows):
    values = torch.rand(n_rows, 2, generator=torch.Generator().manual_seed(n_rows), dtype=torch.float64)
    slow = torch.stack([values[max(t + 1 - window, 0) : t + 1].sum(0) for t in range(n_rows)])
    torch.testing.assert_close(trailing_sums(values, window), slow, rtol=1e-13, atol=0)


def test_accounts_on_different_bars_have_conditions_of_their_own():
    history = conditions_of(random_panel(20))
    own = history.at(torch.tensor([3, 7]))
    assert isinstance(own, Conditions)
    assert torch.equal(own.daily_volume_usd, history.daily_volume_usd[[3, 7]])
