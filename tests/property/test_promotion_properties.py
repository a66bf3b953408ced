from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cappuccino.arena.result import MatchResult, Pairing, WindowScore
from cappuccino.arena.rows import match_of, match_row
from cappuccino.arena.season import ladder_of, season
from cappuccino.errors import StageError
from cappuccino.market.panel import as_datetime64
from cappuccino.registry import moves
from cappuccino.registry.identity import ModelId
from cappuccino.registry.rows import book_of, decision_row
from cappuccino.registry.sandbox import Track, sandbox_verdicts
from cappuccino.registry.stages import Decision, Stage, StageBook, next_stage
from cappuccino.settings import SandboxSettings
from tests.unit.small_lab import vetted

NOW = datetime(2025, 6, 1, tzinfo=UTC)
MODELS = [ModelId("s", n) for n in range(5)]

Move = Callable[[StageBook], tuple[Decision, ...]]

moves_of_people_and_rules = st.lists(
    st.one_of(
        st.builds(
            lambda move, model: lambda book: move(book, model, NOW, "tried"),
            st.sampled_from([moves.enter, moves.promote, moves.demote, moves.retire]),
            st.sampled_from(MODELS),
        ),
        st.just(lambda book: moves.rollback(book, NOW, "tried")),
        st.just(lambda book: moves.promote_to_live(book, NOW, "tried", {})),
    ),
    max_size=60,
)


def entered(models: list[ModelId]) -> StageBook:
    book = StageBook()
    for model in models:
        book = book.apply(*moves.enter(book, model, NOW, "candidate"))
    return book


@settings(derandomize=True, deadline=None, max_examples=150)
@given(moves_of_people_and_rules)
def test_whatever_is_tried_production_and_live_hold_at_most_one_model(tried: list[Move]) -> None:
    book = entered(MODELS)
    for move in tried:
        before = book
        try:
            book = book.apply(*move(book))
        except StageError:
            assert book is before
        assert len(book.in_stage(Stage.PRODUCTION)) <= 1
        assert len(book.in_stage(Stage.LIVE)) <= 1
        assert sum(len(book.in_stage(stage)) for stage in Stage) == len(MODELS)


@settings(derandomize=True, deadline=None, max_examples=100)
@given(moves_of_people_and_rules)
def test_the_record_is_legal_without_holes_and_replays_to_the_same_stages(tried: list[Move]) -> None:
    book = entered(MODELS)
    for move in tried:
        try:
            book = book.apply(*move(book))
        except StageError:
            continue
    stages: dict[ModelId, Stage] = {}
    for sequence, decision in enumerate(book.decisions, start=1):
        assert decision.sequence == sequence
        assert decision.from_stage == stages.get(decision.model)
        assert decision.to_stage == next_stage(decision.from_stage, decision.action)
        stages[decision.model] = decision.to_stage
    assert stages == {model: book.stage(model) for model in MODELS}
    assert book_of([decision_row(d) for d in book.decisions]) == book


@settings(derandomize=True, deadline=None, max_examples=100)
@given(moves_of_people_and_rules)
def test_a_rollback_restores_who_was_in_production_before_the_last_replacement(tried: list[Move]) -> None:
    book = entered(MODELS)
    for move in tried:
        holder = book.production
        try:
            book = book.apply(*move(book))
        except StageError:
            continue
        if book.decisions[-1].action == "replace":
            assert book.apply(*moves.rollback(book, NOW, "undo")).production == holder


def outcome(pairing: Pairing, luck: dict[ModelId, int]) -> MatchResult:
    """A match that the luckier one wins; equal luck is a draw."""
    a, b = float(luck[pairing.champion]), float(luck[pairing.challenger])
    return MatchResult(pairing, "log_return", (WindowScore(NOW, NOW + timedelta(days=1), a, b),), NOW)


def expected_promotions(order: list[ModelId], luck: dict[ModelId, int], streak: int) -> list[ModelId]:
    """The arena said plainly: who wins stays, who has beaten `streak` in a row goes up."""
    promoted, champion, n_beaten = [], None, 0
    for model in order:
        if champion is None:
            champion, n_beaten = model, 0
        elif luck[model] > luck[champion]:
            champion, n_beaten = model, 1
        elif luck[model] < luck[champion]:
            n_beaten += 1
        if champion and n_beaten == streak:
            promoted.append(champion)
            champion = None
    return promoted


lucks = st.lists(st.integers(0, 30), min_size=0, max_size=60)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(lucks, st.integers(1, 6), st.lists(st.integers(1, 20), max_size=6))
def test_seasons_agree_with_the_plain_tournament_however_entrants_and_sessions_are_spread(
    luck_of: list[int], streak: int, batches: list[int]
) -> None:
    order = [ModelId("s", n) for n in range(len(luck_of))]
    luck = dict(zip(order, luck_of, strict=True))
    book, rows, left = StageBook(), [], list(order)
    for size in [*batches, len(order)]:
        arriving, left = left[:size], left[size:]
        for model in arriving:
            book = book.apply(*moves.enter(book, model, NOW, "candidate"))
        for one in season(book, map(match_of, rows), lambda p: outcome(p, luck), streak, NOW, vetted):
            rows += [match_row(one.match)] if one.match else []
            book = book.apply(*one.decisions)
    assert list(book.in_stage(Stage.SANDBOX)) == expected_promotions(order, luck, streak)
    assert len(book.in_stage(Stage.ARENA)) <= 1


@settings(derandomize=True, deadline=None, max_examples=60)
@given(lucks, st.integers(1, 6))
def test_no_two_models_meet_twice_and_nobody_plays_after_a_defeat_or_a_promotion(
    luck_of: list[int], streak: int
) -> None:
    order = [ModelId("s", n) for n in range(len(luck_of))]
    luck, book, met, gone = dict(zip(order, luck_of, strict=True)), entered(order), set(), set()
    for one in season(book, (), lambda p: outcome(p, luck), streak, NOW, vetted):
        assert one.match is not None
        pair = {one.match.pairing.champion, one.match.pairing.challenger}
        assert frozenset(pair) not in met
        assert not pair & gone
        met.add(frozenset(pair))
        gone |= {decision.model for decision in one.decisions}
        assert len(pair & gone) >= 1  # each match settles the fate of at least one


@settings(derandomize=True, deadline=None, max_examples=40)
@given(lucks, st.integers(1, 20))
def test_who_is_promoted_has_beaten_that_many_different_opponents_in_a_row(luck_of: list[int], streak: int) -> None:
    order = [ModelId("s", n) for n in range(len(luck_of))]
    luck, book = dict(zip(order, luck_of, strict=True)), entered(order)
    matches: list[MatchResult] = []
    for one in season(book, (), lambda p: outcome(p, luck), streak, NOW, vetted):
        matches += [one.match] if one.match else []
        book = book.apply(*one.decisions)
        for decision in one.decisions:
            if decision.to_stage is Stage.SANDBOX:
                played = [m for m in matches if decision.model in (m.pairing.champion, m.pairing.challenger)]
                decided = [m for m in played if m.winner]
                assert {m.winner for m in decided} == {decision.model}
                assert len({*(m.pairing.champion for m in decided), *(m.pairing.challenger for m in decided)}) == (
                    streak + 1
                )
    assert ladder_of(book, matches, streak).promotion_due is None


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.lists(st.integers(-50, 50), min_size=1, max_size=5), st.booleans())
def test_after_the_sandbox_the_best_of_all_is_in_production(growths: list[int], has_production: bool) -> None:
    book = entered(MODELS)
    sandbox = MODELS[: len(growths)]
    for model in sandbox:
        book = book.apply(*moves.promote(book, model, NOW, "won"))
    if has_production:
        book = book.apply(*moves.promote(book, sandbox[0], NOW, "won"))
    at = as_datetime64(NOW) + np.arange(3) * np.timedelta64(1, "D")
    tracks = {m: Track(at, np.array([1.0, 1.0, 1.0 + g / 100])) for m, g in zip(sandbox, growths, strict=True)}
    later = NOW + timedelta(days=2)
    after = book.apply(*sandbox_verdicts(book, tracks, later, SandboxSettings(days=2)))
    assert after.production is not None
    winner = growths[sandbox.index(after.production)]
    assert winner == max(growths)
    assert after.in_stage(Stage.SANDBOX) == ()
    assert all(d.reason and "return_frac" in d.figures for d in after.decisions[len(book.decisions) :])
