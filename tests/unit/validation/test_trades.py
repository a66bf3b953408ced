"""Fills, round trips and what they cost: sums by hand, and that nothing is lost between them and the account."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cappuccino.portfolio.costs import Costs
from cappuccino.risk.rules import Rules
from cappuccino.settings import CostSettings
from cappuccino.validation.trades import AGENT, END_OF_RANGE, fills_of, trades_of
from tests.unit.validation.markets import FREE, RULES, UNDER_RULES, episode, in_and_out, market, panel_of

NAN = np.nan


def by_hand(opens, closes, targets, rules: Rules = FREE):
    """Return panel and episode of one symbol."""
    closes = np.array(closes, dtype=float)[:, None]
    panel = replace(panel_of(closes), open=np.array(opens, dtype=float)[:, None])
    panel = replace(panel, high=np.maximum(panel.open, panel.close), low=np.minimum(panel.open, panel.close))
    return panel, episode(panel, np.array(targets, dtype=float)[:, None], rules)


def test_a_round_trip_by_hand():
    # Half of 10,000 at the close of 100 is 50 units, filled at 102; at the close of 108 the account is worth 10,300.
    # 25 are sold at 110 and 25 at 120.
    panel, own = by_hand(
        [100, 102, 105, 110, 120, 115], [100, 104, 108, 118, 119, 115], [0.5, NAN, 25 * 108 / 10_300, 0, NAN, NAN]
    )
    (trade,) = trades_of(own, panel, 0).iter_rows(named=True)
    assert trade["symbol"] == "S0/USD"
    assert trade["opened_at_utc"].hour == 4
    assert (trade["n_bars"], trade["n_fills"], trade["ended_by"]) == (3, 3, AGENT)
    assert trade["units"] == pytest.approx(50.0)
    assert trade["entry_usd"] == pytest.approx(102.0)
    assert trade["exit_usd"] == pytest.approx(115.0)
    assert trade["net_pnl_usd"] == trade["gross_pnl_usd"] == pytest.approx(25 * 8 + 25 * 18)
    assert trade["return_frac"] == pytest.approx(650 / 5_100)
    # Held over bars 1, 2 and 3, of which the lowest was 102 and the highest 118; sold at 120.
    assert trade["worst_frac"] == pytest.approx(0.0)
    assert trade["best_frac"] == pytest.approx(120 / 102 - 1)


def test_the_costs_of_a_trade_by_hand():
    costs = replace(RULES, costs=Costs(fee_bps=100.0, slippage_bps=200.0, min_order_usd=0.0))
    panel, own = by_hand([100, 100, 100, 100], [100, 100, 100, 100], [0.5, 0.0, NAN, NAN], costs)
    (trade,) = trades_of(own, panel, 0).iter_rows(named=True)
    # 50 units bought at 102 and sold at 98: 200 lost to slippage, 51 and 49 to fees.
    assert trade["gross_pnl_usd"] == pytest.approx(0.0)
    assert trade["slippage_usd"] == pytest.approx(200.0)
    assert trade["fee_usd"] == pytest.approx(100.0)
    assert trade["net_pnl_usd"] == pytest.approx(-300.0)
    assert trade["return_frac"] == pytest.approx(-300 / (5_100 + 51))


def test_the_shortfall_of_a_fill_is_measured_from_the_price_that_was_decided_on():
    costs = replace(RULES, costs=Costs(fee_bps=100.0, slippage_bps=200.0, min_order_usd=0.0))
    panel, own = by_hand([100, 101, 110, 100], [100, 100, 100, 100], [0.5, 0.0, NAN, NAN], costs)
    bought, sold = fills_of(own, panel, 0).iter_rows(named=True)
    assert bought["units"] == pytest.approx(50.0)
    assert (bought["decision_usd"], bought["market_usd"]) == (100.0, 101.0)
    assert bought["price_usd"] == pytest.approx(103.02)
    assert bought["delay_usd"] == pytest.approx(50.0)
    assert bought["slippage_usd"] == pytest.approx(101.0)
    assert bought["slippage_bps"] == pytest.approx(200.0)
    assert bought["fee_usd"] == pytest.approx(51.51)
    assert bought["shortfall_usd"] == pytest.approx(202.51)
    assert bought["shortfall_bps"] == pytest.approx(202.51 / 5_000 * 1e4)
    # The price rose by 10 until the sale was filled: a gain of 500 against the price that was decided on.
    assert sold["delay_usd"] == pytest.approx(-500.0)
    assert sold["shortfall_usd"] == pytest.approx(-500 + 50 * 2.2 + 50 * 107.8 * 0.01)


def test_a_position_that_is_left_is_marked_at_the_last_close():
    panel, own = by_hand([100, 100, 100, 90], [100, 100, 100, 80], [NAN, 0.5, NAN, NAN])
    (trade,) = trades_of(own, panel, 0).iter_rows(named=True)
    assert trade["ended_by"] == END_OF_RANGE
    assert trade["exit_usd"] == pytest.approx(80.0)
    assert trade["net_pnl_usd"] == pytest.approx(-1_000.0)
    assert trade["n_bars"] == 2
    assert trade["worst_frac"] == pytest.approx(-0.2)
    assert trade["closed_at_utc"].replace(tzinfo=None) == panel.closed_at[3].item()


def test_a_sale_by_a_rule_carries_its_name():
    stop = replace(FREE, stop_loss_frac=0.1)
    panel, own = by_hand([100, 100, 100, 88], [100, 100, 89, 88], [0.5, NAN, NAN, NAN], stop)
    assert trades_of(own, panel, 0)["ended_by"].to_list() == ["stop_loss"]
    trail = replace(FREE, portfolio_trailing_stop_frac=0.04)
    panel, own = by_hand([100, 100, 100, 88], [100, 100, 89, 88], [0.5, NAN, NAN, NAN], trail)
    assert trades_of(own, panel, 0)["ended_by"].to_list() == ["trailing_stop"]


def test_an_account_that_does_nothing_has_no_trades():
    panel = market(n_bars=20)
    own = episode(panel, np.zeros((20, 3)))
    trades, fills = trades_of(own, panel, 0), fills_of(own, panel, 0)
    assert trades.is_empty() and fills.is_empty()
    busy = trades_of(episode(panel, in_and_out(20, 3, 1)), panel, 0)
    assert trades.schema == busy.schema


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n_bars=st.integers(3, 60),
    under_rules=st.booleans(),
    impact=st.sampled_from([0.0, 1.0]),
    start=st.integers(0, 5),
)
def test_trades_fills_and_account_agree(seed, n_bars, under_rules, impact, start):
    """Net gains of trades are the change of the account's value; fees and slippage are counted once."""
    panel = market(n_bars=n_bars + start, seed=seed, deviation=0.03)
    rules = UNDER_RULES if under_rules else RULES
    rules = replace(rules, costs=replace(Costs.of(CostSettings()), impact=impact, spread_bps=4.0))
    own = episode(panel, in_and_out(n_bars, 3, seed, mean_bars=5), rules, start)
    trades, fills = trades_of(own, panel, start), fills_of(own, panel, start)
    change = own.equity_usd[-1, 0] - own.equity_usd[0, 0]
    assert trades["net_pnl_usd"].sum() == pytest.approx(change, abs=1e-6)
    assert trades["n_fills"].sum() == len(fills)
    for column in ("fee_usd", "slippage_usd", "impact_usd"):
        assert trades[column].sum() == pytest.approx(fills[column].sum(), abs=1e-6)
    costs = pl.col("fee_usd") + pl.col("slippage_usd")
    gap = trades.select((pl.col("gross_pnl_usd") - costs - pl.col("net_pnl_usd")).abs().max()).item()
    assert gap is None or gap < 1e-6
    assert (trades["worst_frac"] <= trades["best_frac"]).all()
    still_open = int((own.weights[-1, 0] > 0).sum())
    assert (trades["ended_by"] == END_OF_RANGE).sum() == still_open
    realized = trades.filter(pl.col("ended_by") != END_OF_RANGE)["net_pnl_usd"].sum()
    if not still_open:
        assert realized == pytest.approx(own.realized_pnl_usd[:, 0].sum(), abs=1e-6)
