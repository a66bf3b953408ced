"""Virtual accounts that come and go."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from tests.unit.trading.small_desk import HOUR, MODEL, START, make_desk


def test_an_account_that_comes_back_decides_first_at_the_first_close_after_that(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    desk.clock.at = START + timedelta(minutes=50)
    desk.places[:] = [replace(desk.places[0], since=desk.clock.at)]
    with desk.trader() as trader:
        trader.poll()
        desk.clock.at = START + HOUR
        trader.poll()
    market = desk.settings.market.model_copy(update={"source": "alpaca"})
    desk.settings = desk.settings.model_copy(update={"market": market})
    with desk.trader() as trader:
        for minutes in (0, 5, 60):
            desk.clock.at = START + HOUR + timedelta(minutes=minutes)
            trader.poll()
        closes = [row["closed_us"] for row in trader.floor.ledger.rows("select closed_us from decisions order by 1")]
        account = trader.floor.accounts[str(MODEL)]
    assert (account.market, account.opened_at) == ("alpaca", START + HOUR)
    assert [close / 3.6e9 % 24 for close in closes] == [1.0, 2.0]
