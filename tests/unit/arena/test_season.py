from datetime import UTC, datetime, timedelta

from cappuccino.arena.result import MatchResult, Pairing, WindowScore
from cappuccino.arena.season import Round, ladder_of, season
from cappuccino.registry import moves
from cappuccino.registry.identity import ModelId
from cappuccino.registry.stages import Stage, StageBook
from tests.unit.small_lab import vetted

NOW = datetime(2025, 6, 1, tzinfo=UTC)
M = [ModelId("s", n) for n in range(12)]


def arena_of(*models: ModelId) -> StageBook:
    book = StageBook()
    for model in models:
        book = book.apply(*moves.enter(book, model, NOW, "candidate", decided_by="rule"))
    return book


def better_number_wins(pairing: Pairing) -> MatchResult:
    a, b = pairing.champion.trial, pairing.challenger.trial
    return MatchResult(pairing, "log_return", (WindowScore(NOW, NOW + timedelta(days=1), a, b),), NOW)


def stored(book: StageBook, rounds: list[Round]) -> tuple[StageBook, list[MatchResult]]:
    for one in rounds:
        book = book.apply(*one.decisions)
    return book, [one.match for one in rounds if one.match]


def test_losers_retire_and_a_row_of_victories_leads_to_the_sandbox() -> None:
    book = arena_of(M[5], M[1], M[2], M[3], M[4], M[0])
    rounds = list(season(book, (), better_number_wins, 3, NOW, vetted))
    after, matches = stored(book, rounds)
    assert [(m.pairing.champion.trial, m.pairing.challenger.trial) for m in matches] == [
        (5, 1),
        (5, 2),
        (5, 3),
        (4, 0),  # 5 has left; 4 is champion without a fight
    ]
    assert after.in_stage(Stage.SANDBOX) == (M[5],)
    assert after.in_stage(Stage.ARENA) == (M[4],)
    promotion = next(d for d in after.decisions if d.to_stage is Stage.SANDBOX)
    assert (promotion.reason, promotion.decided_by) == (
        "beat 3 different opponents in a row, and passed its audit",
        "rule",
    )
    assert promotion.figures == {"n_beaten": 3.0, "streak": 3.0}


def test_who_fails_the_audit_never_reaches_the_sandbox_and_the_season_goes_on() -> None:
    def objects(model: ModelId) -> str | None:
        return "failed its audit: it peeks" if model == M[5] else None

    book = arena_of(M[5], M[1], M[2], M[3], M[4], M[0])
    after, _ = stored(book, list(season(book, (), better_number_wins, 3, NOW, objects)))
    assert after.stage(M[5]) is Stage.RETIRED
    assert after.latest[M[5]].reason == "failed its audit: it peeks"
    assert after.in_stage(Stage.SANDBOX) == ()
    assert after.in_stage(Stage.ARENA) == (M[4],)


def test_the_reason_of_a_retirement_is_the_lost_match() -> None:
    book = arena_of(M[1], M[2])
    after, _ = stored(book, list(season(book, (), better_number_wins, 20, NOW, vetted)))
    assert after.latest[M[1]].reason == "lost to s/2, 0:1 windows"
    assert after.latest[M[1]].figures == {"windows_won": 0.0, "windows_lost": 1.0, "match": 1.0}


def test_a_drawn_challenger_retires_with_its_own_reason() -> None:
    book = arena_of(M[1], M[2])
    drawn = lambda pairing: MatchResult(pairing, "log_return", (), NOW)  # noqa: E731 - a one-line fake
    after, _ = stored(book, list(season(book, (), drawn, 20, NOW, vetted)))
    assert after.latest[M[2]].reason == "drew with the champion s/1, 0:0 windows"
    assert after.stage(M[1]) is Stage.ARENA


def test_a_season_can_be_cut_anywhere_and_goes_on_as_if_it_had_not_been() -> None:
    book = arena_of(*M)
    whole = list(season(book, (), better_number_wins, 4, NOW, vetted))
    for cut in range(len(whole) + 1):
        there, matches = stored(book, whole[:cut])
        rest = list(season(there, matches, better_number_wins, 4, NOW, vetted))
        assert whole[:cut] + rest == whole


def test_a_match_stored_without_its_decisions_is_not_played_again() -> None:
    book = arena_of(M[1], M[2], M[3])
    first = next(season(book, (), better_number_wins, 20, NOW, vetted))
    assert first.match is not None
    rounds = list(season(book, [first.match], better_number_wins, 20, NOW, vetted))
    assert rounds[0] == Round(None, first.decisions)
    assert [r.match.pairing.challenger for r in rounds if r.match] == [M[3]]


def test_new_entrants_go_on_from_where_the_arena_stood() -> None:
    book = arena_of(M[2], M[1])
    book, matches = stored(book, list(season(book, (), better_number_wins, 20, NOW, vetted)))
    book = book.apply(*moves.enter(book, M[3], NOW, "candidate"))
    (one,) = season(book, matches, better_number_wins, 20, NOW, vetted)
    assert one.match is not None
    assert one.match.pairing == Pairing(M[2], M[3], 2)


def test_an_empty_arena_plays_nothing() -> None:
    assert list(season(StageBook(), (), better_number_wins, 20, NOW, vetted)) == []


def test_who_was_promoted_by_the_operator_is_out_of_the_line() -> None:
    book = arena_of(M[1], M[2], M[3])
    book = book.apply(*moves.promote(book, M[1], NOW, "favourite"))
    assert ladder_of(book, (), 20).line == (M[2], M[3])
