"""How the system has done since its opening, beside buy-and-hold and the baselines on the same days."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from cappuccino.clock import require_utc
from cappuccino.market.interval import Interval
from cappuccino.market.panel import FloatArray
from cappuccino.portfolio.measures import Activity, measure
from cappuccino.settings import Settings
from cappuccino.store.warehouse import Reader, Warehouse
from cappuccino.trading.system_account import TIME, SystemAccount, read_system
from cappuccino.trading.system_days import BUY_AND_HOLD, SUBJECTS, new_days

_NAMES = {"n_bars": "n_days", "max_drawdown_bars": "max_drawdown_days"}
_SAME_HERE = "sharpe_daily_365"
"""With days for bars it is `sharpe_annualized`."""


def system_measures(warehouse: Warehouse, settings: Settings, now: datetime) -> pl.DataFrame:
    """Store the days that have ended by `now`, and return the measures of all subjects over [opening, now).

    One row each for the system, buy_and_hold and every baseline, with the columns of desk.system_measures, which keeps
    the measures of the newest day. Every figure is computed from the values at the end of each UTC day, the first of
    them against the opening cash (that day may be a part of one), and annualised with 365 days; alpha is measured
    against buy_and_hold. Call it after `trade_system`; empty until a day has ended since the opening. Raises DataError
    when bars are missing.
    """
    with warehouse.read() as reader:
        account = read_system(reader)
        if account is None:
            return pl.DataFrame()
        added = new_days(reader, account, settings, require_utc(now))
        days = _stored_days(reader)
    days = pl.concat([days, added.select(days.columns)]) if len(added) else days
    measures = _measures(account, days.filter(pl.col("closed_at_utc") <= now))
    if len(added):
        with warehouse.write() as writer:
            writer.append("desk.system_baselines", added)
            writer.replace("desk.system_measures", measures, "true")
    return measures


def _stored_days(reader: Reader) -> pl.DataFrame:
    return reader.query("select * exclude (state) from desk.system_baselines")


def _measures(account: SystemAccount, days: pl.DataFrame) -> pl.DataFrame:
    """Return one row per subject; `days` has all subjects on every day."""
    if days.is_empty():
        return pl.DataFrame()
    curves = {name: days.filter(pl.col("subject") == name).sort("closed_at_utc") for name in SUBJECTS}
    benchmark = _returns(curves[BUY_AND_HOLD], account.cash_usd)
    rows = [_row(account, name, curve, benchmark) for name, curve in curves.items()]
    return pl.DataFrame(rows, schema_overrides={"from_utc": TIME, "to_utc": TIME})


def _row(account: SystemAccount, subject: str, curve: pl.DataFrame, benchmark: FloatArray) -> dict[str, Any]:
    figures = asdict(measure(_returns(curve, account.cash_usd), benchmark, Interval.D1, _activity(curve)))
    figures.pop(_SAME_HERE)
    span = {"subject": subject, "from_utc": account.opened_at, "to_utc": curve["closed_at_utc"][-1]}
    return span | {_NAMES.get(name, name): figure for name, figure in figures.items()}


def _returns(curve: pl.DataFrame, cash_usd: float) -> FloatArray:
    """Return (T,) daily returns, the first against the opening cash."""
    values = np.concatenate([[cash_usd], curve["value_usd"].to_numpy()])
    returns: FloatArray = values[1:] / values[:-1] - 1.0
    return returns


def _activity(curve: pl.DataFrame) -> Activity:
    return Activity(
        trade_pnls_usd=np.array(curve["trade_pnls"].explode(empty_as_null=False).to_numpy(), dtype=float),
        n_fills=int(curve["n_fills"].sum()),
        turnover_frac=float(curve["turnover_frac"].sum()),
        exposure_frac=float(curve["exposure_frac"].to_numpy().mean()),
        fees_usd=float(curve["fees_usd"].sum()),
        slippage_usd=float(curve["slippage_usd"].sum()),
    )
