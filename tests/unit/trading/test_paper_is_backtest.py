"""The same bars through `trade` on the simulated broker and through a backtest: equal decisions, fills and equity."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cappuccino.market.panel import BarPanel, as_datetime
from cappuccino.risk.rules import Rules
from cappuccino.rl.agent import Agent
from cappuccino.trading.floor import need_of
from cappuccino.trading.ledger import Ledger, from_us
from cappuccino.trading.paper import first_decision
from cappuccino.trading.rows import bar_rows, fill_rows
from cappuccino.validation.evaluate import EpisodeResult, run
from tests.unit.trading.small_desk import HOUR, MODEL, START, Desk, make_desk

PRECISION = 1e-9
KEEN = {"conviction": {"min_score": 0.0}}
"""Without the filter the restless model trades every bar."""
RULES = {
    "defaults": {},
    "keen": {"risk": KEEN},
    "costly": {"risk": KEEN, "costs": {"impact": 1.0, "spread_bps": 8.0, "maker_share_frac": 0.3}},
    "tight": {
        "risk": {
            **KEEN,
            "protection": {"trailing_stop_frac": 0.004, "profit_take_frac": 0.004, "move_to_cash_frac": 0.008},
            "position": {"stop_loss_frac": 0.01, "trailing_stop_frac": 0.01, "dampening": 0.6},
        }
    },
    "scaled": {"risk": {**KEEN, "protection": {"volatility_scaled": True, "trailing_stop_frac": 0.2}}},
}


@pytest.mark.parametrize("rules", RULES)
def test_paper_trading_equals_the_backtest(tmp_path: Path, rules: str) -> None:
    desk = make_desk(tmp_path, **RULES[rules])
    _trade(desk, 30)
    _compare(desk, 30, least_fills=0 if rules == "defaults" else 8)


def test_paper_trading_on_the_real_feed_equals_the_backtest(tmp_path: Path) -> None:
    desk = make_desk(tmp_path, risk=KEEN)
    desk.is_canned = False
    _trade(desk, 6)
    _compare(desk, 6, least_fills=2)


def test_a_start_before_every_bar_changes_nothing(tmp_path: Path) -> None:
    desk = make_desk(tmp_path, risk=KEEN)
    for _ in range(12):
        _trade(desk, 1)
    _compare(desk, 12, least_fills=4)


def _trade(desk: Desk, n_hours: int) -> None:
    with desk.trader() as trader:
        for _ in range(n_hours):
            trader.poll()
            desk.clock.sleep(HOUR.total_seconds())
    assert not desk.said


def _compare(desk: Desk, n_hours: int, least_fills: int) -> None:
    panel, start, episode = _backtest(desk, n_hours)
    ledger = Ledger(desk.settings.desk, is_reader=True)
    _compare_bars(ledger, bar_rows(episode))
    n_fills = _compare_fills(ledger, fill_rows(panel, start, episode), as_datetime(panel.closed_at[-1]))
    assert n_fills >= least_fills
    _compare_decisions(ledger, desk, panel, start, episode)


def _backtest(desk: Desk, n_hours: int) -> tuple[BarPanel, int, EpisodeResult]:
    agent = Agent.load(desk.settings.artifacts, MODEL)
    with desk.trader() as trader:
        closed_at = START + (n_hours - 1) * HOUR
        trader.floor.feed.update([need_of(agent)], closed_at)
        panel = trader.floor.feed.panel(need_of(agent), closed_at, closed_at)
    start = first_decision(panel, START)
    rules = Rules.of(desk.settings.risk, desk.settings.costs)
    cash_usd = desk.settings.sandbox.cash_usd
    return panel, start, run(agent.policy(panel), panel, start, len(panel), rules, cash_usd=cash_usd)


def _compare_bars(ledger: Ledger, bars: pl.DataFrame) -> None:
    rows = ledger.rows("select * from equity order by closed_us")
    assert [from_us(row["closed_us"]) for row in rows] == bars["closed_at_utc"].to_list()
    for column in ("value_usd", "exposure_frac", "fee_usd", "slippage_usd", "turnover_usd"):
        found, expected = np.array([row[column] for row in rows]), bars[column].to_numpy()
        np.testing.assert_allclose(found, expected, rtol=PRECISION, atol=1e-9, err_msg=column)
    assert [row["rules"] for row in rows] == bars["rules"].to_list()


def _compare_fills(ledger: Ledger, expected: pl.DataFrame, until: object) -> int:
    """Fills of the last decision lie behind the backtest's last bar."""
    rows = [
        row
        for row in ledger.rows("select * from fills order by filled_us, symbol")
        if from_us(row["filled_us"]) < until
    ]
    expected = expected.sort("filled_at_utc", "symbol")
    assert [(from_us(row["filled_us"]), row["symbol"]) for row in rows] == list(
        expected.select("filled_at_utc", "symbol").iter_rows()
    )
    for column in ("units", "price_usd", "fee_usd", "slippage_usd", "realized_pnl_usd"):
        found = np.array([row[column] for row in rows])
        np.testing.assert_allclose(found, expected[column].to_numpy(), rtol=PRECISION, atol=1e-9, err_msg=column)
    return len(rows)


def _compare_decisions(ledger: Ledger, desk: Desk, panel: BarPanel, start: int, episode: EpisodeResult) -> None:
    rows = ledger.rows("select * from decisions where kind = 'bar' order by closed_us")
    assert len(rows) == len(panel) - start
    for k, row in enumerate(rows[:-1]):
        assert from_us(row["closed_us"]) == as_datetime(panel.closed_at[start + k])
        assert row["rules"] == episode.rules[k, 0]
        assert set(json.loads(row["targets"])) == set(desk.settings.market.symbols)


def test_an_outage_ends_in_one_decision(tmp_path: Path) -> None:
    desk = make_desk(tmp_path, risk=KEEN)
    _trade(desk, 3)
    desk.clock.sleep(timedelta(hours=5, minutes=30).total_seconds())
    _trade(desk, 1)
    ledger = Ledger(desk.settings.desk, is_reader=True)
    closes = [from_us(row["closed_us"]) for row in ledger.rows("select closed_us from decisions order by closed_us")]
    assert closes == [START, START + HOUR, START + 2 * HOUR, START + 8 * HOUR]
    marked = [from_us(row["closed_us"]) for row in ledger.rows("select closed_us from equity order by closed_us")]
    assert marked == [START + n * HOUR for n in range(1, 9)]
