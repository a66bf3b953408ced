from datetime import UTC, datetime, timedelta

import pytest

from cappuccino.arena.ladder import Ladder, fold
from cappuccino.arena.result import MatchResult, Pairing, WindowScore
from cappuccino.arena.rows import match_of, match_row
from cappuccino.errors import StageError
from cappuccino.registry.identity import ModelId

NOW = datetime(2025, 6, 1, tzinfo=UTC)
M = [ModelId("s", n) for n in range(30)]


def played(pairing: Pairing | None, wins: int, losses: int) -> MatchResult:
    """A match in which the champion won `wins` windows and lost `losses`."""
    assert pairing is not None
    day = timedelta(days=1)
    scores = [(1.0, 0.0)] * wins + [(0.0, 1.0)] * losses
    windows = tuple(WindowScore(NOW + i * day, NOW + (i + 1) * day, a, b) for i, (a, b) in enumerate(scores))
    return MatchResult(pairing, "log_return", windows, NOW)


def wins(ladder: Ladder) -> Ladder:
    return ladder.play(played(ladder.next_pairing(), 3, 2))


def loses(ladder: Ladder) -> Ladder:
    return ladder.play(played(ladder.next_pairing(), 1, 4))


def draws(ladder: Ladder) -> Ladder:
    return ladder.play(played(ladder.next_pairing(), 0, 0))


def test_the_first_two_in_line_meet_first() -> None:
    assert fold(M[:3], (), (), 20).next_pairing() == Pairing(M[0], M[1], 1)


@pytest.mark.parametrize("n", [0, 1])
def test_without_two_models_nobody_plays(n: int) -> None:
    assert fold(M[:n], (), (), 20).next_pairing() is None


def test_the_winner_stays_and_the_loser_is_out() -> None:
    ladder = wins(fold(M[:3], (), (), 20))
    assert (ladder.champion, ladder.beaten, ladder.waiting) == (M[0], (M[1],), (M[2],))
    assert set(ladder.eliminated) == {M[1]}
    assert ladder.next_pairing() == Pairing(M[0], M[2], 2)


def test_a_challenger_that_wins_is_champion_with_one_victory() -> None:
    ladder = loses(wins(fold(M[:4], (), (), 20)))
    assert (ladder.champion, ladder.beaten) == (M[2], (M[0],))
    assert set(ladder.eliminated) == {M[0], M[1]}


def test_after_a_draw_the_champion_stays_and_the_challenger_does_not_count_as_beaten() -> None:
    ladder = draws(wins(fold(M[:4], (), (), 20)))
    assert (ladder.champion, ladder.beaten) == (M[0], (M[1],))
    assert set(ladder.eliminated) == {M[1], M[2]}


def test_a_champion_with_its_row_complete_is_due_and_nobody_plays_before_it_has_left() -> None:
    ladder = fold(M[:25], (), (), 20)
    for _ in range(19):
        ladder = wins(ladder)
    assert ladder.promotion_due is None
    ladder = wins(ladder)
    assert (ladder.promotion_due, len(set(ladder.beaten)), ladder.next_pairing()) == (M[0], 20, None)
    ladder = ladder.depart(M[0])
    assert (ladder.champion, ladder.beaten) == (M[21], ())
    assert ladder.next_pairing() == Pairing(M[21], M[22], 21)


def test_a_dethroned_champion_takes_its_row_with_it() -> None:
    ladder = loses(wins(wins(fold(M[:5], (), (), 3))))
    assert (ladder.promotion_due, ladder.beaten) == (None, (M[0],))


def test_a_departure_from_the_middle_of_the_line_leaves_the_champions_row_alone() -> None:
    ladder = wins(fold(M[:5], (), (), 20)).depart(M[3])
    assert (ladder.beaten, ladder.waiting) == ((M[1],), (M[2], M[4]))


def test_nobody_enters_twice() -> None:
    ladder = wins(fold(M[:3], (), (), 20)).depart(M[2])
    for model in M[:3]:
        with pytest.raises(StageError, match="nobody enters twice"):
            ladder.enter(model)


def test_a_match_that_is_not_due_is_refused() -> None:
    ladder = fold(M[:3], (), (), 20)
    for wrong in (Pairing(M[0], M[2], 1), Pairing(M[1], M[0], 1), Pairing(M[0], M[1], 2)):
        with pytest.raises(StageError, match=r"but the line calls for s/0 against s/1"):
            ladder.play(played(wrong, 3, 2))
    with pytest.raises(StageError, match="calls for none"):
        Ladder(20).play(played(Pairing(M[0], M[1], 1), 3, 2))


def test_a_history_folds_to_the_ladder_that_was_left_whatever_the_order_of_its_rows() -> None:
    ladder, matches = fold(M[:6], (), (), 20), []
    for step in (wins, wins, loses, draws):
        before, ladder = ladder, step(ladder)
        pairing = before.next_pairing()
        matches.append({"wins": (3, 2), "loses": (1, 4), "draws": (0, 0)}[step.__name__])
        matches[-1] = played(pairing, *matches[-1])
    assert fold(M[:6], reversed(matches), (), 20) == ladder


def test_departures_need_no_time() -> None:
    # M0 beats M1 and is promoted; M2 is retired by the operator while it waits; M3 then beats M4.
    first = played(Pairing(M[0], M[1], 1), 3, 2)
    second = played(Pairing(M[3], M[4], 2), 3, 2)
    ladder = fold(M[:6], [first, second], {M[0], M[2]}, 1)
    assert (ladder.champion, ladder.beaten, ladder.waiting) == (M[3], (M[4],), (M[5],))
    assert ladder.departed == {M[0], M[2]}


def test_a_model_that_departed_after_its_matches_has_played_them() -> None:
    matches = [played(Pairing(M[0], M[1], 1), 1, 4), played(Pairing(M[1], M[2], 2), 3, 2)]
    ladder = fold(M[:4], matches, {M[0], M[1], M[2]}, 20)  # losers retire, and the champion M1 was retired
    assert (ladder.champion, ladder.beaten) == (M[3], ())
    assert (set(ladder.eliminated), ladder.departed) == ({M[0], M[2]}, {M[1]})


def test_a_match_that_skips_somebody_who_is_still_there_is_refused() -> None:
    with pytest.raises(StageError, match="line calls for s/0 against s/1"):
        fold(M[:4], [played(Pairing(M[0], M[2], 1), 3, 2)], {M[3]}, 20)


def test_a_lower_streak_makes_a_long_champion_due_at_once() -> None:
    matches = [played(Pairing(M[0], M[n], n), 3, 2) for n in range(1, 6)]
    assert fold(M[:8], matches, (), 20).promotion_due is None
    assert fold(M[:8], matches, (), 3).promotion_due == M[0]


def test_windows_decide_the_match() -> None:
    pairing = Pairing(M[0], M[1], 1)
    assert played(pairing, 3, 2).winner == M[0]
    assert played(pairing, 2, 3).winner == M[1]
    assert played(pairing, 2, 2).winner is None


def test_the_identity_of_a_match_follows_from_its_models_only() -> None:
    first, again = Pairing(M[0], M[1], 1), Pairing(M[0], M[1], 9)
    assert (first.match_id, first.seed) == (again.match_id, again.seed)
    others = [Pairing(a, b, 1) for a in M[:12] for b in M[:12] if a != b]
    assert len({p.match_id for p in others}) == len({p.seed for p in others}) == len(others)
    assert all(0 <= p.seed < 2**63 for p in others)  # fits BIGINT


def test_rows_give_the_match_back() -> None:
    match = played(Pairing(M[0], M[1], 4), 2, 1)
    row = match_row(match)
    assert match_of(row) == match
    assert (row["champion"], row["challenger"], row["winner"]) == ("s/0", "s/1", "s/0")
    assert (row["champion_wins"], row["challenger_wins"], row["sequence"]) == (2, 1, 4)
    assert match_row(played(Pairing(M[0], M[1], 4), 1, 1))["winner"] is None
