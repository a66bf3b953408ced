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

from cappuccino.arena.candidate import Candidate, load_candidate
from cappuccino.ensemble.agent import Assembly
from cappuccino.ensemble.log import NO_VOTES, VoteLog
from cappuccino.errors import DataError
from cappuccino.market.panel import BarPanel, as_datetime, as_datetime64
from cappuccino.portfolio.account import Accounts
from cappuccino.registry.identity import ModelId
from cappuccino.risk.rules import Rules
from cappuccino.rl.agent import Market
from cappuccino.settings import Settings
from cappuccino.store.warehouse import Reader, Warehouse
from cappuccino.trading.rows import bar_rows, fill_rows
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
    votes: pl.DataFrame
    """Of an ensemble's members; of single models there are none."""


def trade_paper(warehouse: Warehouse, settings: Settings, now: datetime) -> list[Traded]:
    """Let every model in sandbox or production trade up to `now`, and store it in one transaction.

    Returns what was traded, nothing for accounts without a new bar. Raises DataError when a model's bars are missing.
    """
    rules = Rules.of(settings.risk, settings.costs)
    with warehouse.read() as reader:
        accounts = open_paper_accounts(reader, settings.sandbox.cash_usd)
        agents = {a.model: load_candidate(settings.artifacts, a.model) for a in accounts}
        panels = _panels(reader, accounts, agents, rules, now)
    caught_up = (catch_up(a, agents[a.model], panels[agents[a.model].market], rules) for a in accounts)
    traded = [done for done in caught_up if done is not None]
    with warehouse.write() as writer:
        for done in traded:
            writer.append("desk.equity", done.equity)
            writer.append("desk.fills", done.fills)
            writer.append("desk.votes", done.votes)
            writer.upsert("desk.accounts", _account_row(done.account))
    return traded


def open_paper_accounts(reader: Reader, cash_usd: float) -> list[PaperAccount]:
    """Return the account of every model in sandbox or production; a new one opens when the model comes to the desk.

    Whoever the trader keeps the account of is left out.
    """
    rows = reader.query(
        """
        with arrived as (
            select study, trial, arg_max(decided_at_utc, sequence) as arrived_at_utc
            from promotion.decisions
            where to_stage in ('sandbox', 'production')
                and coalesce(from_stage, '') not in ('sandbox', 'production')
            group by study, trial
        )
        select
            arrived.study, arrived.trial, stage, arrived_at_utc,
            desk.accounts.opened_at_utc, desk.accounts.traded_until_utc, desk.accounts.cash_usd, desk.accounts.state
        from promotion.stages
        inner join arrived using (study, trial)
        -- Who comes back from outside the desk starts anew: it held nothing meanwhile.
        left join desk.accounts
            on desk.accounts.study = arrived.study
            and desk.accounts.trial = arrived.trial
            and desk.accounts.opened_at_utc >= arrived_at_utc
        where stage in ('sandbox', 'production')
            and (arrived.study, arrived.trial) not in (
                select (study, trial) from desk.accounts where kept_by = 'trader'
            )
        order by arrived.study, arrived.trial
        """
    )
    return [
        PaperAccount(
            model=ModelId(row["study"], row["trial"]),
            stage=row["stage"],
            opened_at=row["opened_at_utc"] or row["arrived_at_utc"],
            traded_until=row["traded_until_utc"] or row["arrived_at_utc"],
            cash_usd=row["cash_usd"] or cash_usd,
            state=Accounts.from_rows([json.loads(row["state"])]) if row["state"] else None,
        )
        for row in rows.iter_rows(named=True)
    ]


def catch_up(account: PaperAccount, agent: Candidate, panel: BarPanel, rules: Rules) -> Traded | None:
    """Trade the bars of `panel` that opened at `account.traded_until` or later; None when there is none yet.

    Raises DataError when the panel begins too late.
    """
    start = first_decision(panel, account.traded_until)
    if start + 2 > len(panel):
        return None
    policy = agent.policy(panel)
    log = VoteLog(policy) if isinstance(policy, Assembly) else None
    episode = run(
        log or policy,
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
        votes=log.rows(account.model, panel) if log else NO_VOTES,
    )


def first_decision(panel: BarPanel, moment: datetime) -> int:
    """Return the row at whose close an account that is there from `moment` on decides first.

    An account that opens inside a bar waits for its close: the bar's open is a price of before. The row may lie behind
    the end of the panel. Raises DataError when the bar lies before its beginning.
    """
    row = int(np.searchsorted(panel.closed_at, as_datetime64(moment)))
    if panel.opened_at[0] >= as_datetime64(moment):
        raise DataError(
            f"an account trades {panel.interval} bars of {', '.join(panel.symbols)} from {moment:%F %R} UTC on, "
            f"but they begin at {panel.opened_at[0]}; sync the days before"
        )
    return row


def _panels(
    reader: Reader, accounts: list[PaperAccount], agents: Mapping[ModelId, Candidate], rules: Rules, now: datetime
) -> Mapping[Market, BarPanel]:
    """Return one panel for each market that the agents trade, with all that its oldest account has ever needed."""
    starts: dict[Market, datetime] = {}
    for account in accounts:
        agent = agents[account.model]
        n_before = max(agent.history_bars, rules.history_bars(agent.interval))
        start = account.opened_at - n_before * agent.interval.duration
        starts[agent.market] = min(start, starts.get(agent.market, start))
    return {market: market.panel(reader, now, start) for market, start in starts.items()}


def _equity_rows(account: PaperAccount, panel: BarPanel, episode: EpisodeResult) -> pl.DataFrame:
    bars = bar_rows(episode)
    opening = panel.close[first_decision(panel, account.opened_at)]
    growth = (panel.close[len(panel) - len(bars) :] / opening).mean(axis=1)
    return bars.select(
        *_keys(account.model),
        pl.lit(account.stage).alias("stage"),
        pl.all(),
        pl.Series("benchmark_usd", account.cash_usd * growth),
    )


def _fill_rows(account: PaperAccount, panel: BarPanel, start: int, episode: EpisodeResult) -> pl.DataFrame:
    return fill_rows(panel, start, episode).select(*_keys(account.model), pl.all())


def _account_row(account: PaperAccount) -> pl.DataFrame:
    assert account.state is not None  # it has traded
    row = {
        "study": account.model.study,
        "trial": account.model.trial,
        "opened_at_utc": account.opened_at,
        "traded_until_utc": account.traded_until,
        "cash_usd": account.cash_usd,
        "state": json.dumps(account.state.to_rows()[0]),
        "kept_by": "desk",
    }
    return pl.DataFrame([row], schema_overrides={"opened_at_utc": TIME, "traded_until_utc": TIME})


def _keys(model: ModelId) -> tuple[pl.Expr, pl.Expr]:
    return pl.lit(model.study).alias("study"), pl.lit(model.trial, dtype=pl.Int64).alias("trial")
