from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from cappuccino.errors import DataError, StageError
from cappuccino.registry import moves
from cappuccino.registry.identity import ModelId
from cappuccino.registry.rows import book_of, decision_of, decision_row
from cappuccino.registry.stages import Action, Decision, Stage, StageBook, next_stage

NOW = datetime(2025, 6, 1, tzinfo=UTC)
A, B, C = (ModelId("s", n) for n in (1, 2, 3))


def entered(*models: ModelId) -> StageBook:
    book = StageBook()
    for model in models:
        book = book.apply(*moves.enter(book, model, NOW, "candidate"))
    return book


def promoted(book: StageBook, model: ModelId, times: int) -> StageBook:
    for _ in range(times):
        book = book.apply(*moves.promote(book, model, NOW, "won"))
    return book


def succession() -> StageBook:
    """A was in production, then B, now C."""
    book = entered(A, B, C)
    for model in (A, B, C):
        book = promoted(book, model, 2)
    return book


def test_a_model_climbs_from_arena_to_production() -> None:
    book = entered(A)
    assert book.stage(A) is Stage.ARENA
    book = promoted(book, A, 1)
    assert book.stage(A) is Stage.SANDBOX
    book = promoted(book, A, 1)
    assert (book.stage(A), book.production) == (Stage.PRODUCTION, A)
    assert [d.action for d in book.decisions] == ["enter", "promote", "promote"]


def test_a_model_that_never_entered_has_no_stage() -> None:
    assert StageBook().stage(A) is None
    with pytest.raises(StageError, match="has not entered"):
        StageBook().since(A)


def test_the_second_model_in_production_replaces_the_first_in_two_decisions() -> None:
    book = promoted(entered(A, B), A, 2)
    decisions = moves.promote(promoted(book, B, 1), B, NOW, "beats A", {"return_frac": 0.1})
    assert [(d.model, d.from_stage, d.to_stage, d.action) for d in decisions] == [
        (A, Stage.PRODUCTION, Stage.RETIRED, Action.REPLACE),
        (B, Stage.SANDBOX, Stage.PRODUCTION, Action.REPLACE),
    ]
    assert all(d.figures == {"return_frac": 0.1} for d in decisions)


def test_half_a_replacement_is_refused() -> None:
    book = promoted(promoted(entered(A, B), A, 2), B, 1)
    out, into = moves.promote(book, B, NOW, "beats A")
    with pytest.raises(StageError, match="for nobody"):
        book.apply(out)
    with pytest.raises(StageError, match=f"{A} is, and there is one place"):
        book.apply(replace(into, sequence=book.next_sequence))


def test_a_replacement_of_nobody_is_refused() -> None:
    book = promoted(entered(A), A, 1)
    (decision,) = moves.promote(book, A, NOW, "alone")
    with pytest.raises(StageError, match="replaces nobody"):
        book.apply(replace(decision, action=Action.REPLACE))


def test_rollback_goes_back_one_model_at_a_time() -> None:
    book = succession()
    assert (book.production, book.predecessor) == (C, B)
    book = book.apply(*moves.rollback(book, NOW, "C loses"))
    assert (book.production, book.stage(C), book.predecessor) == (B, Stage.RETIRED, A)
    book = book.apply(*moves.rollback(book, NOW, "B too"))
    assert (book.production, book.predecessor) == (A, None)
    with pytest.raises(StageError, match="nothing to roll back to"):
        moves.rollback(book, NOW, "and A")


def test_rollback_after_the_operator_retired_production_brings_the_one_before_it() -> None:
    book = succession()
    book = book.apply(*moves.retire(book, C, NOW, "its files are damaged"))
    assert book.production is None
    book = book.apply(*moves.rollback(book, NOW, "go on with the one before"))
    assert (book.production, book.predecessor) == (B, A)


def test_half_a_rollback_is_refused() -> None:
    book = succession()
    with pytest.raises(StageError, match="for nobody"):
        book.apply(moves.rollback(book, NOW, "C loses")[0])


def test_a_rollback_to_another_than_the_predecessor_is_refused() -> None:
    book = succession()
    out, into = moves.rollback(book, NOW, "C loses")
    with pytest.raises(StageError, match=f"cannot roll back to {A}: the predecessor in production is {B}"):
        book.apply(out, replace(into, model=A))


def test_production_can_be_sent_back_to_the_sandbox() -> None:
    book = promoted(entered(A), A, 2)
    book = book.apply(*moves.demote(book, A, NOW, "weak"))
    assert (book.stage(A), book.production, book.predecessor) == (Stage.SANDBOX, None, None)


def test_a_demoted_live_model_returns_to_production_only_when_that_is_free() -> None:
    live = promoted(entered(A, B), A, 2)
    live = live.apply(*moves.promote_to_live(live, NOW, "green", {}))
    assert (live.live, live.production) == (A, None)
    back = live.apply(*moves.demote(live, A, NOW, "degraded"))
    assert (back.live, back.production) == (None, A)
    taken = promoted(live, B, 2)
    retired = taken.apply(*moves.demote(taken, A, NOW, "degraded"))
    assert (retired.live, retired.production, retired.stage(A)) == (None, B, Stage.RETIRED)
    assert retired.latest[A].reason == "degraded (production is taken by s/2)"


def test_only_one_model_is_live() -> None:
    book = promoted(entered(A, B), A, 2)
    book = promoted(book.apply(*moves.promote_to_live(book, NOW, "green", {})), B, 2)
    with pytest.raises(StageError, match=f"{B} cannot be in live: {A} is"):
        moves.promote_to_live(book, NOW, "green", {})


def test_promote_never_leads_to_real_money() -> None:
    book = promoted(entered(A), A, 2)
    with pytest.raises(StageError, match="only the green light"):
        moves.promote(book, A, NOW, "go")
    with pytest.raises(StageError, match="no model is in production"):
        moves.promote_to_live(entered(A), NOW, "go", {})


def test_a_model_enters_once() -> None:
    with pytest.raises(StageError, match="cannot enter a model that is in arena; the rules allow there: promote, re"):
        moves.enter(entered(A), A, NOW, "again")


def test_a_retired_model_stays_retired() -> None:
    book = entered(A)
    book = book.apply(*moves.retire(book, A, NOW, "lost"))
    for move in (moves.promote, moves.demote, moves.retire, moves.enter):
        with pytest.raises(StageError, match="that is retired"):
            move(book, A, NOW, "please")


@pytest.mark.parametrize("stage", [None, *Stage])
@pytest.mark.parametrize("action", list(Action))
def test_every_stage_and_action_is_either_in_the_table_or_refused(stage: Stage | None, action: Action) -> None:
    legal = {
        (None, "enter"): "arena",
        ("arena", "promote"): "sandbox",
        ("arena", "retire"): "retired",
        ("sandbox", "promote"): "production",
        ("sandbox", "replace"): "production",
        ("sandbox", "retire"): "retired",
        ("production", "promote"): "live",
        ("production", "replace"): "retired",
        ("production", "demote"): "sandbox",
        ("production", "retire"): "retired",
        ("production", "rollback"): "retired",
        ("live", "demote"): "production",
        ("live", "retire"): "retired",
        ("retired", "rollback"): "production",
    }
    expected = legal.get((stage, action.value))
    if expected:
        assert next_stage(stage, action).value == expected
    else:
        with pytest.raises(StageError, match="the rules allow there"):
            next_stage(stage, action)


def test_a_decision_taken_on_an_old_book_is_refused() -> None:
    book = entered(A, B)
    late = moves.promote(book, A, NOW, "won")
    meanwhile = book.apply(*moves.retire(book, B, NOW, "lost"))
    with pytest.raises(StageError, match="decision 3 on s/1 comes where 4 is due"):
        meanwhile.apply(*late)


def test_a_decision_on_a_stage_that_the_model_has_left_is_refused() -> None:
    book = entered(A)
    (decision,) = moves.promote(book, A, NOW, "won")
    with pytest.raises(StageError, match="takes s/1 for in sandbox, but it is in arena"):
        book.apply(replace(decision, from_stage=Stage.SANDBOX))


def test_a_decision_that_leads_elsewhere_than_its_action_is_refused() -> None:
    book = entered(A)
    (decision,) = moves.promote(book, A, NOW, "won")
    with pytest.raises(StageError, match="leads s/1 to sandbox, not to live"):
        book.apply(replace(decision, to_stage=Stage.LIVE))


def test_of_a_refused_batch_nothing_is_applied() -> None:
    book = entered(A, B)
    good, bad = moves.promote(book, A, NOW, "won"), moves.promote(book, B, NOW, "won")
    with pytest.raises(StageError):
        book.apply(*good, *bad)
    assert book.stage(A) is Stage.ARENA


def test_a_decision_needs_a_reason_and_real_figures_and_a_zone() -> None:
    book = entered(A)
    with pytest.raises(StageError, match="has no reason"):
        moves.promote(book, A, NOW, "  ")
    with pytest.raises(DataError, match="sharpe, which is no number"):
        moves.promote(book, A, NOW, "won", {"sharpe": float("nan")})
    with pytest.raises(ValueError, match="no time zone"):
        moves.promote(book, A, NOW.replace(tzinfo=None), "won")


def test_models_of_a_stage_come_in_the_order_of_their_arrival() -> None:
    book = promoted(promoted(entered(A, B, C), C, 1), A, 1)
    assert book.in_stage(Stage.SANDBOX) == (C, A)
    assert book.in_stage(Stage.ARENA) == (B,)


def test_since_is_when_the_present_stage_was_reached() -> None:
    book = entered(A)
    later = NOW + timedelta(days=1)
    book = book.apply(*moves.promote(book, A, later, "won"))
    assert book.since(A) == later


def test_rows_give_the_decisions_and_the_book_back() -> None:
    book = succession()
    book = book.apply(*moves.rollback(book, NOW, "C loses", {"sharpe": 0.1 + 0.2}, "rule"))
    rows = [decision_row(d) for d in book.decisions]
    assert [decision_of(row) for row in rows] == list(book.decisions)
    assert book_of(reversed(rows)) == book


def test_a_row_missing_from_the_record_is_noticed() -> None:
    rows = [decision_row(d) for d in succession().decisions]
    with pytest.raises(StageError, match=r"decision 6 on .* comes where 5 is due"):
        book_of(rows[:4] + rows[5:])


def test_the_first_row_reads_as_expected() -> None:
    assert decision_row(entered(A).decisions[0]) == {
        "sequence": 1,
        "study": "s",
        "trial": 1,
        "from_stage": None,
        "to_stage": "arena",
        "action": "enter",
        "reason": "candidate",
        "figures": "{}",
        "decided_at_utc": NOW,
        "decided_by": "operator",
    }


def test_a_decision_cannot_be_changed() -> None:
    decision: Decision = entered(A).decisions[0]
    with pytest.raises(AttributeError):
        decision.reason = "other"  # type: ignore[misc]
