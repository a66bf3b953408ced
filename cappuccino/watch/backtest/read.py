"""A backtest as the warehouse keeps it, read in one go."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from cappuccino.errors import UnknownName
from cappuccino.store.warehouse import Reader
from cappuccino.watch.backtest.words import FACTORS


@dataclass(frozen=True)
class BacktestRows:
    """Every row of one backtest."""

    run: dict[str, Any]
    """Its row of lab.backtests."""
    measures: pl.DataFrame
    """The subject first, then the baselines, the best of them first."""
    equity: pl.DataFrame
    days: pl.DataFrame
    months: pl.DataFrame
    trades: pl.DataFrame
    attribution: pl.DataFrame
    """Factors and costs in their own order, symbols after what they brought."""
    timing: pl.DataFrame

    @property
    def name(self) -> str:
        return str(self.run["backtest"])

    @property
    def subject(self) -> str:
        return str(self.run["subject"])

    @property
    def is_simulated(self) -> bool:
        return bool(self.run["is_simulated"])

    @property
    def is_model(self) -> bool:
        return self.run["study"] is not None

    @property
    def cash_usd(self) -> float:
        return float(self.run["cash_usd"])

    @property
    def start(self) -> datetime:
        moment: datetime = self.run["from_utc"]
        return moment

    @property
    def stop(self) -> datetime:
        moment: datetime = self.run["to_utc"]
        return moment


def read_backtest(reader: Reader, backtest: str) -> BacktestRows:
    """Return all rows of a backtest; raises UnknownName with the newest there are."""
    run = reader.query("from lab.backtests where backtest = $backtest", backtest=backtest)
    if run.is_empty():
        newest = reader.query("select backtest from lab.backtests order by made_at_utc desc, backtest limit 5")
        names = ", ".join(newest["backtest"]) or "none yet; `cappuccino backtest SUBJECT` makes one"
        raise UnknownName(f"no backtest {backtest!r}; the newest are: {names}")

    return BacktestRows(
        run=run.row(0, named=True),
        measures=reader.query(
            """
            select * exclude (backtest) from lab.backtest_measures where backtest = $backtest
            order by is_baseline, total_return_frac desc, subject
            """,
            backtest=backtest,
        ),
        equity=reader.query(
            "select * exclude (backtest) from lab.backtest_equity where backtest = $backtest order by closed_at_utc",
            backtest=backtest,
        ),
        days=reader.query(
            "select * exclude (backtest) from lab.backtest_days where backtest = $backtest order by subject, day",
            backtest=backtest,
        ),
        months=reader.query(
            "select * exclude (backtest) from lab.backtest_months where backtest = $backtest order by year, month",
            backtest=backtest,
        ),
        trades=reader.query(
            "select * exclude (backtest) from lab.backtest_trades where backtest = $backtest order by trade",
            backtest=backtest,
        ),
        attribution=reader.query(
            """
            select * exclude (backtest) from lab.backtest_attribution where backtest = $backtest
            order by kind, list_position($parts, part), pnl_usd desc, part
            """,
            backtest=backtest,
            parts=list(FACTORS),
        ),
        timing=reader.query(
            """
            select * exclude (backtest) from lab.backtest_timing where backtest = $backtest
            order by way = 'random_timing' desc, way
            """,
            backtest=backtest,
        ),
    )
