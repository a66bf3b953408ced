"""Every table of an attribution adds up to the account's gain."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cappuccino.portfolio.costs import Costs
from cappuccino.settings import CostSettings
from cappuccino.validation.attribution import FACTORS, by_cost, by_factor, by_month, by_symbol
from tests.unit.validation.markets import FREE, RULES, UNDER_RULES, episode, in_and_out, market, panel_of

NAN = np.nan


def factors(own, panel) -> dict[str, float]:
    return dict(by_factor(own, panel, 0).select("factor", "pnl_usd").iter_rows())


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), n_bars=st.integers(3, 80), start=st.integers(0, 4), impact=st.sampled_from([0, 1]))
def test_symbols_and_factors_add_up_to_the_gain(seed, n_bars, start, impact):
    panel = market(n_bars=n_bars + start, seed=seed, deviation=0.03)
    rules = replace(UNDER_RULES, costs=replace(Costs.of(CostSettings()), impact=float(impact), spread_bps=4.0))
    own = episode(panel, in_and_out(n_bars, 3, seed, mean_bars=5), rules, start)
    gain = own.equity_usd[-1, 0] - own.equity_usd[0, 0]
    symbol, factor = by_symbol(own, panel, start), by_factor(own, panel, start)
    cost = by_cost(own, panel, start)
    for table in (symbol, factor):
        assert table["pnl_usd"].sum() == pytest.approx(gain, abs=1e-6)
        assert table["return_contribution_frac"].sum() == pytest.approx(gain / own.equity_usd[0, 0], abs=1e-9)
    parts = ("fee_usd", "slippage_usd", "impact_usd", "delay_usd")
    assert symbol.select(parts).sum().sum_horizontal().item() == pytest.approx(cost["cost_usd"].sum(), abs=1e-6)
    charged = factor.filter(pl.col("factor").is_in(["delay", "slippage", "impact", "fees"]))["pnl_usd"].sum()
    assert charged == pytest.approx(-cost["cost_usd"].sum(), abs=1e-6)


def test_always_holding_the_market_is_the_market():
    # Both symbols do the same, so that holding them needs no rebalancing, and nothing is chosen.
    closes = 100 * np.exp(np.cumsum(np.random.default_rng(2).normal(0.001, 0.02, (100, 1)), axis=0)) * np.ones(2)
    panel = panel_of(closes)
    targets = np.full((100, 2), NAN)
    targets[0] = 0.5
    found = factors(episode(panel, targets, FREE), panel)
    assert list(found) == list(FACTORS)
    assert abs(found["timing"]) < 0.01 * abs(found["market"])
    assert abs(found["selection"]) < 1e-6
    assert found["delay"] == found["slippage"] == found["impact"] == found["fees"] == 0.0


def test_being_out_while_the_market_falls_is_timing():
    # In for a rise of 10 %, out for a fall of 10 %: half the time exposed on average.
    closes = np.array([100, 110, 99, 108.9, 98.01])[:, None] * np.ones(2)
    targets = np.array([[0.5, 0.5], [0, 0], [0.5, 0.5], [0, 0], [NAN, NAN]])
    own = episode(panel_of(closes), targets, FREE)
    found = factors(own, panel_of(closes))
    # 10,000 -> 11,000 -> 11,000 -> 12,100. The mean exposure is 1/2: it gains 500 - 550 + 550 - 605.
    assert found["market"] == pytest.approx(-105.0)
    assert found["timing"] == pytest.approx(2_100 + 105)
    assert found["selection"] == pytest.approx(0.0, abs=1e-9)


def test_holding_what_rises_more_is_selection():
    closes = np.array([[100, 100], [120, 100], [120, 100]], dtype=float)
    own = episode(panel_of(closes), np.array([[0.5, 0], [NAN, NAN], [NAN, NAN]]), FREE)
    symbols = by_symbol(own, panel_of(closes), 0)
    assert symbols["pnl_usd"].to_list() == pytest.approx([1_000.0, 0.0])
    assert symbols["held_frac"].to_list() == [1.0, 0.0]
    found = factors(own, panel_of(closes))
    # The market gained 10 % once, when exposure was 0.5; afterwards it is 6,000 of 11,000, and nothing moves.
    usual = (0.5 + 6 / 11) / 2 * 0.1 * 10_000
    assert found["market"] == pytest.approx(usual)
    assert found["timing"] == pytest.approx(500 - usual)
    assert found["selection"] == pytest.approx(500.0)


def test_costs_are_told_apart_and_stand_beside_what_was_traded():
    rules = replace(RULES, costs=Costs(fee_bps=100.0, slippage_bps=200.0, min_order_usd=0.0))
    closes = np.full((4, 1), 100.0)
    panel = panel_of(closes)
    own = episode(panel, np.array([[0.5], [0.0], [NAN], [NAN]]), rules)
    costs = {row["cost"]: row for row in by_cost(own, panel, 0).iter_rows(named=True)}
    assert costs["fees"]["cost_usd"] == pytest.approx(100.0)
    assert costs["fees"]["cost_bps"] == pytest.approx(100.0)
    assert costs["slippage"]["cost_usd"] == pytest.approx(200.0)
    assert costs["slippage"]["cost_frac"] == pytest.approx(0.02)
    assert costs["impact"]["cost_usd"] == costs["delay"]["cost_usd"] == 0.0
    nothing = by_cost(episode(panel, np.zeros((4, 1)), rules), panel, 0)
    assert nothing["cost_bps"].to_list() == [0.0] * 4


def test_months_are_those_of_the_calendar_and_the_first_one_begins_with_the_opening():
    opened = datetime(2024, 12, 31, 12, tzinfo=UTC)
    closes = [opened + timedelta(hours=12 * n) for n in range(1, 64)]
    values = [1_100.0] + [1_210.0] * 62
    values[-1] = 1_331.0
    frame = pl.DataFrame({"closed_at_utc": closes, "value_usd": values})
    rows = by_month(frame, 1_000.0).rows()
    # The close at midnight still belongs to December; the last value is of 1 February's noon.
    assert [row[:2] for row in rows] == [(2024, 12), (2025, 1)]
    assert [row[2] for row in rows] == pytest.approx([0.1, 0.21])
