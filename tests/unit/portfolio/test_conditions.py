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


def assert_equal(ours: Conditions, theirs: Conditions) -> None:
    for field in dataclasses.fields(Conditions):
        assert torch.equal(getattr(ours, field.name), getattr(theirs, field.name)), field.name


def test_volume_is_the_mean_value_traded_a_day():
    conditions = conditions_of(panel_of([[10], [20], [20], [20]], [[1], [2], [0], [3]], Interval.H4))
    per_bar = [10, (10 + 40) / 2, 50 / 3, 110 / 4]
    assert conditions.daily_volume_usd[:, 0].tolist() == pytest.approx([6 * value for value in per_bar])


def test_volatility_is_the_root_mean_square_of_returns_scaled_to_a_day():
    close = np.exp([[0.0], [0.01], [-0.02], [-0.02]])
    conditions = conditions_of(panel_of(close, np.ones((4, 1)), Interval.H1))
    squares = [0.0, 0.01**2, (0.01**2 + 0.03**2) / 2, (0.01**2 + 0.03**2) / 3]
    assert conditions.daily_volatility_frac[:, 0].tolist() == pytest.approx([np.sqrt(24 * x) for x in squares])


def test_restlessness_is_the_last_day_s_volatility_over_that_of_the_window():
    panel = random_panel(200)
    squares = np.diff(np.log(panel.close), axis=0) ** 2
    usual = squares[-6 * WINDOW_DAYS :].mean(axis=0)
    assert conditions_of(panel).restlessness[-1].tolist() == pytest.approx(np.sqrt(squares[-6:].mean(axis=0) / usual))
    assert conditions_of(panel_of(np.ones((3, 1)), np.ones((3, 1)))).restlessness.tolist() == [[1.0]] * 3


def test_correlation_is_that_with_the_mean_return_of_all_symbols():
    panel = random_panel(200)
    returns = np.diff(np.log(panel.close), axis=0)[-6 * WINDOW_DAYS :]
    market = returns.mean(axis=1)
    expected = [np.corrcoef(returns[:, a], market)[0, 1] for a in range(2)]
    assert conditions_of(panel).market_correlation[-1].tolist() == pytest.approx(expected)


def test_a_price_that_does_not_move_is_not_correlated():
    close = np.column_stack([np.full(30, 7.0), 100 * 1.01 ** np.arange(30), np.exp(np.sin(np.arange(30)))])
    correlation = conditions_of(panel_of(close, np.ones(close.shape))).market_correlation
    assert not correlation[:, :2].any()
    assert correlation[-1, 2].item() == pytest.approx(1.0)
    assert not correlation[:2].any()


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
        assert_equal(conditions_of(panel).at(slice(0, known)), conditions_of(later).at(slice(0, known)))


@given(st.integers(1, 60), st.integers(0, 100))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_conditions_are_the_same_bits_wherever_the_history_begins(start, seed):
    panel = random_panel(160, seed)
    window = WINDOW_DAYS * panel.interval.per_day
    whole = conditions_of(panel).at(slice(start + window, 160))
    late = conditions_of(panel.rows(start, 160)).at(slice(window, 160 - start))
    assert_equal(whole, late)


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
    assert torch.equal(own.market_correlation, history.market_correlation[[3, 7]])
