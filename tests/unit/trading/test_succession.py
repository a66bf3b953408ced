from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cappuccino.market.interval import Interval
from cappuccino.registry import moves
from cappuccino.registry.identity import ModelId
from cappuccino.registry.record import decide
from cappuccino.store.warehouse import Warehouse
from cappuccino.trading.succession import Changes, Stint, changes_of, read_changes, stints
from tests.unit.small_lab import replace_production
from tests.unit.small_market import HOUR, START

HOURLY, FOURS, DAILY = ModelId("h", 1), ModelId("h", 4), ModelId("h", 24)
INTERVALS = {HOURLY: Interval.H1, FOURS: Interval.H4, DAILY: Interval.D1}


def at(hour: float) -> datetime:
    return START + hour * HOUR


def stints_of(changes: Changes, model: ModelId | None = None, hour: float = 0) -> list[Stint]:
    return list(stints(changes, model, INTERVALS[model] if model else None, at(hour), INTERVALS.__getitem__))


def test_of_decisions_at_one_moment_the_last_counts() -> None:
    moves_made = [(at(1), HOURLY, True), (at(5), HOURLY, False), (at(5), FOURS, True), (at(9), FOURS, False)]
    assert changes_of(iter(moves_made)) == ((at(1), HOURLY), (at(5), FOURS), (at(9), None))


def test_who_has_left_already_takes_nobody_with_it() -> None:
    assert changes_of([(at(1), HOURLY, True), (at(3), FOURS, True), (at(4), HOURLY, False)]) == (
        (at(1), HOURLY),
        (at(3), FOURS),
    )


def test_a_decision_by_a_clock_that_was_set_back_counts_as_made_with_the_one_before() -> None:
    assert changes_of([(at(5), HOURLY, True), (at(3), FOURS, True)]) == ((at(5), FOURS),)


def test_who_comes_and_goes_at_one_moment_was_never_there() -> None:
    assert changes_of([(at(5), HOURLY, True), (at(5), HOURLY, False)]) == ()


def test_the_warehouse_s_decisions_count_up_to_now(new_warehouse: Warehouse) -> None:
    for move in (moves.enter, moves.promote, moves.promote):
        decide(new_warehouse, lambda book, move=move: move(book, HOURLY, at(1), "tried"))
    decide(new_warehouse, lambda book: replace_production(book, FOURS, at(5), "tried"))
    decide(new_warehouse, lambda book: moves.rollback(book, at(7), "tried"))
    decide(new_warehouse, lambda book: moves.promote_to_live(book, at(9), "tried", {}))
    with new_warehouse.read() as reader:
        everything = read_changes(reader, at(9))
        assert everything == ((at(1), HOURLY), (at(5), FOURS), (at(7), HOURLY), (at(9), None))
        assert read_changes(reader, at(8.99)) == everything[:3]
        assert read_changes(reader, at(0.99)) == ()


def test_a_model_takes_over_at_the_first_close_of_its_bars_from_the_decision_on() -> None:
    for decided, begins in ((3, 4), (4, 4), (4.01, 8)):
        assert stints_of(((at(decided), FOURS),)) == [
            Stint(None, None, at(0), at(begins)),
            Stint(FOURS, Interval.H4, at(begins), None),
        ]


@pytest.mark.parametrize(("before", "after"), [(HOURLY, FOURS), (FOURS, HOURLY)])
def test_a_hand_over_is_at_a_close_of_both_models_bars(before: ModelId, after: ModelId) -> None:
    _, first, second = stints_of(((at(4), before), (at(9.5), after)))
    assert (first.model, first.start, first.stop) == (before, at(4), at(12))
    assert (second.model, second.start, second.stop) == (after, at(12), None)


def test_who_is_replaced_before_its_first_close_never_decides() -> None:
    changes = ((at(1), HOURLY), (at(5), FOURS), (at(7), HOURLY))
    assert stints_of(changes) == [
        Stint(None, None, at(0), at(1)),
        Stint(HOURLY, Interval.H1, at(1), None),
    ]


def test_when_nobody_is_left_one_bar_of_the_last_model_sells_and_cash_follows() -> None:
    assert stints_of(((at(4), FOURS), (at(9), None)))[2:] == [
        Stint(None, Interval.H4, at(12), at(16)),
        Stint(None, None, at(16), None),
    ]


def test_a_sale_that_has_begun_is_finished_before_the_next_model_begins() -> None:
    sale, model = stints_of(((at(4), FOURS), (at(9), None), (at(13), HOURLY)))[2:]
    assert sale == Stint(None, Interval.H4, at(12), at(16))
    assert model == Stint(HOURLY, Interval.H1, at(16), None)


def test_a_moment_with_nobody_between_two_models_is_no_sale_unless_a_bar_closed_in_it() -> None:
    assert [s.model for s in stints_of(((at(4), FOURS), (at(9), None), (at(10), HOURLY)))] == [None, FOURS, HOURLY]


def histories() -> st.SearchStrategy[Changes]:
    who = st.sampled_from([None, HOURLY, FOURS, DAILY])
    made = st.lists(st.tuples(st.integers(0, 15 * 24), who), max_size=8, unique_by=lambda change: change[0])

    def tidy(pairs: list[tuple[int, ModelId | None]]) -> Changes:
        ordered = [(at(half_hours / 2), model) for half_hours, model in sorted(pairs, key=lambda pair: pair[0])]
        return tuple(b for a, b in pairwise([(START, None), *ordered]) if a[1] != b[1])

    return made.map(tidy)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(histories())
def test_stints_follow_each_other_without_a_hole(changes: Changes) -> None:
    found = stints_of(changes)
    assert found[0].start == START
    assert [s.stop for s in found[:-1]] == [s.start for s in found[1:]]
    assert found[-1].stop is None
    for stint in found:
        if stint.interval:
            assert stint.interval.floor(stint.start) == stint.start
            assert stint.stop is None or stint.interval.floor(stint.stop) == stint.stop
    for stint in found[1:]:
        if stint.model:  # it was in production when it took over
            assert [who for since, who in changes if since <= stint.start][-1] == stint.model


@settings(derandomize=True, deadline=None, max_examples=60)
@given(histories(), st.integers(0, 8), st.integers(0, 8 * 24))
def test_stints_from_any_bar_on_are_the_rest_of_all(changes: Changes, n: int, bars: int) -> None:
    found = stints_of(changes)
    stint = found[min(n, len(found) - 1)]
    length = stint.interval.duration if stint.interval else timedelta(minutes=30)
    moment = stint.start + bars * length
    assume(not stint.stop or moment <= stint.stop)
    assume(stint.model or not stint.interval)  # a sale is one bar, and has no inside
    rest = list(stints(changes, stint.model, stint.interval, moment, INTERVALS.__getitem__))
    later = found[found.index(stint) + 1 :]
    here = [Stint(stint.model, stint.interval, moment, stint.stop)] if moment != stint.stop else []
    assert rest == here + later


def cut(found: list[Stint], moment: datetime) -> list[Stint]:
    """Return what of the stints lies before `moment`."""
    return [replace(s, stop=min(s.stop or moment, moment)) for s in found if s.start < moment]


@settings(derandomize=True, deadline=None, max_examples=60)
@given(histories(), st.integers(0, 2 * 8 * 24))
def test_decisions_at_a_moment_or_later_change_nothing_before_it(changes: Changes, half_hours: int) -> None:
    moment = at(half_hours / 2)
    known = tuple(change for change in changes if change[0] < moment)
    assert cut(stints_of(known), moment) == cut(stints_of(changes), moment)
