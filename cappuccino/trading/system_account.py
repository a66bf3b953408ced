"""The system's account as the warehouse keeps it: one row, the rows of its bars and its fills."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from cappuccino.clock import require_utc
from cappuccino.errors import DataError
from cappuccino.market.interval import Interval
from cappuccino.portfolio.account import Accounts, open_accounts
from cappuccino.registry.identity import ModelId
from cappuccino.settings import Settings
from cappuccino.store.warehouse import Reader, Warehouse

TIME = pl.Datetime("us", "UTC")
EQUITY: Mapping[str, pl.DataType] = {
    "closed_at_utc": TIME,
    "study": pl.String(),
    "trial": pl.Int64(),
    "interval": pl.String(),
    "value_usd": pl.Float64(),
    "exposure_frac": pl.Float64(),
    "fee_usd": pl.Float64(),
    "slippage_usd": pl.Float64(),
    "turnover_usd": pl.Float64(),
    "rules": pl.Int64(),
}
"""Columns of desk.system_equity."""
FILLS: Mapping[str, pl.DataType] = {
    "filled_at_utc": TIME,
    "symbol": pl.String(),
    "units": pl.Float64(),
    "price_usd": pl.Float64(),
    "fee_usd": pl.Float64(),
    "slippage_usd": pl.Float64(),
    "realized_pnl_usd": pl.Float64(),
    "study": pl.String(),
    "trial": pl.Int64(),
}
"""Columns of desk.system_fills."""


@dataclass(frozen=True)
class SystemAccount:
    """The account as of its newest row."""

    opened_at: datetime
    traded_until: datetime
    cash_usd: float
    symbols: tuple[str, ...]
    model: ModelId | None
    """Who traded the newest bar; None in cash."""
    interval: Interval | None
    """Bars of `model`."""
    state: Accounts

    def require_symbols(self, symbols: tuple[str, ...], who: str) -> None:
        """Raise DataError when `who` ("model s/1 trades") has other symbols, or has them in another order."""
        if symbols != self.symbols:
            raise DataError(
                f"{who} {', '.join(symbols)}; the account of the system holds {', '.join(self.symbols)}. Choose the "
                "account's symbols again, or delete the rows of the desk.system_ tables, so that another one opens"
            )


@dataclass(frozen=True)
class SystemTraded:
    """What the account has done in one go: rows of desk.system_equity and desk.system_fills, and where it stands."""

    account: SystemAccount | None
    """None while nobody has decided on any model and no opening was asked for."""
    equity: pl.DataFrame
    fills: pl.DataFrame


def read_system(reader: Reader) -> SystemAccount | None:
    """Return the system's account as it is stored; None before its opening."""
    rows = reader.query("from desk.system_account")
    if rows.is_empty():
        return None
    row = rows.row(0, named=True)
    return SystemAccount(
        opened_at=row["opened_at_utc"],
        traded_until=row["traded_until_utc"],
        cash_usd=row["cash_usd"],
        symbols=tuple(row["symbols"]),
        model=ModelId(row["study"], row["trial"]) if row["study"] else None,
        interval=Interval(row["interval"]) if row["interval"] else None,
        state=Accounts.from_rows([json.loads(row["state"])]),
    )


def open_system(reader: Reader, settings: Settings, now: datetime, opened_at: datetime | None) -> SystemAccount | None:
    """Return a new account in cash, opened at `opened_at` or else at the first decision on any model.

    None when that moment is still to come.
    """
    if opened_at is None:
        (opened_at,) = reader.one("select min(decided_at_utc) from promotion.decisions") or (None,)
    if opened_at is None or require_utc(opened_at) > now:
        return None
    cash_usd, symbols = settings.sandbox.cash_usd, settings.market.symbols
    state = open_accounts(1, len(symbols), cash_usd)
    return SystemAccount(opened_at, opened_at, cash_usd, symbols, None, None, state)


def store_system(warehouse: Warehouse, traded: SystemTraded) -> None:
    """Store account, equity and fills in one transaction.

    Raises ContractError, and stores nothing, when somebody else stored the same bars meanwhile.
    """
    assert traded.account is not None
    with warehouse.write() as writer:
        writer.append("desk.system_equity", traded.equity)
        writer.append("desk.system_fills", traded.fills)
        writer.upsert("desk.system_account", _account_row(traded.account))


def decided_by(model: ModelId | None, rows: pl.DataFrame, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Return `rows` with study and trial of `model`, in the columns of `schema`; a column that is missing is empty."""
    study, trial = (model.study, model.trial) if model else (None, None)
    keyed = rows.with_columns(pl.lit(study).alias("study"), pl.lit(trial).alias("trial"))
    return keyed.select((pl.col(n) if n in keyed.columns else pl.lit(None).alias(n)).cast(t) for n, t in schema.items())


def _account_row(account: SystemAccount) -> pl.DataFrame:
    model = account.model
    row = {
        "opened_at_utc": account.opened_at,
        "traded_until_utc": account.traded_until,
        "cash_usd": account.cash_usd,
        "symbols": list(account.symbols),
        "study": model.study if model else None,
        "trial": model.trial if model else None,
        "interval": account.interval.value if account.interval else None,
        "state": json.dumps(account.state.to_rows()[0]),
    }
    texts = dict.fromkeys(("study", "interval"), pl.String)
    times = dict.fromkeys(("opened_at_utc", "traded_until_utc"), TIME)
    return pl.DataFrame([row], schema_overrides={**texts, **times, "trial": pl.Int64})
