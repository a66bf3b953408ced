"""How far trading is from its replay: nothing where it did just that, and said in words where it did not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from cappuccino.arena.candidate import load_candidate
from cappuccino.market.panel import BarPanel, as_datetime, as_datetime64
from cappuccino.portfolio.account import Accounts, open_accounts
from cappuccino.registry.artifacts import folder_of
from cappuccino.registry.identity import ModelId
from cappuccino.risk.rules import Rules
from cappuccino.settings import Settings
from cappuccino.store.warehouse import Warehouse
from cappuccino.trading.drift import SETTLED, measure_drift
from cappuccino.trading.ledger import Ledger, to_us
from cappuccino.trading.mirror import mirror
from cappuccino.validation.evaluate import EpisodeResult, run
from tests.unit.ensemble.conftest import save_member
from tests.unit.small_market import DAY, END, START
from tests.unit.trading.small_ledger import (
    HOUR,
    SYMBOLS,
    T0,
    account_row,
    decision_row,
    equity_row,
    fill_row,
    ledger_with,
    put,
)

MODEL = ModelId("s", 1)
OPENED = T0 + 4 * HOUR
"""The first decision, inside of a day."""
LAST = T0 + 2 * DAY


@pytest.fixture
def ledger(small_settings: Settings) -> Iterator[Ledger]:
    save_member(small_settings.artifacts, MODEL, START + 10 * DAY)
    made = ledger_with(small_settings.desk, account_row(str(MODEL), opened_us=to_us(OPENED)))
    yield made
    made.close()


class Recorded:
    """A policy that remembers what it was asked and what it said."""

    def __init__(self, policy: Any) -> None:
        self._policy = policy
        self.asked: list[tuple[int, dict[str, Any], list[float]]] = []

    def __call__(self, t: int, accounts: Accounts) -> torch.Tensor:
        targets = self._policy(t, accounts)
        self.asked.append((t, accounts.to_rows()[0], targets[0].tolist()))
        return targets


def traded(settings: Settings, panel: BarPanel, rules: Rules) -> tuple[Recorded, EpisodeResult]:
    """Let the model trade from OPENED to LAST as the engine does."""
    start, last = (int(np.searchsorted(panel.closed_at, as_datetime64(at))) for at in (OPENED, LAST))
    policy = Recorded(load_candidate(settings.artifacts, MODEL).policy(panel))
    return policy, run(policy, panel, start, last + 1, rules, accounts=open_accounts(1, 2, 1_000.0))


def write(ledger: Ledger, panel: BarPanel, policy: Recorded, episode: EpisodeResult, **changes: Any) -> None:
    """Write what was traded as the trader would have; `changes` concern the last decision."""
    with ledger.write() as entry:
        for n, (t, state, targets) in enumerate(policy.asked):
            at = as_datetime(panel.closed_at[t])
            told = {
                "state": json.dumps(state),
                "targets": json.dumps(dict(zip(SYMBOLS, targets, strict=True))),
            } | (changes if n == len(policy.asked) - 1 else {})
            put(entry, "decisions", decision_row(str(MODEL), at, **told))
            put(entry, "equity", equity_row(str(MODEL), at + HOUR, float(episode.equity_usd[n + 1, 0])))
            for a in np.flatnonzero(episode.units[n, 0]):
                units, symbol = float(episode.units[n, 0, a]), SYMBOLS[a]
                moment = at + timedelta(seconds=20)
                put(entry, "fills", fill_row(f"{n}-{a}:1", str(MODEL), moment, units, symbol=symbol))


def panel_of(warehouse: Warehouse, settings: Settings) -> BarPanel:
    with warehouse.read() as reader:
        return load_candidate(settings.artifacts, MODEL).market.panel(reader, END)


def stored(warehouse: Warehouse) -> pl.DataFrame:
    return warehouse.query("from desk.drift order by day")


@pytest.fixture
def rules(small_settings: Settings) -> Rules:
    return Rules.of(small_settings.risk, small_settings.costs)


def test_what_was_traded_as_in_the_engine_has_no_drift(
    full_warehouse: Warehouse, small_settings: Settings, ledger: Ledger, rules: Rules
) -> None:
    panel = panel_of(full_warehouse, small_settings)
    write(ledger, panel, *traded(small_settings, panel, rules))
    mirror(full_warehouse, small_settings, LAST)
    measure_drift(full_warehouse, small_settings, LAST + SETTLED)
    found = stored(full_warehouse)
    assert found["day"].to_list() == [date(2025, 3, 26), date(2025, 3, 27)]
    assert found["n_decisions"].to_list() == [20, 24]
    assert found["from_utc"].to_list() == [OPENED, T0 + DAY]
    assert found["to_utc"].to_list() == [T0 + DAY, LAST]
    assert found["equal_frac"].to_list() == [1.0, 1.0]
    assert found["max_difference_frac"].max() == 0.0
    assert found["drift_frac"].abs().max() < 1e-9
    assert found["n_fills"].to_list() == found["n_replayed_fills"].to_list()
    assert found["n_fills"].sum() > 5
    assert found["message"].to_list() == ["", ""]


def test_a_day_is_looked_at_once_and_not_before_it_is_over(
    full_warehouse: Warehouse, small_settings: Settings, ledger: Ledger, rules: Rules
) -> None:
    panel = panel_of(full_warehouse, small_settings)
    write(ledger, panel, *traded(small_settings, panel, rules))
    mirror(full_warehouse, small_settings, LAST)
    moments = (T0 + DAY + SETTLED - HOUR / 60, T0 + DAY + SETTLED, LAST, LAST + SETTLED, END)
    assert [len(measure_drift(full_warehouse, small_settings, at)) for at in moments] == [0, 1, 0, 1, 0]


def test_a_day_waits_for_its_bars(
    full_warehouse: Warehouse, small_settings: Settings, ledger: Ledger, rules: Rules
) -> None:
    panel = panel_of(full_warehouse, small_settings)
    write(ledger, panel, *traded(small_settings, panel, rules))
    mirror(full_warehouse, small_settings, LAST)
    with full_warehouse.write() as writer:
        writer.execute("delete from market.bars_all where closed_at_utc > $then", then=LAST - HOUR)
    assert measure_drift(full_warehouse, small_settings, END)["day"].to_list() == [date(2025, 3, 26)]


def test_another_wish_and_another_value_are_found_and_said(
    full_warehouse: Warehouse, small_settings: Settings, ledger: Ledger, rules: Rules
) -> None:
    panel = panel_of(full_warehouse, small_settings)
    policy, episode = traded(small_settings, panel, rules)
    targets = policy.asked[-1][2]
    other = dict(zip(SYMBOLS, (targets[0] + 0.1, targets[1]), strict=True))
    write(ledger, panel, policy, episode, targets=json.dumps(other))
    with ledger.write() as entry:
        put(entry, "equity", equity_row(str(MODEL), LAST, 0.98 * float(episode.equity_usd[-1, 0])))
    mirror(full_warehouse, small_settings, LAST)
    measure_drift(full_warehouse, small_settings, LAST + SETTLED)
    first, second = stored(full_warehouse).iter_rows(named=True)
    assert first["message"] == ""
    assert second["equal_frac"] == pytest.approx(23 / 24)
    assert second["max_difference_frac"] == pytest.approx(0.1)
    assert second["mean_difference_frac"] == pytest.approx(0.1 / 48)
    assert second["drift_frac"] == pytest.approx(-0.02)
    assert "(-2.00%); 1 of 24 decisions are others when they are made again" in second["message"]


def test_a_model_that_is_gone_is_said_and_stops_nothing(
    full_warehouse: Warehouse, small_settings: Settings, ledger: Ledger, rules: Rules
) -> None:
    panel = panel_of(full_warehouse, small_settings)
    write(ledger, panel, *traded(small_settings, panel, rules))
    mirror(full_warehouse, small_settings, LAST)
    shutil.rmtree(folder_of(small_settings.artifacts, MODEL))
    measure_drift(full_warehouse, small_settings, LAST + SETTLED)
    found = stored(full_warehouse)
    assert found["drift_frac"].to_list() == [None, None]
    assert found["message"].str.starts_with("the model cannot be loaded").all()


def test_a_bar_that_the_warehouse_never_had_is_said(
    full_warehouse: Warehouse, small_settings: Settings, ledger: Ledger
) -> None:
    with ledger.write() as entry:
        put(entry, "decisions", decision_row(str(MODEL), T0 + 90 * HOUR / 60))
    mirror(full_warehouse, small_settings, LAST)
    (row,) = measure_drift(full_warehouse, small_settings, LAST + SETTLED).iter_rows(named=True)
    assert "no bar of the warehouse closes at 2025-03-26 01:30 UTC" in row["message"]
