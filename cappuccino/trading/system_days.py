"""The system at the end of each UTC day, beside what anybody could have done from its opening on.

A day is written once, with all subjects or with none. Baselines are run on day after day from what they held at the
end of the last one, so that a new day costs one day; their wishes follow from the whole range, and are the same
however it is cut.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from cappuccino.market.interval import Interval
from cappuccino.market.panel import BarPanel, as_datetime
from cappuccino.market.sync import load_panel
from cappuccino.portfolio.account import Accounts, open_accounts
from cappuccino.portfolio.measures import Activity
from cappuccino.risk.rules import Rules
from cappuccino.settings import Settings
from cappuccino.store.warehouse import Reader
from cappuccino.trading.paper import first_decision
from cappuccino.trading.system_account import TIME, SystemAccount
from cappuccino.validation.baselines import BASELINES, MOMENTUM_DAYS, table_policy
from cappuccino.validation.evaluate import run

SYSTEM, BUY_AND_HOLD = "system", "buy_and_hold"
SUBJECTS = (SYSTEM, BUY_AND_HOLD, *BASELINES)
DAY = Interval.D1.duration
HISTORY = timedelta(days=MOMENTUM_DAYS + 1)
"""Bars before the opening: what the baseline with the longest memory looks at."""
_TYPES: dict[str, pl.DataType] = {
    "closed_at_utc": TIME,
    "trade_pnls": pl.List(pl.Float64),
    "state": pl.String(),
}


def new_days(reader: Reader, account: SystemAccount, settings: Settings, now: datetime) -> pl.DataFrame:
    """Return rows for desk.system_baselines: the days that have ended by `now` and are not stored yet.

    They end with the last day that the account has traded and whose bars are known. Empty when there is none. Raises
    DataError when the bars begin after the account's opening.
    """
    stored = reader.one("select max(closed_at_utc) from desk.system_baselines")
    since = stored[0] if stored and stored[0] else account.opened_at
    until = Interval.D1.floor(min(now, account.traded_until))
    if until <= since:
        return pl.DataFrame()
    panel = load_panel(
        reader, account.symbols, baseline_interval(settings.market.base_interval), until, account.opened_at - HISTORY
    )
    opening = first_decision(panel, account.opened_at)
    ends = _day_ends(panel, since)
    if not ends:
        return pl.DataFrame()
    rules = Rules.of(settings.risk, settings.costs)
    rows = [
        *_system_days(reader, account, since, as_datetime(panel.closed_at[ends[-1]])),
        *_buy_and_hold_days(panel, opening, ends, account.cash_usd),
        *_baseline_days(panel, opening, ends, _states(reader, account, since), rules, settings.training.seed),
    ]
    return pl.DataFrame(rows, schema_overrides=_TYPES)


def baseline_interval(base: Interval) -> Interval:
    """Return the bars that baselines trade: hours, or the base interval where hours cannot be made of it."""
    return base if Interval.H1.us % base.us else Interval.H1


def _day_ends(panel: BarPanel, since: datetime) -> list[int]:
    """Return the rows of `panel` that close a UTC day after `since`."""
    days = panel.closed_at.astype("datetime64[D]")
    is_end = (panel.closed_at == days) & (days > np.datetime64(since.replace(tzinfo=None), "us"))
    return [int(row) for row in np.flatnonzero(is_end)]


def _states(reader: Reader, account: SystemAccount, since: datetime) -> Accounts:
    """Return what the baselines held at the end of the stored day `since`; all of them in cash at the opening."""
    rows = reader.query(
        "select subject, state from desk.system_baselines where closed_at_utc = $since and state is not null",
        since=since,
    )
    states = dict(rows.iter_rows())
    if not states:
        return open_accounts(len(BASELINES), len(account.symbols), account.cash_usd)
    return Accounts.from_rows([json.loads(states[name]) for name in BASELINES])


def _baseline_days(
    panel: BarPanel, opening: int, ends: list[int], accounts: Accounts, rules: Rules, seed: int
) -> Iterator[dict[str, Any]]:
    """Run all baselines on from `accounts`, day by day; the first decision of all is at row `opening`."""
    tables = np.stack([table(panel, opening, len(panel), seed) for table in BASELINES.values()], axis=1)
    policy = table_policy(panel, opening, tables)
    rules = rules.without_protection()
    before = max(opening, ends[0] - panel.interval.per_day)
    for end in ends:
        # Where the first decision is at a day's end, that day is one of cash.
        episode = run(policy, panel, before, end + 1, rules, accounts=accounts) if end > before else None
        accounts = episode.final if episode else accounts
        values = episode.equity_usd[-1].tolist() if episode else accounts.cash_usd.tolist()
        for n, (name, state) in enumerate(zip(BASELINES, accounts.to_rows(), strict=True)):
            activity = episode.activity(n) if episode else Activity()
            yield _row(panel, end, name, values[n], activity, json.dumps(state))
        before = end


def _buy_and_hold_days(panel: BarPanel, opening: int, ends: list[int], cash_usd: float) -> Iterator[dict[str, Any]]:
    """Equal parts of all symbols bought at the first decision's close, without costs, and never touched again."""
    for end in ends:
        growth = float((panel.close[end] / panel.close[opening]).mean())
        yield _row(panel, end, BUY_AND_HOLD, cash_usd * growth, Activity(exposure_frac=1.0))


def _row(
    panel: BarPanel, end: int, subject: str, value_usd: float, activity: Activity, state: str | None = None
) -> dict[str, Any]:
    figures = asdict(activity)
    figures["trade_pnls"] = figures.pop("trade_pnls_usd").tolist()
    end_utc = as_datetime(panel.closed_at[end])
    return {"closed_at_utc": end_utc, "subject": subject, "value_usd": value_usd, **figures, "state": state}


def _system_days(reader: Reader, account: SystemAccount, since: datetime, until: datetime) -> Iterator[dict[str, Any]]:
    """Sum up the account's bars and fills by day; a bar counts in the day's exposure for as long as it lasted."""
    days = reader.query(
        """
        with bars as (
            select
                *,
                date_trunc('day', closed_at_utc - interval 1 microsecond) + interval 1 day as ends_at_utc,
                lag(value_usd, 1, $cash_usd) over (order by closed_at_utc) as value_before_usd,
                epoch_us(closed_at_utc + length) - epoch_us(closed_at_utc) as length_us
            from desk.system_equity
            left join market.intervals using (interval)
        ),

        fills as (
            select
                date_trunc('day', filled_at_utc) + interval 1 day as ends_at_utc,
                count(*) as n_fills,
                list(realized_pnl_usd order by filled_at_utc, symbol) filter (units < 0) as trade_pnls
            from desk.system_fills
            group by ends_at_utc
        ),

        days as (
            select
                ends_at_utc,
                arg_max(value_usd, closed_at_utc) as value_usd,
                -- What no bar covers was spent in cash; the first day begins with the opening.
                coalesce(sum(exposure_frac * length_us), 0)
                    / (epoch_us(ends_at_utc) - epoch_us(greatest(ends_at_utc - interval 1 day, $opened_at)))
                    as exposure_frac,
                sum(fee_usd) as fees_usd,
                sum(slippage_usd) as slippage_usd,
                sum(turnover_usd / value_before_usd) as turnover_frac
            from bars
            where ends_at_utc > $since and ends_at_utc <= $until
            group by ends_at_utc
        )

        select
            days.ends_at_utc as closed_at_utc,
            'system' as subject,
            days.value_usd,
            days.exposure_frac,
            days.fees_usd,
            days.slippage_usd,
            days.turnover_frac,
            coalesce(fills.n_fills, 0) as n_fills,
            coalesce(fills.trade_pnls, []) as trade_pnls
        from days
        left join fills using (ends_at_utc)
        order by closed_at_utc
        """,
        cash_usd=account.cash_usd,
        opened_at=account.opened_at,
        since=since,
        until=until,
    )
    yield from days.iter_rows(named=True)
