"""What a person does to the desk from outside: through the trader that runs, or in its place when none does."""

from __future__ import annotations

import time
from collections.abc import Callable

import polars as pl

from cappuccino.errors import BrokerError
from cappuccino.market.quotes import mids_usd
from cappuccino.settings import Settings
from cappuccino.trading import requests
from cappuccino.trading.assemble import assembled
from cappuccino.trading.desk_account import CASH
from cappuccino.trading.ledger import FILE
from cappuccino.trading.presence import is_trading, only_trader
from cappuccino.trading.reconcile import Difference, differences
from cappuccino.trading.switches import read_kill, read_obeyed
from cappuccino.trading.trader import Trader

TRIES = 10
"""Polls in which orders may be cancelled and everything sold, before a person is told that it did not work."""
TIMEOUT_S = 90.0
"""Longest wait for a trader that runs to do what it was asked."""


def cancel_and_flatten(settings: Settings, flatten: bool, sleep: Callable[[float], None] = time.sleep) -> list[str]:
    """Cancel all open orders and, if asked, sell everything; the kill switch has to be set, and no trader to run.

    Loads no model and asks no warehouse. Returns what was done in words. Raises TraderBusy when a trader runs.
    """
    if not (settings.desk / FILE).is_file():
        return ["there is no ledger: nothing was ever traded here"]
    kill = read_kill(settings.desk)
    assert kill is not None and (kill.flatten or not flatten)  # whoever calls has set the switch
    with only_trader(settings.desk), assembled(settings, sleep=sleep, is_emergency=True) as trader:
        for _ in range(TRIES):
            trader.poll()
            if trader.is_obeyed:
                break
            sleep(settings.execution.step_s)
        obeyed = read_obeyed(settings.desk, kill)
        return [*(obeyed.lines if obeyed else ()), *trader.floor.voice.troubles]


def resume(settings: Settings) -> list[str]:
    """Begin anew what waits for a person; return what was done, and what still stops trading, in words."""
    if not (settings.desk / FILE).is_file():
        return []
    if is_trading(settings.desk):
        return _asked(settings, requests.Request.RESUME)
    with only_trader(settings.desk), assembled(settings, is_emergency=True) as trader:
        lines = requests.resume(trader.floor)
        return [*lines, *_stopped(trader)]


def reconcile(settings: Settings, adopt: bool) -> pl.DataFrame:
    """Return our book beside the venues, one row per account and symbol that differ; with `adopt` theirs counts then.

    Columns: account, symbol, ours, theirs, usd, verdict. Raises BrokerError when a venue does not answer.
    """
    with assembled(settings, is_emergency=True) as trader:
        trader.see()
        rows = list(_compared(trader, adopt))
        if adopt and rows and not is_trading(settings.desk):
            with only_trader(settings.desk):
                requests.adopt(trader.floor)
    if adopt and rows and is_trading(settings.desk):
        _asked(settings, requests.Request.ADOPT)
    schema = {"account": pl.String, "symbol": pl.String, "ours": pl.Float64, "theirs": pl.Float64, "usd": pl.Float64}
    return pl.DataFrame(rows, schema={**schema, "verdict": pl.String}, orient="row")


def _compared(trader: Trader, adopt: bool) -> list[tuple[str, str, float, float, float, str]]:
    floor, rows = trader.floor, []
    mids = mids_usd(floor.look.quotes)
    for account in floor.accounts.values():
        if account.is_virtual:
            continue
        blind = set(account.symbols) - set(mids)
        if blind:
            raise BrokerError(f"no price of {', '.join(sorted(blind))} is known; {floor.feed.failure or 'try again'}")
        for one in differences(account, floor.broker(account).holdings(), mids, floor.settings.trader):
            rows.append((account.key, one.symbol, one.ours, one.theirs, one.usd, _verdict(one, adopt)))
    return rows


def _verdict(one: Difference, adopt: bool) -> str:
    if one.symbol == CASH and one.theirs > one.ours:
        return "more money than ours, left alone"
    if one.is_small:
        return "small, taken over"
    return "taken over now" if adopt else "differs, nothing is bought"


def _asked(settings: Settings, request: requests.Request) -> list[str]:
    file = requests.ask(settings.desk, request)
    if requests.wait_until_done(file, TIMEOUT_S):
        return [f"the trader has done it: {request}"]
    return [f"the trader has not done it in {TIMEOUT_S:g} s: {request}; it will with its next poll, if it still lives"]


def _stopped(trader: Trader) -> list[str]:
    """Return what keeps accounts from buying."""
    return [f"{account.key}: {account.trouble}" for account in trader.floor.accounts.values() if account.trouble]
