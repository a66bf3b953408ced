"""The restart policy as a table: events and a clock in, decisions out."""

from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cappuccino.watch.restarts import Decision, Event, Policy, Restarts, step

POLICY = Policy()
SHORT = {".": Event.TICK, "h": Event.HEALTHY, "x": Event.ENDED}


@dataclass
class Life:
    """What a child does: `lives_s` is how long each process lives, healthy from the look after its start on."""

    lives_s: list[float]
    policy: Policy = POLICY

    def told(self, until_s, tick_s=1.0):
        """Return (second, decision) of all that was decided."""
        state, said, now_s, started_s, lives = Restarts(), [], 0.0, 0.0, list(self.lives_s)
        while now_s <= until_s:
            if state.due_s is None and lives and now_s - started_s >= lives[0]:
                lives.pop(0)
                event = Event.ENDED
            else:
                event = Event.HEALTHY if state.due_s is None else Event.TICK
            state, decisions = step(state, event, now_s, self.policy)
            said += [(now_s, decision) for decision in decisions]
            started_s = now_s if Decision.START in decisions else started_s
            now_s += tick_s
        return said

    def starts(self, until_s):
        return [at_s for at_s, decision in self.told(until_s) if decision is Decision.START]

    def calls(self, until_s):
        return [at_s for at_s, decision in self.told(until_s) if decision is Decision.CALL]


def test_a_child_that_dies_at_once_is_started_after_5_10_and_20_seconds_and_then_a_person_is_called():
    dying = Life([0] * 9)
    assert dying.starts(60) == [5, 16, 37]
    assert dying.calls(60) == [37]


def test_after_the_call_the_pauses_are_five_minutes():
    assert Life([0] * 9).starts(1000) == [5, 16, 37, 338, 639, 940]


def test_a_person_is_called_once_for_one_trouble():
    assert Life([0] * 20).calls(5000) == [37]


def test_without_a_call_the_pause_doubles_up_to_five_minutes():
    patient = Life([0] * 12, Policy(restarts=99))
    starts = patient.starts(2000)
    # A process that dies at once is seen dead a tick after its start.
    pauses = [later - earlier - 1 for earlier, later in pairwise(starts)]
    assert pauses[:8] == [10, 20, 40, 80, 160, 300, 300, 300]


def test_sixty_seconds_of_health_make_the_pauses_begin_anew():
    assert Life([0, 0, 62]).starts(120) == [5, 16, 16 + 62 + 5]


def test_less_health_does_not():
    assert Life([0, 59, 0]).starts(120) == [5, 5 + 59 + 10, 5 + 59 + 10 + 1 + 20]


def test_three_restarts_within_five_minutes_call_even_though_each_process_was_healthy_for_a_minute():
    assert Life([62, 62, 62]).calls(400) == [62 + 5 + 62 + 5 + 62 + 5]


def test_three_restarts_spread_over_more_than_five_minutes_call_nobody():
    assert Life([200, 200, 200, 200]).calls(1500) == []


def test_health_after_a_call_says_so_and_the_pauses_begin_anew():
    told = Life([0, 0, 0, 400]).told(600)
    assert (37 + 1 + 60, Decision.RECOVERED) in told
    assert (37 + 400 + 5, Decision.START) in told


def test_health_that_cannot_be_told_does_not_count():
    state, recovered = Restarts(failures=2), []
    for number, letter in enumerate("hhhh.hhhh.hhhhh"):
        state, decisions = step(state, SHORT[letter], 15.0 * number, POLICY)
        recovered += [number for decision in decisions if decision is Decision.RECOVERED]
    assert recovered == [14]


def test_a_child_that_is_due_is_started_however_late_the_look_comes():
    state, _ = step(Restarts(), Event.ENDED, 100.0, POLICY)
    assert step(state, Event.TICK, 104.9, POLICY) == (state, ())
    assert step(state, Event.TICK, 9_999.0, POLICY)[1] == (Decision.START,)


@pytest.mark.parametrize(("failures", "pause_s"), [(1, 5), (2, 10), (3, 20), (6, 160), (7, 300), (5_000, 300)])
def test_the_pause_after_each_failure(failures, pause_s):
    assert POLICY.pause_s(failures) == pause_s


@given(st.lists(st.sampled_from(list(SHORT)), max_size=200), st.integers(1, 100))
def test_a_child_is_never_started_before_its_pause_is_over_and_never_left_for_longer(events, tick_s):
    state, now_s, ended_s = Restarts(), 0, None
    for letter in events:
        now_s += tick_s
        was_running = state.due_s is None
        state, decisions = step(state, SHORT[letter], now_s, POLICY)
        assert (Decision.START in decisions) == (not was_running and state.due_s is None)
        if was_running and letter == "x":
            ended_s = now_s
            assert POLICY.first_pause_s <= state.due_s - now_s <= POLICY.longest_pause_s
        if Decision.START in decisions:
            assert ended_s is not None
            assert now_s - ended_s >= POLICY.first_pause_s
        if state.due_s is not None:
            assert now_s - ended_s < POLICY.longest_pause_s + tick_s
