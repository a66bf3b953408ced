"""The gates of real money as the warehouse keeps them: paper figures, confirmations, and what follows from both.

Real money moves only when all of it holds: profile `live`, `live.enabled`, a model that the green light put into stage
live, and the operator's confirmation of this very account and capital step. Whatever is missing or no number closes
the gate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from cappuccino.clock import require_utc
from cappuccino.errors import DataError, StageError
from cappuccino.market.interval import Interval
from cappuccino.portfolio.measures import measure
from cappuccino.registry.capital import Confirmation, Value, capital_usd, reasons_against, standing
from cappuccino.registry.green_light import PaperFigures, green_light
from cappuccino.registry.identity import ModelId
from cappuccino.registry.record import read_book
from cappuccino.registry.stages import Decision, Stage, StageBook
from cappuccino.settings import Settings
from cappuccino.store.warehouse import Reader, Warehouse

BROKER = "coinbase"
"""The one venue where real money is traded."""
TABLE = "promotion.live_confirmations"
MAX_AGE_BARS = 2
"""Bars after which the newest paper value is too old to promote on."""


@dataclass(frozen=True)
class Permission:
    """Real money may be traded: by whom, and with how much."""

    model: ModelId
    capital_usd: float


def live_permission(reader: Reader, settings: Settings, now: datetime, account_id: str) -> Permission | list[str]:
    """Return who may trade real money on an account and with how much, or every reason why nobody may.

    Raises WarehouseError when the warehouse cannot be read, StageError when its record of decisions is damaged: who may
    trade is unknown then, and nobody is sold out for it.
    """
    closed = switch_reasons(settings)
    try:
        book = read_book(reader)
    except (StageError, DataError, ValueError) as error:
        raise StageError(f"the record of decisions is damaged: {error}") from error
    closed += live_reasons(book, settings)
    held = held_confirmation(reader, book, account_id)
    if held is None:
        closed.append(f"confirmation: the operator has confirmed no capital on account {account_id or 'unknown'}")
        return closed
    closed += _step_reasons(held, settings, now)
    return closed or Permission(held.model, _capital(held, settings))


def switch_reasons(settings: Settings) -> list[str]:
    """Return why the configuration keeps real money out."""
    gates = [
        (settings.profile == "live", f"profile: it is {settings.profile}, not live"),
        (settings.live.enabled is True, "switch: live.enabled is false"),
        (not settings.is_simulated, "market: market.source is simulated"),
    ]
    return [failed for passed, failed in gates if not passed]


def live_reasons(book: StageBook, settings: Settings) -> list[str]:
    """Return why the model in stage live may not trade: there is none, or what put it there was no green light."""
    if book.live is None:
        return ["model: none is live"]
    decision = book.latest[book.live]
    if decision.from_stage is not Stage.PRODUCTION or decision.decided_by != "operator":
        return [f"model: {book.live} did not come from production by the operator's decision"]
    figures = decided_figures(decision)
    if figures is None:
        return [f"model: the decision that put {book.live} live has not the figures of a green light"]
    return [f"green light of {book.live}: {failed}" for failed in green_light(figures, settings.live)]


def decided_figures(decision: Decision) -> PaperFigures | None:
    """Return the figures that a decision was made on; None when one is missing or no number."""
    found = {name: decision.figures.get(name, math.nan) for name in PaperFigures.__dataclass_fields__}
    if not all(math.isfinite(value) for value in found.values()):
        return None
    errors, simulated = found.pop("n_critical_errors"), found.pop("is_simulated")
    return PaperFigures(**found, n_critical_errors=math.ceil(errors), is_simulated=simulated != 0)


def held_confirmation(reader: Reader, book: StageBook, account_id: str) -> Confirmation | None:
    """Return the confirmation that holds for the model that is live, on that account; None without one."""
    if book.live is None or not account_id:
        return None
    return standing(read_confirmations(reader), book.live, BROKER, account_id, book.since(book.live))


def confirmation_reasons(
    reader: Reader, book: StageBook, settings: Settings, now: datetime, account_id: str, step: int
) -> list[str]:
    """Return why `step` may not be confirmed on an account now; empty when it may."""
    closed = [*switch_reasons(settings), *live_reasons(book, settings)]
    if book.live is None or not account_id:
        return closed
    held = held_confirmation(reader, book, account_id)
    values = read_live_values(reader, book.live, held.confirmed_at, now) if held else []
    return [*closed, *reasons_against(step, held, values, now, settings.live)]


def revocations(reader: Reader, account_id: str | None, now: datetime, reason: str) -> list[Confirmation]:
    """Return what takes back every confirmation that was not taken back yet, of one account or of all."""
    newest = {(each.broker, each.account_id): each for each in read_confirmations(reader)}
    return [
        replace(each, step=0, capital_usd=0.0, reason=reason, confirmed_at=now)
        for each in newest.values()
        if each.step > 0 and account_id in (None, each.account_id)
    ]


def _step_reasons(held: Confirmation, settings: Settings, now: datetime) -> list[str]:
    closed = []
    if capital_usd(held.step, settings.live) is None:
        closed.append(f"confirmation: live.capital_steps_usd has no step {held.step} any more")
    if not (math.isfinite(held.capital_usd) and held.capital_usd > 0):
        closed.append(f"confirmation: a capital of {held.capital_usd} USD was confirmed")
    if held.confirmed_at > now:
        closed.append(f"confirmation: it is of {held.confirmed_at:%F %R} UTC, which is still to come")
    return closed


def _capital(held: Confirmation, settings: Settings) -> float:
    """Return the money of a step: a lower setting counts at once, a higher one has to be confirmed."""
    return min(held.capital_usd, capital_usd(held.step, settings.live) or 0.0)


def read_confirmations(reader: Reader) -> list[Confirmation]:
    """Return all confirmations and revocations in the order of their making."""
    rows = reader.query(f"select * from {TABLE} order by sequence")
    return [
        Confirmation(
            broker=row["broker"],
            account_id=row["account_id"],
            step=row["step"],
            capital_usd=row["capital_usd"],
            model=ModelId(row["study"], row["trial"]),
            reason=row["reason"],
            confirmed_at=require_utc(row["confirmed_at_utc"]),
        )
        for row in rows.iter_rows(named=True)
    ]


def append_confirmation(warehouse: Warehouse, confirmation: Confirmation) -> None:
    """Store the operator's word; raises StageError when no reason is given or nobody is live any more."""
    if not confirmation.reason.strip():
        raise StageError("a confirmation needs a reason; say why")
    with warehouse.write() as writer:
        if confirmation.step and read_book(writer).live != confirmation.model:
            raise StageError(f"{confirmation.model} is not live any more; nothing was confirmed")
        newest = writer.one(f"select coalesce(max(sequence), 0) from {TABLE}")
        assert newest is not None  # an aggregate has a row
        writer.append(TABLE, pl.DataFrame([_row(newest[0] + 1, confirmation)]))


def _row(sequence: int, confirmation: Confirmation) -> dict[str, Any]:
    return {
        "sequence": sequence,
        "broker": confirmation.broker,
        "account_id": confirmation.account_id,
        "step": confirmation.step,
        "capital_usd": float(confirmation.capital_usd),
        "study": confirmation.model.study,
        "trial": confirmation.model.trial,
        "reason": confirmation.reason,
        "decided_by": "operator",
        "confirmed_at_utc": require_utc(confirmation.confirmed_at),
    }


def read_live_values(reader: Reader, model: ModelId, since: datetime, now: datetime) -> list[Value]:
    """Return what the live account of `model` was worth at each bar's close in (since, now]."""
    rows = reader.query(
        """
        select closed_at_utc, value_usd from desk.equity
        where study = $study and trial = $trial and stage = 'live'
            and closed_at_utc > $since and closed_at_utc <= $now
        order by closed_at_utc
        """,
        study=model.study,
        trial=model.trial,
        since=since,
        now=now,
    )
    return [Value(require_utc(at), usd) for at, usd in rows.iter_rows()]


def read_paper_figures(reader: Reader, settings: Settings, now: datetime) -> PaperFigures:
    """Return what the model in production did on paper over the newest `live.window_days`, as far as it has been there.

    Raises StageError when production is empty, has no record, or an old one.
    """
    book = read_book(reader)
    if book.production is None:
        raise StageError("no model is in production; nothing can go live")
    model = book.production
    made_of = reader.one(
        "select interval, is_simulated from promotion.production where study = $study and trial = $trial",
        study=model.study,
        trial=model.trial,
    )
    if made_of is None:
        raise StageError(f"{model} is in production, but nothing says what it was trained on")
    interval = Interval(made_of[0])
    record = _paper_record(reader, model, book.since(model), now)
    start = _window(record, interval, settings, now)
    return _figures(
        record.slice(start),
        interval,
        _critical_errors(reader, record["at_utc"][start], now),
        made_of[1] or settings.is_simulated,
    )


def _paper_record(reader: Reader, model: ModelId, since: datetime, now: datetime) -> pl.DataFrame:
    """Return value and benchmark of the account since it came to production, the one before that included."""
    return reader.query(
        """
        with account as (
            select opened_at_utc, cash_usd from desk.accounts where study = $study and trial = $trial
        ),

        record as (
            select opened_at_utc as at_utc, cash_usd as value_usd, cash_usd as benchmark_usd from account
            union all
            select desk.equity.closed_at_utc, desk.equity.value_usd, desk.equity.benchmark_usd
            from desk.equity
            inner join account on desk.equity.closed_at_utc > account.opened_at_utc
            where study = $study and trial = $trial and stage <> 'live'
        )

        select * from record
        where at_utc <= $now and at_utc >= (select coalesce(max(at_utc), $since) from record where at_utc <= $since)
        order by at_utc
        """,
        study=model.study,
        trial=model.trial,
        since=since,
        now=now,
    )


def _window(record: pl.DataFrame, interval: Interval, settings: Settings, now: datetime) -> int:
    """Return the row of `record` that the window begins with."""
    if len(record) < 2:
        raise StageError("the model in production has not traded a bar on paper yet")
    newest = record["at_utc"][-1]
    oldest = now - MAX_AGE_BARS * interval.duration - timedelta(minutes=settings.market.grace_minutes)
    if newest < oldest:
        raise StageError(
            f"the newest paper value is of {newest:%F %R} UTC, too old to go live on; let production trade"
        )
    before = record.filter(pl.col("at_utc") <= newest - timedelta(days=settings.live.window_days))
    return max(len(before) - 1, 0)


def _figures(window: pl.DataFrame, interval: Interval, n_critical_errors: int, is_simulated: bool) -> PaperFigures:
    values, benchmark = window["value_usd"].to_numpy(), window["benchmark_usd"].to_numpy()
    if not (np.isfinite(values).all() and np.isfinite(benchmark).all() and min(values.min(), benchmark.min()) > 0):
        raise StageError("the paper record has a value that is no positive number; nothing goes live on it")
    measured = measure(values[1:] / values[:-1] - 1.0, benchmark[1:] / benchmark[:-1] - 1.0, interval)
    return PaperFigures(
        days=(window["at_utc"][-1] - window["at_utc"][0]) / timedelta(days=1),
        alpha_frac=measured.alpha_frac,
        sharpe_annualized=measured.sharpe_annualized,
        max_drawdown_frac=measured.max_drawdown_frac,
        n_critical_errors=n_critical_errors,
        is_simulated=is_simulated,
    )


def _critical_errors(reader: Reader, since: datetime, now: datetime) -> int:
    """Return the critical alerts of the trader in the time that is judged."""
    found = reader.one(
        """
        select count(*) from desk.alerts
        where severity = 'critical' and not is_resolved and at_utc > $since and at_utc <= $now
        """,
        since=since,
        now=now,
    )
    return int(found[0]) if found else 0
