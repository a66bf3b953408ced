from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from cappuccino.errors import DataError
from cappuccino.market.panel import as_datetime64
from cappuccino.registry import moves
from cappuccino.registry.identity import ModelId
from cappuccino.registry.sandbox import Track, sandbox_verdicts
from cappuccino.registry.stages import Stage, StageBook
from cappuccino.settings import SandboxSettings

START = datetime(2025, 6, 1, tzinfo=UTC)
OVER = START + timedelta(days=2)
TWO_DAYS = SandboxSettings(days=2)
P, A, B, C = (ModelId("s", n) for n in range(4))


def track(values: list[float], start: datetime = START, hours: float = 12) -> Track:
    """Values every `hours` from `start` on."""
    step = np.timedelta64(timedelta(hours=hours))
    return Track(as_datetime64(start) + np.arange(len(values)) * step, np.array(values))


def line(growth_frac: float, start: datetime = START, days: float = 2.0) -> Track:
    """An account that grows to 1 + growth_frac in `days`, looked at every 12 hours."""
    return track(list(np.linspace(1.0, 1.0 + growth_frac, int(days * 2) + 1)), start)


def book_with(production: ModelId | None, *sandbox: ModelId, since: datetime = START) -> StageBook:
    book = StageBook()
    for model in ((production,) if production else ()) + sandbox:
        book = book.apply(*moves.enter(book, model, START - timedelta(days=9), "candidate"))
    if production:
        book = book.apply(*moves.promote(book, production, START - timedelta(days=8), "won"))
        book = book.apply(*moves.promote(book, production, START - timedelta(days=5), "won"))
    for model in sandbox:
        book = book.apply(*moves.promote(book, model, since, "won"))
    return book


def test_nobody_is_judged_before_the_time_is_over() -> None:
    book = book_with(P, A)
    tracks = {P: line(0.0), A: line(0.5)}
    assert sandbox_verdicts(book, tracks, OVER - timedelta(seconds=1), TWO_DAYS) == ()


def test_who_beats_production_replaces_it_with_the_figures_compared() -> None:
    book = book_with(P, A)
    decisions = sandbox_verdicts(book, {P: line(0.01), A: line(0.02)}, OVER, TWO_DAYS)
    after = book.apply(*decisions)
    assert (after.production, after.stage(P)) == (A, Stage.RETIRED)
    assert [d.decided_by for d in decisions] == ["rule", "rule"]
    assert decisions[1].figures == pytest.approx({"return_frac": 0.02, "production_return_frac": 0.01, "days": 2.0})
    assert decisions[1].reason == "beats production: 2.0000% against 1.0000% of s/0 in 2.00 days"


@pytest.mark.parametrize("growth_frac", [0.01, 0.0, -0.5])
def test_who_is_not_better_than_production_retires(growth_frac: float) -> None:
    book = book_with(P, A)
    (decision,) = sandbox_verdicts(book, {P: line(0.01), A: line(growth_frac)}, OVER, TWO_DAYS)
    assert (decision.model, decision.to_stage) == (A, Stage.RETIRED)
    assert "does not beat production" in decision.reason


def test_an_empty_production_takes_the_best_and_the_others_have_to_beat_that_one() -> None:
    book = book_with(None, A, B, C)
    decisions = sandbox_verdicts(book, {A: line(-0.03), B: line(-0.01), C: line(-0.02)}, OVER, TWO_DAYS)
    assert [(d.model, d.to_stage) for d in decisions] == [
        (B, Stage.PRODUCTION),
        (C, Stage.RETIRED),
        (A, Stage.RETIRED),
    ]
    assert decisions[0].reason == "production was empty"


def test_of_several_that_beat_production_only_the_best_gets_there() -> None:
    book = book_with(P, A, B)
    after = book.apply(*sandbox_verdicts(book, {P: line(0.0), A: line(0.1), B: line(0.2)}, OVER, TWO_DAYS))
    assert [after.stage(m) for m in (P, A, B)] == [Stage.RETIRED, Stage.RETIRED, Stage.PRODUCTION]
    assert [d.model for d in after.decisions[len(book.decisions) :]] == [P, B, A]


def test_equal_returns_are_ordered_by_identity_and_the_first_stays() -> None:
    book = book_with(None, B, A)
    after = book.apply(*sandbox_verdicts(book, {A: line(0.1), B: line(0.1)}, OVER, TWO_DAYS))
    assert (after.production, after.stage(B)) == (A, Stage.RETIRED)


def test_only_the_time_that_both_records_cover_counts() -> None:
    # Production doubled before the challenger began and stood still since.
    production = track([1.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0], START - timedelta(days=1))
    book = book_with(P, A)
    decisions = sandbox_verdicts(book, {P: production, A: line(0.01)}, OVER, TWO_DAYS)
    assert book.apply(*decisions).production == A
    assert decisions[0].figures["production_return_frac"] == 0.0


def test_a_value_between_two_looks_is_the_last_one_known() -> None:
    # Daily looks at 06:00; at the challenger's start the account was worth 1.1, at the end 1.21.
    daily = track([1.1, 1.0, 1.21], START - timedelta(hours=18), hours=24)
    book = book_with(P, A)
    decisions = sandbox_verdicts(book, {P: daily, A: line(0.2)}, OVER, TWO_DAYS)
    assert decisions[0].figures["production_return_frac"] == pytest.approx(0.1)
    assert decisions[0].figures["days"] == 1.25  # to the last look at both


def test_without_enough_of_a_common_record_the_verdict_waits() -> None:
    book = book_with(P, A)
    short = track([1.0, 1.1], START, hours=23)
    assert sandbox_verdicts(book, {P: line(0.0), A: short}, OVER, TWO_DAYS) == ()
    assert sandbox_verdicts(book, {P: short, A: line(0.1)}, OVER, TWO_DAYS) == ()
    assert sandbox_verdicts(book, {A: line(0.1)}, OVER, TWO_DAYS) == ()
    assert sandbox_verdicts(book, {P: line(0.1)}, OVER, TWO_DAYS) == ()


def test_a_record_that_goes_on_after_a_stop_is_judged_later() -> None:
    book, later = book_with(P, A), OVER + timedelta(days=1)
    tracks = {P: line(0.0, days=3), A: line(0.1, days=3)}
    assert len(sandbox_verdicts(book, tracks, later, TWO_DAYS)) == 2


def test_nothing_after_now_is_looked_at() -> None:
    book = book_with(P, A)
    challenger = track([1.0, 1.1, 1.1, 1.1, 1.1, 0.1])  # crashes after the verdict
    after = book.apply(*sandbox_verdicts(book, {P: line(0.0, days=3), A: challenger}, OVER, TWO_DAYS))
    assert after.production == A


def test_a_track_that_is_no_record_is_refused() -> None:
    with pytest.raises(DataError, match="do not rise"):
        track([1.0, 1.0], hours=0)
    with pytest.raises(DataError, match="must be positive"):
        track([1.0, float("nan")])
    with pytest.raises(DataError, match="must be positive"):
        track([1.0, 0.0])
    with pytest.raises(DataError, match="is none"):
        track([])
