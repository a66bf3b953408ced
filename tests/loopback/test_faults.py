"""What goes wrong on the way, against the real clients of both venues."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from polars.testing import assert_frame_equal

from cappuccino.errors import SourceError
from cappuccino.market.interval import Interval
from cappuccino.market.venues.venue import VenueSource
from tests.loopback.conftest import MakeSource
from tests.loopback.exchange import Exchange
from tests.loopback.handler import Fault, body, cut, html, late, reset, status
from tests.loopback.stopwatch import Stopwatch

INTERVAL = Interval.M15
START = datetime(2024, 3, 1, tzinfo=UTC)
STOP = START + timedelta(hours=6)
SYMBOL = ("BTC/USD",)


def outcomes(source: VenueSource) -> dict[str, int]:
    """Return the calls of each outcome."""
    return dict(source.drain().select("outcome", "calls").iter_rows())


PASSING = {
    "too many requests": (status(429), "rate_limited"),
    "server error as a page": (html(503), "server_error"),
    "gateway time-out": (html(504), "server_error"),
    "request time-out": (status(408), "timed_out"),
    "connection reset": (reset, "connection"),
    "connection lost in the middle of the body": (cut, "connection"),
    "no JSON": (body('{"bars": {"BTC/USD": [{"t": '), "broken_answer"),
    "a page with status 200": (body("<html>maintenance</html>"), "broken_answer"),
    "nothing with status 200": (body(""), "broken_answer"),
    "an unexpected object": (body('{"message": "hello"}'), "broken_answer"),
    "a list": (body("[]"), "broken_answer"),
    "bars that are no bars": (body('{"bars": {"BTC/USD": [7]}, "candles": [7]}'), "broken_answer"),
}


@pytest.mark.parametrize(("fault", "outcome"), PASSING.values(), ids=PASSING.keys())
def test_what_passes_is_tried_again_and_counted(
    make_source: MakeSource, exchange: Exchange, stopwatch: Stopwatch, fault: Fault, outcome: str
) -> None:
    exchange.faults.extend([fault, fault])
    source = make_source()
    bars = source.bars(SYMBOL, INTERVAL, START, STOP)
    assert_frame_equal(bars, exchange.truth(SYMBOL, INTERVAL, START, STOP), check_exact=True)
    assert outcomes(source) == {outcome: 2, "ok": 1}
    assert len(exchange.asked) == 3
    assert len([pause for pause in stopwatch.pauses if pause > 1e-3]) == 2


@pytest.mark.parametrize(("fault", "outcome"), PASSING.values(), ids=PASSING.keys())
def test_what_does_not_pass_ends_in_an_error_that_says_what_was_asked(
    make_source: MakeSource, exchange: Exchange, fault: Fault, outcome: str
) -> None:
    exchange.faults.extend([fault] * 9)
    source = make_source(max_attempts=3)
    with pytest.raises(SourceError, match=r"no 15m bars of BTC/USD from 2024-03-01 00:00 UTC .* 3 tries; .* check"):
        source.bars(SYMBOL, INTERVAL, START, STOP)
    assert outcomes(source) == {outcome: 3}
    assert len(exchange.asked) == 3


@pytest.mark.parametrize("code", [400, 401, 403, 404, 422])
def test_a_refusal_is_not_repeated(make_source: MakeSource, exchange: Exchange, code: int) -> None:
    exchange.faults.append(status(code, '{"message": "you should not"}'))
    source = make_source()
    with pytest.raises(SourceError, match=rf"15m bars of BTC/USD .*HTTP {code} .*you should not.*; correct market"):
        source.bars(SYMBOL, INTERVAL, START, STOP)
    assert outcomes(source) == {"refused": 1}
    assert len(exchange.asked) == 1


def test_a_silent_venue_is_given_up_after_the_time_out(make_source: MakeSource, exchange: Exchange) -> None:
    exchange.faults.append(late(0.2))
    source = make_source(read_timeout_s=0.1)
    assert len(source.bars(SYMBOL, INTERVAL, START, STOP)) == 24
    assert outcomes(source) == {"timed_out": 1, "ok": 1}


def test_nobody_at_the_address_is_a_lost_connection(make_alpaca: MakeSource) -> None:
    source = make_alpaca(data_url="http://127.0.0.1:1", max_attempts=2)
    with pytest.raises(SourceError, match=r"2 tries; .* check alpaca.data_url"):
        source.bars(SYMBOL, INTERVAL, START, STOP)
    assert outcomes(source) == {"connection": 2}


def test_a_venue_that_nobody_vouches_for_is_refused_at_once(
    make_coinbase: MakeSource, exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    source = make_coinbase()
    with pytest.raises(SourceError, match="CERTIFICATE_VERIFY_FAILED"):
        source.bars(SYMBOL, INTERVAL, START, STOP)
    assert outcomes(source) == {"refused": 1}
    assert exchange.asked == []


@pytest.mark.parametrize(
    ("headers", "expected_s"),
    [
        ({"Retry-After": "37"}, 37.0),
        ({"Date": "Fri, 01 Mar 2024 00:00:00 GMT", "Retry-After": "Fri, 01 Mar 2024 00:00:41 GMT"}, 41.0),
        ({"Date": "Fri, 01 Mar 2024 00:00:00 GMT", "X-RateLimit-Reset": "1709251243"}, 43.0),
    ],
    ids=["seconds", "a date", "the moment of a new budget"],
)
def test_a_venue_that_says_how_long_to_wait_is_obeyed(
    make_source: MakeSource, exchange: Exchange, stopwatch: Stopwatch, headers: dict[str, Any], expected_s: float
) -> None:
    def busy(handler: Any) -> None:
        # send_response adds a Date of its own, and the first one counts.
        handler.date_time_string = lambda *_: headers.get("Date", "Fri, 01 Mar 2024 00:00:00 GMT")
        handler.send(429, "{}", {name: value for name, value in headers.items() if name != "Date"})

    exchange.faults.append(busy)
    source = make_source()
    source.bars(SYMBOL, INTERVAL, START, STOP)
    assert max(stopwatch.pauses) == expected_s
    assert source.drain().select("outcome", "waited_s").rows() == [("ok", 0.0), ("rate_limited", expected_s)]


def test_a_venue_that_wants_to_be_left_alone_for_an_hour_ends_the_sync(
    make_source: MakeSource, exchange: Exchange, stopwatch: Stopwatch
) -> None:
    exchange.faults.append(status(429, Retry_After="3600"))
    with pytest.raises(SourceError, match="left alone for 3,600 s"):
        make_source().bars(SYMBOL, INTERVAL, START, STOP)
    assert stopwatch.pauses == []


def test_the_breaker_leaves_a_broken_venue_alone_and_tries_once_after_the_rest(
    make_source: MakeSource, exchange: Exchange, stopwatch: Stopwatch
) -> None:
    exchange.faults.extend([html(500)] * 6)
    source = make_source(breaker_failures=5, breaker_rest_s=100, max_attempts=3)
    for expected in ("given up after 3 tries", "failure number 5 in a row", "left alone for another 100 s"):
        with pytest.raises(SourceError, match=expected):
            source.bars(SYMBOL, INTERVAL, START, STOP)
    assert len(exchange.asked) == 5
    stopwatch.at_s += 101
    with pytest.raises(SourceError, match="failure number 6 in a row"):
        source.bars(SYMBOL, INTERVAL, START, STOP)
    assert len(exchange.asked) == 6
    stopwatch.at_s += 101
    assert len(source.bars(SYMBOL, INTERVAL, START, STOP)) == 24
    assert outcomes(source) == {"server_error": 6, "breaker_open": 1, "ok": 1}


def test_a_sync_keeps_to_its_budget(make_source: MakeSource, exchange: Exchange, stopwatch: Stopwatch) -> None:
    exchange.page_rows = 10
    source = make_source(requests_per_minute=30, **_small_windows(make_source))
    source.bars(SYMBOL, INTERVAL, START, START + timedelta(hours=10))
    assert len(exchange.asked) == 4
    assert stopwatch.pauses == [2.0, 2.0, 2.0]


def _small_windows(make_source: MakeSource) -> dict[str, int]:
    """Ten bars a request: Coinbase by the size of our windows, Alpaca by the pages that its SDK follows."""
    return {"candles_per_call": 10} if make_source().name == "coinbase" else {}


def test_pages_that_never_end_are_a_broken_answer(make_alpaca: MakeSource, exchange: Exchange) -> None:
    exchange.faults.extend([body('{"bars": {}, "next_page_token": "again"}')] * 100)
    source = make_alpaca(max_attempts=1)
    with pytest.raises(SourceError, match="more than 20 pages for one question"):
        source.bars(SYMBOL, INTERVAL, START, STOP)
    assert len(exchange.asked) == 20
