"""What a person asks of a trader that runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cappuccino.trading import requests
from cappuccino.trading.requests import Request
from cappuccino.trading.trader import Trader
from tests.unit.trading.small_desk import HOUR, MODEL, Desk, make_desk


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return make_desk(tmp_path)


def _break(trader: Trader, is_broken: bool = True) -> None:
    account = trader.floor.accounts[str(MODEL)]
    state = replace(
        account.state,
        is_broken=torch.tensor([is_broken]),
        peak_usd=torch.tensor([50_000.0], dtype=torch.float64),
        observed_usd=torch.tensor([9_000.0], dtype=torch.float64),
    )
    trader.floor.store(replace(account, state=state))


def test_a_request_is_a_file_that_goes_when_it_is_done(desk: Desk) -> None:
    folder = desk.settings.desk
    assert not requests.is_asked(folder)
    with desk.trader() as trader:
        trader.poll()
        file = requests.ask(folder, Request.RESUME)
        assert requests.is_asked(folder)
        trader.poll()
    assert not file.exists()
    assert not requests.is_asked(folder)
    assert requests.wait_until_done(file, 0.0)


def test_a_request_of_nobody_in_time_is_told(tmp_path: Path) -> None:
    waited: list[float] = []
    file = requests.ask(tmp_path, Request.ADOPT)
    assert not requests.wait_until_done(file, 0.01, sleep=waited.append)
    assert requests.wait_until_done(file, 60.0, sleep=lambda seconds: file.unlink())


def test_resume_resets_the_breaker_and_what_it_looks_at(desk: Desk) -> None:
    with desk.trader() as trader:
        trader.poll()
        _break(trader)
        lines = requests.resume(trader.floor)
        assert lines == [f"{MODEL}: the drawdown breaker is reset; the highest value counts from now on"]
        events = trader.floor.ledger.rows("select * from events where kind = 'resumed'")
        assert [row["account"] for row in events] == [str(MODEL)]
    with desk.trader() as again:
        state = again.floor.accounts[str(MODEL)].state
        assert not state.is_broken.any()
        assert state.peak_usd.item() == 9_000.0


def test_resume_leaves_a_peak_alone_whose_breaker_has_not_fired(desk: Desk) -> None:
    with desk.trader() as trader:
        trader.poll()
        _break(trader, is_broken=False)
        assert requests.resume(trader.floor) == []
        assert trader.floor.accounts[str(MODEL)].state.peak_usd.item() == 50_000.0


def test_adopt_has_nothing_to_do_for_virtual_accounts(desk: Desk) -> None:
    with desk.trader() as trader:
        trader.poll()
        desk.clock.sleep(HOUR.total_seconds())
        before = trader.floor.accounts[str(MODEL)]
        assert requests.adopt(trader.floor) == []
        assert trader.floor.accounts[str(MODEL)] is before


def test_a_file_that_is_no_request_asks_for_nothing(desk: Desk) -> None:
    folder = desk.settings.desk / requests.FOLDER
    folder.mkdir(parents=True)
    (folder / "dance").write_text("")
    assert not requests.is_asked(desk.settings.desk)
    with desk.trader() as trader:
        assert requests.obey(trader.floor) == []
    assert (folder / "dance").exists()
