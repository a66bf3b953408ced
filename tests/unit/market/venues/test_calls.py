"""The caller by itself: what is tried again, how long it waits, and what it writes down."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import requests

from cappuccino.errors import DataError, SourceError
from cappuccino.market.venues.calls import Caller
from cappuccino.settings import CallSettings
from tests.loopback.stopwatch import Stopwatch


def make(stopwatch: Stopwatch, per_minute: float = 60, seed: int = 1, **fields: float) -> Caller:
    settings = CallSettings.model_validate(fields)
    return Caller(
        "somewhere",
        settings,
        per_minute,
        sleep=stopwatch.sleep,
        monotonic=stopwatch.monotonic,
        rng=random.Random(seed),
    )


def failing(times: int) -> Callable[[], str]:
    """Return a request that loses the connection so many times and then answers."""
    left = [requests.ConnectionError("gone")] * times

    def request() -> str:
        if left:
            raise left.pop()
        return "answer"

    return request


def test_pauses_are_random_parts_of_a_time_that_doubles_up_to_a_limit() -> None:
    longest = [0.0] * 6
    for seed in range(200):
        stopwatch = Stopwatch()
        caller = make(stopwatch, seed=seed, first_pause_s=1, max_pause_s=10, max_attempts=7, breaker_failures=99)
        assert caller.call("bars", failing(6)) == "answer"
        longest = [max(pair) for pair in zip(longest, stopwatch.pauses, strict=True)]
    limits = [1, 2, 4, 8, 10, 10]
    assert all(0.9 * limit < pause <= limit for pause, limit in zip(longest, limits, strict=True))


def test_pauses_of_many_processes_do_not_fall_together() -> None:
    pauses = []
    for seed in range(50):
        stopwatch = Stopwatch()
        make(stopwatch, seed=seed).call("bars", failing(1))
        pauses += stopwatch.pauses
    assert len(set(pauses)) == 50
    assert min(pauses) < 0.1  # "full" jitter: near nothing, too


def test_an_error_that_is_not_about_a_call_passes_untouched() -> None:
    caller = make(Stopwatch())

    def request() -> None:
        raise DataError("something of ours")

    with pytest.raises(DataError, match="something of ours"):
        caller.call("bars", request)
    assert caller.drain().is_empty()


def test_a_person_who_interrupts_is_obeyed() -> None:
    stopwatch = Stopwatch()

    def request() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(stopwatch).call("bars", request)
    assert stopwatch.pauses == []


def test_requests_are_spaced_by_the_budget_and_time_that_passed_counts() -> None:
    stopwatch = Stopwatch()
    caller = make(stopwatch, per_minute=30)
    for passes_s in (0.0, 0.5, 7.0, 0.0):
        stopwatch.at_s += passes_s
        caller.before_request()
    assert stopwatch.pauses == [1.5, 2.0]


def test_an_idle_hour_is_no_credit_for_a_burst() -> None:
    stopwatch = Stopwatch()
    caller = make(stopwatch, per_minute=60)
    caller.before_request()
    stopwatch.at_s += 3600
    for _ in range(3):
        caller.before_request()
    assert stopwatch.pauses == [1.0, 1.0]


def test_the_account_has_shares_pauses_and_the_last_message() -> None:
    stopwatch = Stopwatch()
    caller = make(stopwatch)
    caller.call("bars", failing(3))
    caller.call("books", failing(0))
    caller.note_bars("bars", 400, 0, "")
    caller.note_bars("bars", 100, 5, "BTC/USD at noon: " + "x" * 400)
    rows = {(row["endpoint"], row["outcome"]): row for row in caller.drain().iter_rows(named=True)}
    assert {key: (row["calls"], row["share_frac"]) for key, row in rows.items()} == {
        ("bars", "connection"): (3, 0.75),
        ("bars", "ok"): (1, 0.25),
        ("bars", "bad_bar"): (5, 0.01),
        ("books", "ok"): (1, 1.0),
    }
    assert rows["bars", "connection"]["waited_s"] == pytest.approx(sum(stopwatch.pauses))
    assert rows["bars", "connection"]["example"] == "ConnectionError: gone"
    assert len(rows["bars", "bad_bar"]["example"]) == 300
    assert {row["source"] for row in rows.values()} == {"somewhere"}


def test_what_was_drained_is_not_counted_twice() -> None:
    caller = make(Stopwatch())
    caller.call("bars", failing(2))
    caller.drain()
    assert caller.drain().is_empty()
    caller.call("bars", failing(0))
    assert caller.drain().select("outcome", "calls", "share_frac").rows() == [("ok", 1, 1.0)]


def test_a_success_between_failures_keeps_the_breaker_closed() -> None:
    caller = make(Stopwatch(), breaker_failures=3, max_attempts=5)
    for _ in range(4):
        assert caller.call("bars", failing(2)) == "answer"


def test_failures_of_all_endpoints_open_one_breaker() -> None:
    stopwatch = Stopwatch()
    caller = make(stopwatch, breaker_failures=2, max_attempts=1, breaker_rest_s=60)
    for endpoint in ("bars", "books"):
        with pytest.raises(SourceError, match="gone"):
            caller.call(endpoint, failing(1))
    with pytest.raises(SourceError, match="failed 2 times in a row and is left alone for another 60 s"):
        caller.call("symbols", failing(0))
    stopwatch.at_s += 60
    assert caller.call("symbols", failing(0)) == "answer"


def test_an_error_of_many_lines_is_one_line_of_the_account() -> None:
    caller = make(Stopwatch(), max_attempts=1)

    def request() -> None:
        raise ValueError("first\n  second\t third")

    with pytest.raises(SourceError, match="somewhere: no bars of today: ValueError: first second third; given up"):
        caller.call("bars", request, "bars of today")
    assert caller.drain()["example"].to_list() == ["ValueError: first second third"]
