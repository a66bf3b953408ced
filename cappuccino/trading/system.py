"""The account of the system itself: it follows whoever is in production, through every hand-over, costs included.

    nobody     A decides                B decides           nobody left
    ----------|------------------------|-------------------|====|----------> cash, a row a day
    opening   A's promotion            B's first bar         the sale

On a hand-over the next model finds cash, holdings and the state of the risk rules as they are, and pays for what it
changes. When production is left to nobody, everything is sold at the next open of the last model's bars. Every moment
is written once, with the decisions and bars that were known at it; what is decided or corrected later counts from the
newest row on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Protocol

import polars as pl
import torch
from torch import Tensor

from cappuccino.arena.candidate import load_candidate
from cappuccino.clock import require_utc
from cappuccino.market.inputs import NO_INPUTS
from cappuccino.market.interval import Interval
from cappuccino.market.panel import BarPanel, as_datetime
from cappuccino.portfolio.account import Accounts
from cappuccino.registry.identity import ModelId
from cappuccino.risk.rules import Rules
from cappuccino.rl.agent import Market
from cappuccino.settings import Settings
from cappuccino.store.warehouse import Warehouse
from cappuccino.trading.paper import first_decision
from cappuccino.trading.rows import bar_rows, fill_rows
from cappuccino.trading.succession import Changes, Stint, read_changes, stints
from cappuccino.trading.system_account import (
    EQUITY,
    FILLS,
    SystemAccount,
    SystemTraded,
    decided_by,
    open_system,
    read_system,
    store_system,
)
from cappuccino.validation.evaluate import Policy, run

DAY = Interval.D1.duration
SALE_HISTORY = timedelta(days=7)
"""Bars to look at for a sale: where the newest ones are some days late, there is nothing to trade yet, no error."""


class Trader(Protocol):
    """What the account asks of a model; a candidate is one."""

    @property
    def market(self) -> Market: ...
    @property
    def history_bars(self) -> int: ...
    def policy(self, panel: BarPanel, /) -> Policy: ...


@dataclass(frozen=True)
class Desk:
    """Where the account finds models and bars."""

    trader: Callable[[ModelId], Trader]
    bars: Callable[[Market, datetime, datetime], BarPanel]
    """(market, start, stop) -> bars that opened at or after `start` and had closed at `stop`."""
    rules: Rules


@dataclass(frozen=True)
class _Traded:
    account: SystemAccount
    equity: pl.DataFrame
    fills: pl.DataFrame


def trade_system(
    warehouse: Warehouse, settings: Settings, now: datetime, opened_at: datetime | None = None
) -> SystemTraded:
    """Let the system's account trade up to `now`, and store account, equity and fills in one transaction.

    An account that is not there yet opens at `opened_at`, or else at the first decision on any model, with
    `sandbox.cash_usd`; `opened_at` means nothing to one that is there. Nothing is added when all is traded already, or
    at a moment before that. Raises DataError when the settings, or a model that comes to production, have other symbols
    than the account, or when bars are missing.
    """
    with warehouse.read() as reader:
        stored = read_system(reader)
        account = stored or open_system(reader, settings, require_utc(now), opened_at)
        changes = read_changes(reader, now)
    if account is None or (stored and stored.traded_until >= now):
        return _joined(account, [])
    account.require_symbols(settings.market.symbols, "market.symbols has")
    traded = catch_up(account, changes, _desk(warehouse, settings), now)
    if traded.account is not stored:
        store_system(warehouse, traded)
    return traded


def _desk(warehouse: Warehouse, settings: Settings) -> Desk:
    """Return a desk that opens the warehouse for each panel anew: nobody waits while the account trades."""

    def bars(market: Market, start: datetime, stop: datetime) -> BarPanel:
        with warehouse.read() as reader:
            return market.panel(reader, stop, start)

    @cache
    def trader(model: ModelId) -> Trader:
        return load_candidate(settings.artifacts, model)

    return Desk(trader, bars, Rules.of(settings.risk, settings.costs))


def catch_up(account: SystemAccount, changes: Changes, desk: Desk, now: datetime) -> SystemTraded:
    """Trade what has closed after `account.traded_until` and by `now`, whoever was in production then.

    `changes` are those that are known at `now`. Raises what `trade_system` raises.
    """

    def interval_of(model: ModelId) -> Interval:
        market = desk.trader(model).market
        account.require_symbols(market.symbols, f"model {model}, which came to production, trades")
        return market.interval

    parts: list[_Traded] = []
    latest = account
    for stint in stints(changes, account.model, account.interval, account.traded_until, interval_of):
        part = _in_cash(latest, stint, now) if stint.interval is None else _on_bars(latest, stint, desk, now)
        if part:
            latest = part.account
            parts.append(part)
        if not _is_over(stint, latest, now):
            break
    return _joined(latest, parts)


def _is_over(stint: Stint, account: SystemAccount, now: datetime) -> bool:
    """Return whether the next stint may begin; cash needs no bars to come to its end."""
    if stint.stop is None or stint.stop > now:
        return False
    return stint.interval is None or account.traded_until == stint.stop


def _in_cash(account: SystemAccount, stint: Stint, now: datetime) -> _Traded | None:
    """Return a row for every day that ends in the stint by `now`; None when there is none."""
    first, last = Interval.D1.floor(stint.start) + DAY, Interval.D1.floor(min(now, stint.stop or now))
    if last < first:
        return None
    days = pl.datetime_range(first, last, DAY, time_unit="us", time_zone="UTC", eager=True)
    nothing = (pl.lit(0).alias(n) for n in ("exposure_frac", "fee_usd", "slippage_usd", "turnover_usd", "rules"))
    value = pl.lit(account.state.cash_usd.item()).alias("value_usd")
    rows = pl.DataFrame({"closed_at_utc": days}).with_columns(value, *nothing)
    after = replace(account, traded_until=last, model=None, interval=None)
    return _Traded(after, decided_by(None, rows, EQUITY), _NO_FILLS)


def _on_bars(account: SystemAccount, stint: Stint, desk: Desk, now: datetime) -> _Traded | None:
    """Trade the bars of the stint that have closed by `now`; None when there is none yet."""
    assert stint.interval is not None
    stop = min(now, stint.stop or now)
    if stint.start + stint.interval.duration > stop:
        return None
    trader = desk.trader(stint.model) if stint.model else _Seller(Market(stint.interval, account.symbols, NO_INPUTS))
    n_before = max(trader.history_bars, desk.rules.history_bars(stint.interval))
    panel = desk.bars(trader.market, stint.start - n_before * stint.interval.duration, stop)
    start = first_decision(panel, stint.start)
    if start + 2 > len(panel):
        return None
    # A sale is whole: dampening is for the wishes of models.
    rules = desk.rules if stint.model else replace(desk.rules, dampening=1.0)
    episode = run(trader.policy(panel), panel, start, len(panel), rules, accounts=account.state)
    bars = bar_rows(episode).with_columns(pl.lit(stint.interval.value).alias("interval"))
    until = as_datetime(panel.closed_at[-1])
    interval = stint.interval if stint.model else None
    return _Traded(
        replace(account, traded_until=until, model=stint.model, interval=interval, state=episode.final),
        decided_by(stint.model, bars, EQUITY),
        decided_by(stint.model, fill_rows(panel, start, episode), FILLS),
    )


@dataclass(frozen=True)
class _Seller:
    """Who decides when nobody is in production: it wants nothing."""

    market: Market

    @property
    def history_bars(self) -> int:
        return SALE_HISTORY // self.market.interval.duration

    def policy(self, panel: BarPanel, /) -> Policy:
        return _nothing


def _nothing(t: int, accounts: Accounts) -> Tensor:
    return torch.zeros_like(accounts.units)


_NO_EQUITY, _NO_FILLS = pl.DataFrame(schema=dict(EQUITY)), pl.DataFrame(schema=dict(FILLS))


def _joined(account: SystemAccount | None, parts: list[_Traded]) -> SystemTraded:
    equity = pl.concat([_NO_EQUITY, *(part.equity for part in parts)])
    return SystemTraded(account, equity, pl.concat([_NO_FILLS, *(part.fills for part in parts)]))
