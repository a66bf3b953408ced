"""Paper trading: every account of sandbox and production trades the bars that have closed since its last one.

The engine, the rules and the costs are those of training and arena. An account belongs to a model and goes on through
its promotion, so that the head-to-head comparison looks at one unbroken record.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import polars as pl

from cappuccino.market.interval import Interval
from cappuccino.market.panel import BarPanel, as_datetime, as_datetime64
from cappuccino.market.sync import load_panel
from cappuccino.portfolio.account import Accounts
from cappuccino.registry.identity import ModelId
from cappuccino.risk.rules import Rules
from cappuccino.rl.agent import Agent
from cappuccino.settings import Settings
from cappuccino.store.warehouse import Reader, Warehouse
from cappuccino.validation.evaluate import EpisodeResult, run

TIME = pl.Datetime("us", "UTC")


@dataclass(frozen=True)
class PaperAccount:
    """One model's virtual account; `state` is empty until its first bar."""

    model: ModelId
    stage: str
    opened_at: datetime
    traded_until: datetime
    cash_usd: float
    state: Accounts | None


@dataclass(frozen=True)
class Traded:
    """Rows to store after one account has caught up with the market."""

    account: PaperAccount
    equity: pl.DataFrame
    fills: pl.DataFrame


def trade_paper(warehouse: Warehouse, settings: Settings, now: datetime) -> list[Traded]:
    """Let every model in sandbox or production trade up to `now`, and store it in one transaction.

    Returns what was traded, nothing for accounts without a new bar. Raises DataError when a model's bars are missing.
    """
    rules = Rules.of(settings.risk, settings.costs)
    with warehouse.read() as reader:
        accounts = open_paper_accounts(reader, settings.sandbox.cash_usd)
        agents = {a.model: Agent.load(settings.artifacts, a.model) for a in accounts}
        panels = _panels(reader, list(agents.values()), now)
    traded = [
        done
        for account in accounts
        if (done := catch_up(account, agents[account.model], panels[_market(agents[account.model])], rules)) is not None
    ]
    with warehouse.write() as writer:
        for done in traded:
            writer.append("desk.equity", done.equity)
            writer.append("desk.fills", done.fills)
            writer.upsert("desk.accounts", _account_row(done.account))
    return traded


def open_paper_accounts(reader: Reader, cash_usd: float) -> list[PaperAccount]:
    """Return the account of every model in sandbox or production; a new one opens at the moment of its promotion."""
    rows = reader.query(
        """
        select
            promotion.stages.study, promotion.stages.trial, stage, since_utc,
            desk.accounts.opened_at_utc, desk.accounts.traded_until_utc, desk.accounts.cash_usd, desk.accounts.state
        from promotion.stages
        -- Who comes back from outside the desk starts anew: it held nothing meanwhile.
        left join desk.accounts
            on desk.accounts.study = promotion.stages.study
            and desk.accounts.trial = promotion.stages.trial
            and (from_stage in ('sandbox', 'production') or opened_at_utc >= since_utc)
        where stage in ('sandbox', 'production')
        order by promotion.stages.study, promotion.stages.trial
        """
    )
    return [
        PaperAccount(
            model=ModelId(row["study"], row["trial"]),
            stage=row["stage"],
            opened_at=row["opened_at_utc"] or row["since_utc"],
            traded_until=row["traded_until_utc"] or row["since_utc"],
            cash_usd=row["cash_usd"] or cash_usd,
            state=Accounts.from_rows([json.loads(row["state"])]) if row["state"] else None,
        )
        for row in rows.iter_rows(named=True)
    ]


def catch_up(account: PaperAccount, agent: Agent, panel: BarPanel, rules: Rules) -> Traded | None:
    """Trade the bars of `panel` that closed after `account.traded_until`; None when there is no such bar."""
    start = int(np.searchsorted(panel.closed_at, as_datetime64(account.traded_until), side="right")) - 1
    if start < 0 or start + 2 > len(panel):
        return None
    episode = run(
        agent.policy(panel),
        panel,
        start,
        len(panel),
        rules,
        cash_usd=account.cash_usd,
        accounts=account.state,
    )
    until = as_datetime(panel.closed_at[-1])
    return Traded(
        account=replace(account, traded_until=until, state=episode.final),
        equity=_equity_rows(account, panel, episode),
        fills=_fill_rows(account, panel, start, episode),
    )


Market = tuple[Interval, tuple[str, ...]]


def _market(agent: Agent) -> Market:
    return agent.interval, agent.symbols


def _panels(reader: Reader, agents: list[Agent], now: datetime) -> Mapping[Market, BarPanel]:
    """Return one panel for each market that the agents trade, shared by all on it."""
    return {market: load_panel(reader, market[1], market[0], now) for market in {_market(agent) for agent in agents}}


def _equity_rows(account: PaperAccount, panel: BarPanel, episode: EpisodeResult) -> pl.DataFrame:
    opening = max(int(np.searchsorted(panel.closed_at, as_datetime64(account.opened_at), side="right")) - 1, 0)
    first = int(np.searchsorted(panel.closed_at, episode.closed_at[0])) + 1
    growth = (panel.close[first:] / panel.close[opening]).mean(axis=1)
    n_bars = len(growth)
    return _keys(account.model, n_bars).hstack(
        pl.DataFrame(
            {
                "closed_at_utc": _times(episode.closed_at[1:]),
                "stage": [account.stage] * n_bars,
                "value_usd": episode.equity_usd[1:, 0],
                "benchmark_usd": account.cash_usd * growth,
                "exposure_frac": episode.weights[:, 0].sum(axis=1),
                "fee_usd": episode.fee_usd[:, 0].sum(axis=1),
                "slippage_usd": episode.slippage_usd[:, 0].sum(axis=1),
                "turnover_usd": episode.traded_usd[:, 0],
                "rules": episode.rules[:, 0],
            }
        )
    )


def _fill_rows(account: PaperAccount, panel: BarPanel, start: int, episode: EpisodeResult) -> pl.DataFrame:
    step, asset = np.nonzero(episode.units[:, 0])
    return _keys(account.model, len(step)).hstack(
        pl.DataFrame(
            {
                "filled_at_utc": _times(panel.opened_at[start + 1 + step]),
                "symbol": pl.Series([panel.symbols[a] for a in asset], dtype=pl.String),
                "units": episode.units[step, 0, asset],
                "price_usd": episode.price_usd[step, 0, asset],
                "fee_usd": episode.fee_usd[step, 0, asset],
                "slippage_usd": episode.slippage_usd[step, 0, asset],
                "realized_pnl_usd": episode.realized_pnl_usd[step, 0, asset],
            }
        )
    )


def _account_row(account: PaperAccount) -> pl.DataFrame:
    state = account.state.to_rows()[0] if account.state else None
    row = {
        "study": account.model.study,
        "trial": account.model.trial,
        "opened_at_utc": account.opened_at,
        "traded_until_utc": account.traded_until,
        "cash_usd": account.cash_usd,
        "state": json.dumps(state),
    }
    return pl.DataFrame([row], schema_overrides={"opened_at_utc": TIME, "traded_until_utc": TIME})


def _keys(model: ModelId, n_rows: int) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "study": pl.Series([model.study] * n_rows, dtype=pl.String),
            "trial": pl.Series([model.trial] * n_rows, dtype=pl.Int64),
        }
    )


def _times(moments: np.ndarray[tuple[int], np.dtype[np.datetime64]]) -> pl.Series:
    return pl.Series(moments.astype("datetime64[us]"), dtype=pl.Datetime("us")).dt.replace_time_zone("UTC")
