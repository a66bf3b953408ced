"""How far a day of trading is from its replay: the same decisions made again, and the day traded again in the engine.

    day          00:00 ............................. 24:00
    decisions      d     d     d     d     d     d          each from its stored state: the same targets?
    replay         |--->----->----->----->----->---->|      from the first one's state, by the engine: the same value?

What trading decided on came from a feed, at the quotes of the moment and a venue's fills; the replay knows the
warehouse's bars and the cost model. A day is looked at once, when its bars are known and it is over for a while.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import torch

from cappuccino.arena.candidate import Candidate, load_candidate
from cappuccino.errors import ArtifactError, DataError
from cappuccino.market.panel import BarPanel, FloatArray, as_datetime64
from cappuccino.portfolio.account import Accounts
from cappuccino.registry.identity import ModelId
from cappuccino.risk.rules import Rules
from cappuccino.settings import Settings
from cappuccino.store.warehouse import Reader, Warehouse
from cappuccino.trading.ledger_frames import TIME
from cappuccino.validation.evaluate import EpisodeResult, Policy, run

SETTLED = timedelta(hours=1)
"""So long after its end a day is looked at: the trader has valued its last bar by then."""
NOTICEABLE_FRAC = 0.01
SAME = 1e-6
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Day:
    """What one account did under one model on one UTC day."""

    account: str
    model: ModelId
    day: date
    decisions: pl.DataFrame
    """At bars' closes, in their order: closed_at_utc, state, targets."""
    values: pl.DataFrame
    """Of the account at the closes after its first decision, in their order: closed_at_utc, value_usd."""
    n_fills: int

    @property
    def end(self) -> datetime:
        return datetime.combine(self.day + _DAY, datetime.min.time(), tzinfo=self.begun_at.tzinfo)

    @property
    def begun_at(self) -> datetime:
        """Close of the first decision."""
        first: datetime = self.decisions["closed_at_utc"][0]
        return first


@dataclass(frozen=True)
class Figures:
    """What a replay found; None where it could not be told."""

    equal_frac: float | None = None
    max_difference_frac: float | None = None
    mean_difference_frac: float | None = None
    to_utc: datetime | None = None
    value_usd: float | None = None
    replayed_usd: float | None = None
    drift_frac: float | None = None
    n_replayed_fills: int | None = None


def measure_drift(warehouse: Warehouse, settings: Settings, now: datetime) -> pl.DataFrame:
    """Store and return the drift of every account's days that are over at `now` and were not looked at yet.

    A day whose bars the warehouse has not got yet waits for them. What cannot be replayed, as where a model's files are
    gone, is stored with the reason.
    """
    with warehouse.read() as reader:
        days = list(_new_days(reader, now))
    models = {model: _candidate(settings, model) for model in {day.model for day in days}}
    with warehouse.read() as reader:
        rules = Rules.of(settings.risk, settings.costs)
        known = [(day, models[day.model], _panel(reader, day, models[day.model], rules)) for day in days]
    rows = [
        _row(day, *_found(day, candidate, panel, rules))
        for day, candidate, panel in known
        if panel is not None or isinstance(candidate, str)
    ]
    frame = pl.DataFrame(rows, schema=_SCHEMA)
    if len(frame):
        with warehouse.write() as writer:
            writer.upsert("desk.drift", frame)
    return frame


def decided_again(policy: Policy, panel: BarPanel, day: Day) -> FloatArray:
    """Return (D, A) differences of the target weights: those of each decision less those made again from its state."""
    differences = []
    for closed_at, state, targets in day.decisions.iter_rows():
        t = _row_of(panel, closed_at)
        account = Accounts.from_rows([json.loads(state)])
        found = json.loads(targets)
        again = policy(t, account)[0].double().numpy()
        differences.append(np.array([found[symbol] for symbol in panel.symbols]) - again)
    return np.array(differences)


def replayed(policy: Policy, panel: BarPanel, day: Day, rules: Rules) -> EpisodeResult | None:
    """Return the day traded again, from its first decision to its last valued bar; None when no bar was valued."""
    if day.values.is_empty():
        return None
    start, last = _row_of(panel, day.begun_at), _row_of(panel, day.values["closed_at_utc"][-1])
    account = Accounts.from_rows([json.loads(day.decisions["state"][0])])
    return run(policy, panel, start, last + 1, rules, accounts=account)


def _found(day: Day, candidate: Candidate | str, panel: BarPanel | None, rules: Rules) -> tuple[Figures, str]:
    """Return the figures of a day and what is to be said of them."""
    if isinstance(candidate, str) or panel is None:
        return Figures(), str(candidate)
    try:
        figures = _figures(day, candidate, panel, rules)
    except (DataError, ArtifactError, KeyError) as error:
        return Figures(), f"the day cannot be replayed: {error}"
    return figures, _message(day, figures)


def _row(day: Day, figures: Figures, message: str) -> dict[str, Any]:
    return {
        "account": day.account,
        "study": day.model.study,
        "trial": day.model.trial,
        "day": day.day,
        "n_decisions": len(day.decisions),
        "from_utc": day.begun_at,
        "n_fills": day.n_fills,
        "message": message,
        **asdict(figures),
    }


@torch.no_grad()
def _figures(day: Day, candidate: Candidate, panel: BarPanel, rules: Rules) -> Figures:
    policy = candidate.policy(panel)
    differences = np.abs(decided_again(policy, panel, day))
    again = replayed(policy, panel, day, rules)
    figures = Figures(
        equal_frac=float((differences <= SAME).all(axis=1).mean()),
        max_difference_frac=float(differences.max()),
        mean_difference_frac=float(differences.mean()),
    )
    if again is None:
        return figures
    value_usd, replayed_usd = float(day.values["value_usd"][-1]), float(again.equity_usd[-1, 0])
    return replace(
        figures,
        to_utc=day.values["closed_at_utc"][-1],
        value_usd=value_usd,
        replayed_usd=replayed_usd,
        drift_frac=value_usd / replayed_usd - 1.0,
        n_replayed_fills=int(np.count_nonzero(again.units)),
    )


def _message(day: Day, figures: Figures) -> str:
    if figures.drift_frac is None:
        return "no bar was valued after the day's first decision"
    if abs(figures.drift_frac) <= NOTICEABLE_FRAC:
        return ""
    assert figures.equal_frac is not None
    n_other = round((1.0 - figures.equal_frac) * len(day.decisions))
    return (
        f"{day.account} was worth {figures.value_usd:,.2f} USD at the end of {day.day}, its replay "
        f"{figures.replayed_usd:,.2f} ({figures.drift_frac:+.2%}); {n_other} of {len(day.decisions)} decisions are "
        f"others when they are made again, and {day.n_fills} orders were filled where the replay fills "
        f"{figures.n_replayed_fills}"
    )


def _new_days(reader: Reader, now: datetime) -> Iterator[Day]:
    """Yield the days with decisions that are over and have no row yet, the oldest first."""
    found = reader.query(
        """
        with decided as (
            select *, closed_at_utc::date as day from desk.decisions
            where kind = 'bar' and targets is not null
        )
        select distinct account, study, trial, day
        from decided
        anti join desk.drift using (account, study, trial, day)
        where day + interval 1 day <= $over_at
        order by day, account, study, trial
        """,
        over_at=now - SETTLED,
    )
    for row in found.iter_rows(named=True):
        yield _day(reader, ModelId(row["study"], row["trial"]), row)


def _day(reader: Reader, model: ModelId, row: dict[str, Any]) -> Day:
    where = {key: row[key] for key in ("account", "study", "trial", "day")}
    decisions = reader.query(
        """
        select closed_at_utc, state, targets from desk.decisions
        where account = $account and study = $study and trial = $trial and closed_at_utc::date = $day
            and kind = 'bar' and targets is not null
        order by closed_at_utc
        """,
        **where,
    )
    span = {"account": row["account"], "begun_at": decisions["closed_at_utc"][0], "day": row["day"]}
    values = reader.query(
        """
        select closed_at_utc, value_usd from desk.trader_equity
        where account = $account and closed_at_utc > $begun_at and closed_at_utc <= $day + interval 1 day
        order by closed_at_utc
        """,
        **span,
    )
    n_fills = reader.one(
        """
        select count(distinct client_id) from desk.order_fills
        where account = $account and filled_at_utc > $begun_at and filled_at_utc <= $day + interval 1 day
        """,
        **span,
    )
    assert n_fills is not None
    return Day(row["account"], model, row["day"], decisions, values, n_fills[0])


def _candidate(settings: Settings, model: ModelId) -> Candidate | str:
    """Return the model, or why it cannot be loaded."""
    try:
        return load_candidate(settings.artifacts, model)
    except ArtifactError as error:
        return f"the model cannot be loaded: {error}"


def _panel(reader: Reader, day: Day, candidate: Candidate | str, rules: Rules) -> BarPanel | None:
    """Return the bars that the day needs; None while the warehouse has not got all of them."""
    if isinstance(candidate, str):
        return None
    n_before = max(candidate.history_bars, rules.history_bars(candidate.interval)) + 1
    start = day.begun_at - n_before * candidate.interval.duration
    try:
        panel = candidate.market.panel(reader, day.end, start)
    except DataError:
        return None
    return panel if panel.closed_at[-1] >= as_datetime64(candidate.interval.floor(day.end)) else None


def _row_of(panel: BarPanel, closed_at: datetime) -> int:
    """Return the row that closes at `closed_at`; raises DataError when there is none."""
    row = int(np.searchsorted(panel.closed_at, as_datetime64(closed_at)))
    if row == len(panel) or panel.closed_at[row] != as_datetime64(closed_at):
        raise DataError(f"no bar of the warehouse closes at {closed_at:%F %R} UTC, which was decided on")
    return row


_SCHEMA = {
    "account": pl.String(),
    "study": pl.String(),
    "trial": pl.Int64(),
    "day": pl.Date(),
    "n_decisions": pl.Int64(),
    "equal_frac": pl.Float64(),
    "max_difference_frac": pl.Float64(),
    "mean_difference_frac": pl.Float64(),
    "from_utc": TIME,
    "to_utc": TIME,
    "value_usd": pl.Float64(),
    "replayed_usd": pl.Float64(),
    "drift_frac": pl.Float64(),
    "n_fills": pl.Int64(),
    "n_replayed_fills": pl.Int64(),
    "message": pl.String(),
}
