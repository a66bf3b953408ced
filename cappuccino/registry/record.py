"""The decisions as the warehouse keeps them, and the tracks that verdicts compare."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import polars as pl

from cappuccino.registry.identity import ModelId
from cappuccino.registry.rows import book_of, decision_row
from cappuccino.registry.sandbox import Track, sandbox_verdicts
from cappuccino.registry.stages import Decision, StageBook
from cappuccino.settings import SandboxSettings
from cappuccino.store.warehouse import Reader, Warehouse, Writer

TABLE = "promotion.decisions"


def read_book(reader: Reader) -> StageBook:
    """Return all decisions so far; raises StageError when they are no legal history."""
    return book_of(reader.query(f"select * from {TABLE} order by sequence").iter_rows(named=True))


def append_decisions(writer: Writer, decisions: tuple[Decision, ...]) -> None:
    """Add `decisions`, made on the book that this writer sees."""
    if decisions:
        rows = pl.DataFrame(
            [decision_row(decision) for decision in decisions],
            schema_overrides={"from_stage": pl.String, "decided_at_utc": pl.Datetime("us", "UTC")},
        )
        writer.append(TABLE, rows)


def decide(warehouse: Warehouse, rule: Callable[[StageBook], tuple[Decision, ...]]) -> tuple[Decision, ...]:
    """Ask `rule` about the book as it stands and record what it decides, in one transaction.

    Raises StageError, and records nothing, when a decision is illegal.
    """
    with warehouse.write() as writer:
        decisions = rule(read_book(writer))
        append_decisions(writer, decisions)
    return decisions


def judge_sandbox(warehouse: Warehouse, settings: SandboxSettings, now: datetime) -> tuple[Decision, ...]:
    """Decide on every sandbox model whose time is over at `now`, and record the verdicts."""
    with warehouse.write() as writer:
        book = read_book(writer)
        decisions = sandbox_verdicts(book, read_tracks(writer, now), now, settings)
        append_decisions(writer, decisions)
    return decisions


def read_tracks(reader: Reader, now: datetime) -> dict[ModelId, Track]:
    """Return the value of every paper account that is open, from its opening to `now`."""
    rows = reader.query(
        """
        select study, trial, opened_at_utc as at_utc, cash_usd as value_usd from desk.accounts
        union all
        select desk.equity.study, desk.equity.trial, desk.equity.closed_at_utc, desk.equity.value_usd
        from desk.equity
        inner join desk.accounts
            on desk.accounts.study = desk.equity.study
            and desk.accounts.trial = desk.equity.trial
            and desk.equity.closed_at_utc > desk.accounts.opened_at_utc
        where desk.equity.closed_at_utc <= $now
        order by all
        """,
        now=now,
    )
    return {
        ModelId(study, trial): Track(
            track["at_utc"].dt.replace_time_zone(None).to_numpy().astype("datetime64[us]"),
            track["value_usd"].to_numpy(),
        )
        for (study, trial), track in rows.group_by("study", "trial", maintain_order=True)
    }
