"""The views that people read say the same as the objects that decide."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cappuccino.arena.record import read_matches, store_round
from cappuccino.arena.result import MatchResult, Pairing, WindowScore
from cappuccino.arena.season import ladder_of, season
from cappuccino.errors import StageError
from cappuccino.registry import moves
from cappuccino.registry.identity import ModelId
from cappuccino.registry.record import append_decisions, read_book
from cappuccino.registry.stages import Stage, StageBook
from cappuccino.store.schema import SQL_DIR, Schema
from cappuccino.store.warehouse import Warehouse, Writer
from tests.unit.small_lab import vetted

NOW = datetime(2025, 6, 1, tzinfo=UTC)
MODELS = [ModelId(study, n) for study in ("a", "b") for n in range(4)]
MOVES = [moves.promote, moves.demote, moves.retire]


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory):
    """One open transaction for all examples: each begins by emptying the tables."""
    warehouse = Warehouse(Path(tmp_path_factory.mktemp("views")) / "w.duckdb")
    warehouse.migrate(Schema.load(SQL_DIR))
    with warehouse.write() as opened:
        yield opened


def emptied(writer: Writer) -> Writer:
    for table in ("promotion.decisions", "arena.matches"):
        writer.execute(f"delete from {table}")
    return writer


tries = st.lists(
    st.one_of(
        st.tuples(st.sampled_from([*MOVES, moves.enter]), st.sampled_from(MODELS)),
        st.sampled_from(["rollback", "live"]),
    ),
    max_size=50,
)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(tries, st.lists(st.integers(0, 5), min_size=50, max_size=50))
def test_promotion_stages_is_the_stage_book(writer: Writer, tried: list, waits: list[int]) -> None:
    emptied(writer)
    book, now = StageBook(), NOW
    for model in MODELS[:4]:
        book = book.apply(*moves.enter(book, model, now, "candidate"))
    append_decisions(writer, book.decisions)
    for number, (one, wait) in enumerate(zip(tried, waits, strict=False)):
        now += timedelta(minutes=wait)
        try:
            if one == "rollback":
                made = moves.rollback(book, now, f"reason {number}")
            elif one == "live":
                made = moves.promote_to_live(book, now, f"reason {number}", {})
            else:
                made = one[0](book, one[1], now, f"reason {number}")
        except StageError:
            continue
        book = book.apply(*made)
        append_decisions(writer, made)
    assert read_book(writer) == book
    rows = writer.query("from promotion.stages").iter_rows(named=True)
    shown = {ModelId(r["study"], r["trial"]): r for r in rows}
    assert shown.keys() == book.latest.keys()
    for model, last in book.latest.items():
        row = shown[model]
        assert (row["stage"], row["from_stage"]) == (last.to_stage.value, last.from_stage and last.from_stage.value)
        assert (row["since_utc"], row["reason"], row["sequence"]) == (last.decided_at_utc, last.reason, last.sequence)


def outcome(pairing: Pairing, luck: dict[ModelId, int]) -> MatchResult:
    """A match that the luckier one wins; equal luck is a draw."""
    a, b = float(luck[pairing.champion]), float(luck[pairing.challenger])
    return MatchResult(pairing, "log_return", (WindowScore(NOW, NOW + timedelta(days=1), a, b),), NOW)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    st.lists(st.integers(0, 9), min_size=8, max_size=8),
    st.integers(1, 4),
    st.lists(
        st.one_of(
            st.tuples(st.just("enter"), st.integers(1, 3)),
            st.tuples(st.just("play"), st.integers(1, 4)),
            st.tuples(st.just("retire"), st.integers(0, 7)),
        ),
        max_size=12,
    ),
)
def test_arena_ladder_is_the_ladder(writer: Writer, lucks: list[int], streak: int, events: list) -> None:
    """Models enter, matches are played, the operator retires some: in any order, stopped anywhere."""
    emptied(writer)
    luck = dict(zip(MODELS, lucks, strict=True))
    coming = iter(MODELS)
    for what, n in events:
        book = read_book(writer)
        if what == "enter":
            for _, model in zip(range(n), coming, strict=False):
                made = moves.enter(book, model, NOW, "candidate")
                book = book.apply(*made)
                append_decisions(writer, made)
        elif what == "retire" and book.stage(MODELS[n]) is Stage.ARENA:
            append_decisions(writer, moves.retire(book, MODELS[n], NOW, "the operator says so"))
        elif what == "play":
            rounds = season(book, read_matches(writer), lambda p: outcome(p, luck), streak, NOW, vetted)
            for _, played in zip(range(n), rounds, strict=False):
                store_round(writer, played)
        check_ladder(writer, streak)


def check_ladder(writer: Writer, streak: int) -> None:
    ladder = ladder_of(read_book(writer), read_matches(writer), streak)
    rows = writer.query("from arena.ladder")
    shown = {ModelId.parse(row["model"]): row for row in rows.iter_rows(named=True)}
    states = dict.fromkeys(ladder.waiting, "waiting") | dict.fromkeys(ladder.eliminated, "eliminated")
    states |= dict.fromkeys(ladder.departed, "left") | ({ladder.champion: "champion"} if ladder.champion else {})
    assert {model: row["state"] for model, row in shown.items()} == states
    for model, match in ladder.eliminated.items():
        pair = {match.pairing.champion, match.pairing.challenger}
        assert {ModelId.parse(shown[model]["eliminated_by"])} == pair - {model}
    assert rows.filter(pl.col("state") != "eliminated")["eliminated_by"].null_count() == len(shown) - len(
        ladder.eliminated
    )
    if ladder.champion:
        assert shown[ladder.champion]["wins"] == len(ladder.beaten)
        assert rows["model"][0] == str(ladder.champion)
    assert [shown[model]["position"] for model in ladder.line] == sorted(
        shown[model]["position"] for model in ladder.line
    )
