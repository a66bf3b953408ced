"""Kill, flatten, resume and reconcile where no trader runs."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch

from cappuccino.clock import SystemClock
from cappuccino.errors import TraderBusy
from cappuccino.market.interval import Interval
from cappuccino.portfolio.account import open_accounts
from cappuccino.registry.identity import ModelId
from cappuccino.settings import Settings
from cappuccino.trading import emergency
from cappuccino.trading.desk_account import DeskAccount, account_named, store_account
from cappuccino.trading.ledger import Ledger
from cappuccino.trading.presence import only_trader
from cappuccino.trading.switches import Kill, write_kill

SYMBOLS = ("BTC/USD", "ETH/USD")
KEY = "study/1"
AT = datetime(2025, 3, 3, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(profile="paper", warehouse=tmp_path, market={"symbols": SYMBOLS})


def _kill(settings: Settings, *, flatten: bool) -> None:
    write_kill(settings.desk, Kill(SystemClock().now(), "a test", "me", flatten))


def _trade(settings: Settings, *, units: float = 0.01, is_broken: bool = False) -> None:
    """Leave the ledger of a trader with one virtual account."""
    state = open_accounts(1, len(SYMBOLS), 9_000.0)
    held = torch.full((1, len(SYMBOLS)), units, dtype=torch.float64)
    state = replace(state, units=held, is_broken=torch.tensor([is_broken]))
    account = DeskAccount(
        key=KEY,
        broker="simulated",
        market="simulated",
        stage="sandbox",
        model=ModelId("study", 1),
        symbols=SYMBOLS,
        interval=Interval.H1,
        opened_at=AT,
        cash_usd=10_000.0,
        state=state,
    )
    with closing(Ledger(settings.desk)) as ledger, ledger.write() as entry:
        store_account(entry, account)


def _account(settings: Settings) -> DeskAccount:
    with closing(Ledger(settings.desk, is_reader=True)) as ledger:
        found = account_named(ledger, KEY)
    assert found is not None
    return found


def _no_sleep(seconds: float) -> None:
    pass


def test_where_nothing_was_ever_traded_nothing_is_made(settings: Settings) -> None:
    assert emergency.resume(settings) == []
    _kill(settings, flatten=True)
    assert emergency.cancel_and_flatten(settings, True) == ["there is no ledger: nothing was ever traded here"]
    assert not list(settings.desk.glob("ledger*"))


def test_a_virtual_account_is_sold_without_model_and_warehouse(settings: Settings) -> None:
    """Its model has no folder, there is no warehouse, and no feed."""
    _trade(settings)
    _kill(settings, flatten=True)
    lines = emergency.cancel_and_flatten(settings, True, sleep=_no_sleep)
    assert f"{KEY}: everything is sold" in lines
    state = _account(settings).state
    assert not state.units.any()
    assert state.cash_usd.item() > 9_000.0
    with closing(Ledger(settings.desk, is_reader=True)) as ledger:
        rows = ledger.rows("select symbol, side, state, purpose from orders order by symbol")
        assert [tuple(row) for row in rows] == [(symbol, -1, "filled", "flatten") for symbol in SYMBOLS]


def test_a_kill_without_flattening_sells_nothing(settings: Settings) -> None:
    _trade(settings)
    _kill(settings, flatten=False)
    emergency.cancel_and_flatten(settings, False, sleep=_no_sleep)
    assert _account(settings).state.units.tolist() == [[0.01, 0.01]]


def test_flattening_twice_sells_once(settings: Settings) -> None:
    _trade(settings)
    _kill(settings, flatten=True)
    for _ in range(2):
        emergency.cancel_and_flatten(settings, True, sleep=_no_sleep)
    with closing(Ledger(settings.desk, is_reader=True)) as ledger:
        assert len(ledger.rows("select * from orders")) == len(SYMBOLS)


def test_a_trader_that_runs_is_not_got_in_the_way_of(settings: Settings) -> None:
    _trade(settings)
    _kill(settings, flatten=True)
    with only_trader(settings.desk), pytest.raises(TraderBusy):
        emergency.cancel_and_flatten(settings, True, sleep=_no_sleep)
    assert _account(settings).state.units.any()


def test_resume_without_a_trader_resets_the_breaker(settings: Settings) -> None:
    _trade(settings, is_broken=True)
    assert emergency.resume(settings) == [f"{KEY}: the drawdown breaker is reset; the highest value counts from now on"]
    assert not _account(settings).state.is_broken.any()
    assert emergency.resume(settings) == []


def test_resume_says_what_still_stops_an_account(settings: Settings) -> None:
    _trade(settings)
    stopped = replace(_account(settings), trouble="book and venue differ")
    with closing(Ledger(settings.desk)) as ledger, ledger.write() as entry:
        store_account(entry, stopped)
    assert emergency.resume(settings) == [f"{KEY}: book and venue differ"]


def test_virtual_accounts_have_nothing_to_reconcile(settings: Settings) -> None:
    _trade(settings)
    found = emergency.reconcile(settings, adopt=True)
    assert found.is_empty()
    assert found.columns == ["account", "symbol", "ours", "theirs", "usd", "verdict"]
