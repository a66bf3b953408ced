"""Baselines: what each one wants, and that none sees the future."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cappuccino.market.interval import Interval
from cappuccino.market.panel import BarPanel
from cappuccino.portfolio.costs import Costs
from cappuccino.risk.rules import Rules
from cappuccino.settings import CostSettings, RiskSettings
from cappuccino.validation import baselines
from cappuccino.validation.baselines import BASELINES, benchmark_returns, run_baselines

RULES = Rules.of(RiskSettings(), CostSettings())
FREE = replace(RULES, costs=Costs(0.0, 0.0, 0.0))
SYMBOLS = ("BTC/USD", "ETH/USD", "LTC/USD", "LINK/USD")


def panel_of(closes, interval=Interval.H4, symbols=SYMBOLS) -> BarPanel:
    closes = np.array(closes, dtype=float)
    opened_at = np.datetime64("2025-01-01", "us") + np.arange(len(closes)) * np.timedelta64(interval.us, "us")
    opens = np.vstack([closes[:1], closes[:-1]])
    high, low = np.maximum(opens, closes), np.minimum(opens, closes)
    return BarPanel(
        interval,
        symbols[: closes.shape[1]],
        opened_at,
        open=opens,
        high=high,
        low=low,
        close=closes,
        volume=np.ones_like(closes),
        is_filled=np.zeros(closes.shape, dtype=bool),
    )


def random_panel(n_bars=500, seed=3, interval=Interval.H4) -> BarPanel:
    rng = np.random.default_rng(seed)
    return panel_of(100 * np.exp(np.cumsum(rng.normal(0, 0.02, (n_bars, 4)), axis=0)), interval)


def test_equal_weight_is_restored_every_seven_days():
    weights = baselines.equal_weight(random_panel(), 100, 200, seed=0)
    due = np.flatnonzero(~np.isnan(weights[:, 0]))
    assert due.tolist() == [0, 42, 84]
    assert weights[due].tolist() == [[0.25] * 4] * 3


def test_momentum_holds_the_three_that_rose_most_in_four_weeks():
    rise = np.linspace(0, 1, 300)[:, None] * np.array([0.1, -0.3, 0.2, 0.3])
    weights = baselines.momentum(panel_of(100 * np.exp(rise)), 200, 300, seed=0)
    assert weights[0].tolist() == pytest.approx([1 / 3, 0.0, 1 / 3, 1 / 3])
    assert np.isnan(weights[1:42]).all()


def test_momentum_of_two_symbols_holds_both():
    weights = baselines.momentum(panel_of(np.ones((50, 2))), 0, 50, seed=0)
    assert weights[0].tolist() == [0.5, 0.5]


def test_mean_reversion_buys_a_fall_and_sells_at_the_mean():
    wave = 100 + 10 * np.sin(np.arange(200) / 5)[:, None] * np.ones(4)
    weights = baselines.mean_reversion(panel_of(wave), 100, 200, seed=0)
    held = np.zeros(100)
    for k, weight in enumerate(weights[:, 0]):
        held[k] = weight if not np.isnan(weight) else held[k - 1]
    assert set(held.tolist()) == {0.0, 0.25}
    bought = np.flatnonzero(np.diff(held) > 0) + 1
    sold = np.flatnonzero(np.diff(held) < 0) + 1
    assert (wave[100 + bought, 0] < 95).all()
    assert (wave[100 + sold, 0] > 98).all()


def test_mean_reversion_without_history_or_movement_stays_in_cash():
    weights = baselines.mean_reversion(panel_of(np.full((60, 4), 100.0)), 0, 60, seed=0)
    assert weights[0].tolist() == [0.0] * 4
    assert np.isnan(weights[1:]).all()


def test_sixty_forty_is_bitcoin_and_ether():
    weights = baselines.sixty_forty(random_panel(), 0, 10, seed=0)
    assert weights[0].tolist() == [0.3, 0.3, 0.0, 0.0]


def test_sixty_forty_takes_the_first_two_symbols_where_bitcoin_and_ether_are_absent():
    panel = replace(random_panel(), symbols=("SOL/USD", "UNI/USD", "LTC/USD", "LINK/USD"))
    assert baselines.sixty_forty(panel, 0, 10, seed=0)[0].tolist() == [0.3, 0.3, 0.0, 0.0]


def test_random_entry_holds_for_a_day_and_depends_on_its_seed_alone():
    panel = random_panel()
    weights = baselines.random_entry(panel, 0, 500, seed=1)
    np.testing.assert_array_equal(weights, baselines.random_entry(panel, 0, 500, seed=1))
    assert not np.array_equal(weights, baselines.random_entry(panel, 0, 500, seed=2), equal_nan=True)
    for column in weights.T:
        changes = np.flatnonzero(~np.isnan(column))[1:]
        entries = changes[column[changes] > 0]
        exits = changes[column[changes] == 0]
        assert len(entries) > 3
        assert all((exits[exits > entry][:1] - entry >= Interval.H4.per_day).all() for entry in entries)


@pytest.mark.parametrize("name", BASELINES)
def test_no_baseline_sees_the_future(name):
    panel = random_panel()
    cut = 300
    changed = panel.close.copy()
    changed[cut:] = 7.0
    whole = BASELINES[name](panel, 50, 500, 4)[: cut - 50]
    other = BASELINES[name](replace(panel, close=changed), 50, 500, 4)[: cut - 50]
    np.testing.assert_array_equal(whole, other)


def test_all_baselines_run_as_one_batch_without_protection():
    panel = random_panel()
    result = run_baselines(panel, 100, 500, RULES, seed=4)
    assert result.equity_usd.shape == (400, len(BASELINES))
    assert not result.rules.any()
    trades = dict(zip(BASELINES, np.count_nonzero(result.units, axis=(0, 2)).tolist(), strict=True))
    assert trades.pop("cash") == 0
    assert all(n > 0 for n in trades.values())


def test_baselines_pay_the_costs_of_the_rules():
    panel = random_panel()
    free, paid = (run_baselines(panel, 100, 500, rules, seed=4).equity_usd[-1] for rules in (FREE, RULES))
    is_cash = np.array(list(BASELINES)) == "cash"
    assert (paid < free)[~is_cash].all()
    assert paid[is_cash] == free[is_cash] == 10_000.0


def test_what_is_held_between_two_dates_is_not_traded():
    panel = random_panel()
    result = run_baselines(panel, 100, 500, FREE, seed=4)
    traded_at = np.flatnonzero(result.units[:, list(BASELINES).index("equal_weight")].any(axis=1))
    assert traded_at.tolist() == list(range(0, 399, 42))


def test_the_benchmark_is_the_mean_growth_of_all_symbols():
    panel = panel_of([[1, 10], [2, 10], [4, 5]], symbols=("A/USD", "B/USD"))
    returns = benchmark_returns(panel, 0, 3)
    # Worth 1, then (2 + 1) / 2, then (4 + 0.5) / 2.
    assert returns.tolist() == pytest.approx([0.5, 2.25 / 1.5 - 1])


def test_buying_once_and_holding_earns_the_benchmark():
    panel = random_panel()
    week = 6 * 7
    held = run_baselines(panel, 100, 100 + week, FREE, seed=4)
    equal_weight = held.returns[:, list(BASELINES).index("equal_weight")]
    np.testing.assert_allclose(equal_weight, benchmark_returns(panel, 100, 100 + week), rtol=1e-9, atol=1e-12)
