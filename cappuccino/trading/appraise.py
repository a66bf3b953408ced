"""How production has done on paper, beside the baselines on the same bars and costs."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import polars as pl

from cappuccino.market.interval import Interval
from cappuccino.market.panel import BarPanel, FloatArray
from cappuccino.market.sync import load_panel
from cappuccino.portfolio.measures import Activity, Measures, measure
from cappuccino.risk.rules import Rules
from cappuccino.search.book import evaluation_frame, evaluation_row
from cappuccino.settings import Settings
from cappuccino.store.warehouse import Reader, Warehouse
from cappuccino.trading.paper import first_decision
from cappuccino.validation.baselines import BASELINES, benchmark_returns, run_baselines

MIN_BARS = 2


def appraise_production(warehouse: Warehouse, settings: Settings, now: datetime) -> int:
    """Store the paper measures of the model in production and of every baseline over its account's life.

    Returns the rows written, 0 while there is no production or it has traded fewer than two bars. At a moment before
    the account's newest bar, as in a run that is repeated, the later figures stand.
    """
    with warehouse.read() as reader:
        model = reader.query(
            """
            select study, trial, interval, symbols, opened_at_utc, traded_until_utc
            from promotion.production
            inner join desk.accounts using (study, trial)
            """
        )
        if model.is_empty():
            return 0
        account = model.row(0, named=True)
        if account["traded_until_utc"] > now:
            return 0
        interval, symbols = Interval(account["interval"]), tuple(account["symbols"])
        panel = load_panel(reader, symbols, interval, account["traded_until_utc"])
        own = _own_record(reader, account)
    start = first_decision(panel, account["opened_at_utc"])
    if len(panel) - start - 1 < MIN_BARS:
        return 0
    benchmark = benchmark_returns(panel, start, len(panel))
    own = (_on_closes(own[0], panel, start, own[2]), *own[1:])
    span = (account["opened_at_utc"], account["traded_until_utc"])
    key = (account["study"], account["trial"])
    rows = [
        evaluation_row(
            *key, "agent", "paper", 0, interval, span, own_measures(own, benchmark, interval), paper_of=key[1]
        )
    ]
    rules = Rules.of(settings.risk, settings.costs)
    episode = run_baselines(panel, start, len(panel), rules, seed=settings.training.seed, cash_usd=own[2])
    for n, name in enumerate(BASELINES):
        measures = episode.measures(n, benchmark)
        rows.append(evaluation_row(key[0], -1, name, "paper", 0, interval, span, measures, paper_of=key[1]))
    with warehouse.write() as writer:
        return writer.upsert("lab.evaluations", evaluation_frame(rows))


def own_measures(
    record: tuple[pl.DataFrame, pl.DataFrame, float], benchmark: FloatArray, interval: Interval
) -> Measures:
    """Return the measures of an account from its stored bars and fills."""
    bars, fills, cash_usd = record
    values = np.concatenate([[cash_usd], bars["value_usd"].to_numpy()])
    activity = Activity(
        trade_pnls_usd=fills.filter(pl.col("units") < 0)["realized_pnl_usd"].to_numpy(),
        n_fills=len(fills),
        turnover_frac=float((bars["turnover_usd"].to_numpy() / values[:-1]).sum()),
        exposure_frac=float(bars["exposure_frac"].to_numpy().mean()),
        fees_usd=float(bars["fee_usd"].to_numpy().sum()),
        slippage_usd=float(bars["slippage_usd"].to_numpy().sum()),
    )
    return measure(values[1:] / values[:-1] - 1.0, benchmark, interval, activity)


def _on_closes(bars: pl.DataFrame, panel: BarPanel, start: int, cash_usd: float) -> pl.DataFrame:
    """Return a row for each close of `panel` after row `start`: a bar that the trader slept through changed nothing."""
    closes = (
        pl.Series("closed_at_utc", panel.closed_at[start + 1 :]).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    )
    aligned = pl.DataFrame([closes]).join(bars, on="closed_at_utc", how="left", maintain_order="left")
    return aligned.with_columns(
        pl.col("value_usd").forward_fill().fill_null(cash_usd),
        pl.col("exposure_frac").forward_fill().fill_null(0.0),
        pl.col("turnover_usd", "fee_usd", "slippage_usd").fill_null(0.0),
    )


def _own_record(reader: Reader, account: dict[str, object]) -> tuple[pl.DataFrame, pl.DataFrame, float]:
    where = {key: account[key] for key in ("study", "trial", "opened_at_utc")}
    bars = reader.query(
        """
        select * from desk.equity
        where study = $study and trial = $trial and closed_at_utc > $opened_at_utc
        order by closed_at_utc
        """,
        **where,
    )
    fills = reader.query(
        """
        select * from desk.fills
        where study = $study and trial = $trial and filled_at_utc >= $opened_at_utc
        order by filled_at_utc, symbol
        """,
        **where,
    )
    cash = reader.one(
        "select cash_usd from desk.accounts where study = $study and trial = $trial and opened_at_utc = $opened_at_utc",
        **where,
    )
    assert cash is not None
    return bars, fills, cash[0]
