from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from cappuccino.errors import ContractError, DataError, StageError
from cappuccino.market.panel import as_datetime64
from cappuccino.registry import moves
from cappuccino.registry.identity import ModelId
from cappuccino.registry.record import append_decisions, decide, judge_sandbox, read_book, read_tracks
from cappuccino.registry.stages import Decision, Stage, StageBook
from cappuccino.settings import SandboxSettings
from cappuccino.store.warehouse import Warehouse

START = datetime(2025, 6, 1, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
A, B, C = (ModelId("s", n) for n in range(3))
TIME = pl.Datetime("us", "UTC")


def record(warehouse: Warehouse, *steps: tuple[object, ModelId], now: datetime = START) -> StageBook:
    """Let the operator do `steps`, each in a transaction of its own."""
    for move, model in steps:
        decide(warehouse, lambda book, move=move, model=model: move(book, model, now, "tried"))
    with warehouse.read() as reader:
        return read_book(reader)


def to_sandbox(warehouse: Warehouse, model: ModelId, now: datetime = START) -> None:
    record(warehouse, (moves.enter, model), (moves.promote, model), now=now)


def trade(warehouse: Warehouse, model: ModelId, opened: datetime, values: list[float], cash_usd: float = 100.0) -> None:
    """Store an account with one value an hour after `opened`, and a bar of before it."""
    keys = {"study": model.study, "trial": model.trial}
    account = {"opened_at_utc": opened, "traded_until_utc": opened + len(values) * HOUR, "cash_usd": cash_usd}
    zeros = dict.fromkeys(("benchmark_usd", "exposure_frac", "fee_usd", "slippage_usd", "turnover_usd"), 0.0)
    bars = [
        {**keys, "closed_at_utc": opened + n * HOUR, "stage": "sandbox", "value_usd": value, **zeros, "rules": 0}
        for n, value in enumerate([7.0, *values])
    ]
    with warehouse.write() as writer:
        writer.upsert("desk.accounts", pl.DataFrame([{**keys, **account, "state": "{}"}]))
        writer.upsert("desk.equity", pl.DataFrame(bars))


def test_decisions_come_back_as_they_were_made(new_warehouse: Warehouse) -> None:
    figures = {"return_frac": 0.1 + 0.2, "days": 2.0}
    made = decide(new_warehouse, lambda book: moves.enter(book, A, START, "it's new", figures, "rule"))
    made += decide(new_warehouse, lambda book: moves.promote(book, A, START + HOUR, "won"))
    with new_warehouse.read() as reader:
        book = read_book(reader)
    assert book.decisions == made
    assert book.decisions[0].figures == figures
    assert book == StageBook().apply(*made)


def test_no_decision_is_no_row(new_warehouse: Warehouse) -> None:
    assert decide(new_warehouse, lambda book: ()) == ()
    assert record(new_warehouse) == StageBook()


def test_an_illegal_decision_records_nothing(new_warehouse: Warehouse) -> None:
    before = record(new_warehouse, (moves.enter, A))
    with pytest.raises(StageError, match="no model has given up production"):
        decide(new_warehouse, lambda book: moves.rollback(book, START, "tried"))
    with pytest.raises(DataError, match="is no number"):
        record(new_warehouse, (lambda book, *why: moves.promote(book, *why, {"x": float("nan")}), A))
    assert record(new_warehouse) == before


def test_who_decided_on_an_older_book_is_refused(new_warehouse: Warehouse) -> None:
    stale = record(new_warehouse, (moves.enter, A))
    record(new_warehouse, (moves.promote, A))
    late = moves.retire(stale, A, START, "too late")
    with pytest.raises(ContractError), new_warehouse.write() as writer:
        append_decisions(writer, late)
    assert record(new_warehouse).stage(A) is Stage.SANDBOX


def test_a_record_that_was_tampered_with_is_no_history(new_warehouse: Warehouse) -> None:
    record(new_warehouse, (moves.enter, A), (moves.promote, A))
    with new_warehouse.write() as writer:
        writer.execute("delete from promotion.decisions where sequence = 1")
    with new_warehouse.read() as reader, pytest.raises(StageError, match="comes where 1 is due"):
        read_book(reader)


def test_both_halves_of_a_replacement_are_stored_together(new_warehouse: Warehouse) -> None:
    to_sandbox(new_warehouse, A)
    record(new_warehouse, (moves.promote, A))
    to_sandbox(new_warehouse, B)
    halves: tuple[Decision, ...] = ()

    def half(book: StageBook) -> tuple[Decision, ...]:
        nonlocal halves
        halves = moves.promote(book, B, START, "better")
        return (halves[0], replace(halves[1], sequence=1))

    before = record(new_warehouse)
    with pytest.raises(ContractError):
        decide(new_warehouse, half)
    assert record(new_warehouse) == before
    decide(new_warehouse, lambda book: halves)
    assert record(new_warehouse).production == B


def test_a_track_begins_with_the_cash_and_holds_the_account_s_own_bars_until_now(new_warehouse: Warehouse) -> None:
    trade(new_warehouse, A, START, [101.0, 103.0, 102.0])
    trade(new_warehouse, B, START + HOUR, [50.0], cash_usd=49.0)
    with new_warehouse.read() as reader:
        tracks = read_tracks(reader, START + 2 * HOUR)
    assert set(tracks) == {A, B}
    assert tracks[A].value_usd.tolist() == [100.0, 101.0, 103.0]
    assert tracks[A].at.tolist() == [as_datetime64(START + n * HOUR).item() for n in range(3)]
    assert tracks[B].value_usd.tolist() == [49.0, 50.0]


def test_an_account_that_was_opened_again_has_a_track_of_its_new_life_only(new_warehouse: Warehouse) -> None:
    trade(new_warehouse, A, START, [80.0, 60.0])
    trade(new_warehouse, A, START + 5 * HOUR, [110.0])
    with new_warehouse.read() as reader:
        track = read_tracks(reader, START + DAY)[A]
    assert track.value_usd.tolist() == [100.0, 110.0]
    assert track.return_between(as_datetime64(START + 5 * HOUR), as_datetime64(START + DAY)) == pytest.approx(0.1)


def test_the_sandbox_is_judged_by_what_the_warehouse_holds(new_warehouse: Warehouse) -> None:
    for model, growth in ((A, 1.0), (B, 2.0), (C, -1.0)):
        to_sandbox(new_warehouse, model)
        trade(new_warehouse, model, START, list(100.0 + growth * np.arange(1, 49) / 48))
    settings = SandboxSettings(days=2)
    assert judge_sandbox(new_warehouse, settings, START + 2 * DAY - HOUR) == ()
    made = judge_sandbox(new_warehouse, settings, START + 2 * DAY)
    assert [(d.model, d.to_stage) for d in made] == [
        (B, Stage.PRODUCTION),
        (A, Stage.RETIRED),
        (C, Stage.RETIRED),
    ]
    assert made[0].figures["return_frac"] == pytest.approx(0.02)
    assert record(new_warehouse).decisions[-3:] == made
    assert judge_sandbox(new_warehouse, settings, START + 2 * DAY) == ()


def test_bars_after_the_moment_of_judgement_do_not_count(new_warehouse: Warehouse) -> None:
    for model, last in ((A, 1_000.0), (B, 1.0)):
        to_sandbox(new_warehouse, model)
        ahead = 101.0 if model == B else 100.0
        trade(new_warehouse, model, START, [ahead] * 48 + [last])
    made = judge_sandbox(new_warehouse, SandboxSettings(days=2), START + 2 * DAY)
    assert made[0].model == B
