"""One account of the trader: who trades it, where, and what the engine remembers of it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

import torch
from torch import Tensor

from cappuccino.market.interval import Interval
from cappuccino.portfolio.account import Accounts
from cappuccino.registry.identity import ModelId
from cappuccino.trading.ledger import Entry, Ledger, from_us, to_us

CASH = "USD"
"""Key of money among what is not ours."""


@dataclass(frozen=True)
class DeskAccount:
    """An account as of now; `state` is one row of what the engine trades with."""

    key: str
    """Its name in the ledger: STUDY/TRIAL of a virtual account, the broker's name of a real one."""
    broker: str
    market: str
    """Source of the prices that it is traded at."""
    stage: str
    model: ModelId
    symbols: tuple[str, ...]
    interval: Interval
    opened_at: datetime
    cash_usd: float
    """Money that it started with."""
    state: Accounts
    decided_at: datetime | None = None
    """Close of the newest bar that was decided on, or let pass."""
    marked_at: datetime | None = None
    """Close of the newest bar that its value was taken at."""
    opening_closes: tuple[float, ...] | None = None
    """Closes of the bar that was decided on first: what buy-and-hold would have paid."""
    foreign: Mapping[str, Decimal] = field(default_factory=dict)
    """What the venue's account holds beside ours, by symbol, and money under `CASH`: never touched."""
    trouble: str = ""
    """Why nothing is bought: our book and the venue differ, say; empty when all is well."""
    closed_at: datetime | None = None
    venue_account: str = ""
    """What tells the venue's account from all others; empty for a virtual one, and while nobody has told it."""

    @property
    def is_virtual(self) -> bool:
        return self.broker == "simulated"

    def units_of(self, symbol: str) -> float:
        return float(self.state.units[0, self.symbols.index(symbol)])

    def prices(self, by_symbol: Mapping[str, float]) -> Tensor:
        """Return (A,) prices in the order of the account's symbols."""
        return torch.tensor([by_symbol[symbol] for symbol in self.symbols], dtype=torch.float64)


def store_account(entry: Entry, account: DeskAccount) -> None:
    """Put the account as it is now into the ledger."""
    entry.upsert("accounts", **_columns(account))


def open_accounts_of(ledger: Ledger) -> list[DeskAccount]:
    """Return the accounts that are not closed, by name."""
    return [_account(row) for row in ledger.rows("select * from accounts where closed_us is null order by account")]


def account_named(ledger: Ledger, key: str) -> DeskAccount | None:
    """Return the account of that name, open or closed; None without one."""
    row = ledger.row("select * from accounts where account = ?", key)
    return _account(row) if row else None


def _us(moment: datetime | None) -> int | None:
    return None if moment is None else to_us(moment)


def _moment(us: int | None) -> datetime | None:
    return None if us is None else from_us(us)


def _columns(account: DeskAccount) -> dict[str, Any]:
    return {
        "account": account.key,
        "broker": account.broker,
        "market": account.market,
        "stage": account.stage,
        "study": account.model.study,
        "trial": account.model.trial,
        "symbols": json.dumps(account.symbols),
        "interval": account.interval.value,
        "opened_us": to_us(account.opened_at),
        "cash_usd": account.cash_usd,
        "state": json.dumps(account.state.to_rows()[0]),
        "decided_us": _us(account.decided_at),
        "marked_us": _us(account.marked_at),
        "opening_closes": json.dumps(account.opening_closes) if account.opening_closes else None,
        "foreign_units": json.dumps({name: str(amount) for name, amount in account.foreign.items()}),
        "trouble": account.trouble,
        "closed_us": _us(account.closed_at),
        "venue_account": account.venue_account,
    }


def _account(row: sqlite3.Row) -> DeskAccount:
    closes = row["opening_closes"]
    return DeskAccount(
        key=row["account"],
        broker=row["broker"],
        market=row["market"],
        stage=row["stage"],
        model=ModelId(row["study"], row["trial"]),
        symbols=tuple(json.loads(row["symbols"])),
        interval=Interval(row["interval"]),
        opened_at=from_us(row["opened_us"]),
        cash_usd=row["cash_usd"],
        state=Accounts.from_rows([json.loads(row["state"])]),
        decided_at=_moment(row["decided_us"]),
        marked_at=_moment(row["marked_us"]),
        opening_closes=tuple(json.loads(closes)) if closes else None,
        foreign={name: Decimal(amount) for name, amount in json.loads(row["foreign_units"]).items()},
        trouble=row["trouble"],
        closed_at=_moment(row["closed_us"]),
        venue_account=row["venue_account"],
    )
