"""Backtests in the warehouse: stored whole in one transaction, and read again."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Final

import numpy as np
import polars as pl

from cappuccino.market.panel import FloatArray
from cappuccino.store.warehouse import Warehouse
from cappuccino.validation.backtest import Backtest
from cappuccino.validation.baselines import BASELINES
from cappuccino.validation.run_columns import TYPES, origin_columns, subject_columns
from cappuccino.validation.trades import utc

MARKET: Final = "market"
"""Equal-weight buy-and-hold without costs, among the subjects of lab.backtest_days."""


def store_backtest(warehouse: Warehouse, done: Backtest, now: datetime) -> str:
    """Store a backtest in the place of an earlier one of its name, and return the name."""
    tables = frames_of(done, now)
    with warehouse.write() as writer:
        for table, frame in tables.items():
            named = frame.select(pl.lit(done.name).alias("backtest"), pl.all())
            writer.replace(f"lab.{table}", named, "backtest = $backtest", backtest=done.name)
    return done.name


def frames_of(done: Backtest, now: datetime) -> dict[str, pl.DataFrame]:
    """Return the rows of each table of schema lab, without the name of the backtest."""
    return {
        "backtests": _header(done, now),
        "backtest_measures": _measures(done),
        "backtest_equity": _equity(done),
        "backtest_days": _days(done),
        "backtest_fills": done.fills,
        "backtest_trades": done.trades,
        "backtest_attribution": _attribution(done),
        "backtest_timing": _timing(done),
    }


def _header(done: Backtest, now: datetime) -> pl.DataFrame:
    row = {
        **subject_columns(done.subject, done.stretch, done.cash_usd),
        "n_trades": len(done.trades),
        "n_fills": len(done.fills),
        **asdict(done.fit),
        **origin_columns(done.settings, done.stretch, done.code_version, now),
    }
    return pl.DataFrame([row], schema_overrides=TYPES)


def _measures(done: Backtest) -> pl.DataFrame:
    own = done.subject.name
    rows = [
        {"subject": name, "is_baseline": name != own, **asdict(measures)} for name, measures in done.measures.items()
    ]
    return pl.DataFrame(rows, infer_schema_length=None)


def _equity(done: Backtest) -> pl.DataFrame:
    episode, account = done.episode, done.account
    return pl.DataFrame(
        {
            "closed_at_utc": utc(episode.closed_at[1:]),
            "value_usd": episode.equity_usd[1:, account],
            "market_usd": _market_usd(done)[1:],
            "exposure_frac": episode.weights[:, account].sum(axis=1),
            "fee_usd": episode.fee_usd[:, account].sum(axis=1),
            "slippage_usd": episode.slippage_usd[:, account].sum(axis=1),
            "turnover_usd": episode.traded_usd[:, account],
            "rules": episode.rules[:, account],
        }
    )


def _days(done: Backtest) -> pl.DataFrame:
    """Return the last value of each day; a close at midnight is the end of the day before it."""
    closed_at = done.episode.closed_at[1:]
    day = (closed_at - np.timedelta64(1, "us")).astype("datetime64[D]")
    ends = np.flatnonzero(np.append(day[1:] != day[:-1], True))
    curves: dict[str, FloatArray] = {done.subject.name: done.episode.equity_usd[1:, done.account]}
    curves |= {name: done.baselines.equity_usd[1:, n] for n, name in enumerate(BASELINES) if name != done.subject.name}
    curves[MARKET] = _market_usd(done)[1:]
    return pl.concat(
        pl.DataFrame(
            {
                "subject": [name] * len(ends),
                "day": pl.Series(day[ends]).cast(pl.Date),
                "closed_at_utc": utc(closed_at[ends]),
                "value_usd": values[ends],
            }
        )
        for name, values in curves.items()
    )


def _attribution(done: Backtest) -> pl.DataFrame:
    symbols = done.by_symbol.rename({"symbol": "part"}).with_columns(kind=pl.lit("symbol"))
    factors = done.by_factor.rename({"factor": "part"}).with_columns(kind=pl.lit("factor"))
    costs = done.by_cost.select(
        "cost_bps",
        kind=pl.lit("cost"),
        part=pl.col("cost"),
        pnl_usd=_paid("cost_usd"),
        return_contribution_frac=_paid("cost_frac"),
    )
    return pl.concat([symbols, factors, costs], how="diagonal")


def _paid(cost: str) -> pl.Expr:
    """Return a cost as what it brought; nothing paid is 0, not -0."""
    return pl.when(pl.col(cost) == 0.0).then(0.0).otherwise(-pl.col(cost))


def _timing(done: Backtest) -> pl.DataFrame:
    rows = [
        {
            "way": each.way,
            "n_others": each.n,
            "p_sharpe": each.p_sharpe,
            "p_return": each.p_return,
            "sharpe_annualized": each.own_sharpe_annualized,
            "others_sharpe_annualized": _quantile(each.sharpe_annualized, 0.5),
            "total_return_frac": each.own_return_frac,
            "others_return_frac": _quantile(each.return_frac, 0.5),
            "others_low_return_frac": _quantile(each.return_frac, 0.05),
            "others_high_return_frac": _quantile(each.return_frac, 0.95),
        }
        for each in done.comparisons
    ]
    empty_where_alone = [name for name in rows[0] if name.startswith("others_")]
    return pl.DataFrame(rows, schema_overrides=dict.fromkeys(empty_where_alone, pl.Float64))


def _quantile(values: FloatArray, share: float) -> float | None:
    return float(np.quantile(values, share)) if len(values) else None


def _market_usd(done: Backtest) -> FloatArray:
    """Return what the opening cash would be worth in the market, (T + 1,)."""
    growth: FloatArray = np.concatenate([[1.0], np.cumprod(1.0 + done.market_returns)])
    return done.cash_usd * growth
