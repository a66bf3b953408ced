"""What may be believed of an order that was not answered as it should be."""

from __future__ import annotations

import random
from typing import Any

import pytest
import requests
from urllib3.exceptions import MaxRetryError, NewConnectionError, ProtocolError

from cappuccino.brokers.broker import Refusal
from cappuccino.brokers.sending import BrokerCalls, Said, in_haste, refused_or_unknown, said
from cappuccino.errors import BrokerError, OrderUnknown
from cappuccino.market.venues.failures import Failure, failure_of, never_left
from cappuccino.settings import AlpacaSettings
from tests.loopback.stopwatch import Stopwatch


def answered(status: int, text: str, **headers: str) -> requests.HTTPError:
    response = requests.Response()
    response.status_code, response._content = status, text.encode()
    response.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
    return requests.HTTPError("no", response=response)


def failed(error: Exception) -> Failure:
    failure = failure_of(error)
    assert failure is not None
    return failure


def kind_of(words: Said) -> Refusal:
    return Refusal.FUNDS


def nobody_listens() -> requests.ConnectionError:
    return requests.ConnectionError(MaxRetryError(None, "/", NewConnectionError(None, "refused")))  # type: ignore[arg-type]


NEVER_LEFT = {
    "nobody listens": nobody_listens(),
    "no connection in time": requests.ConnectTimeout("late"),
    "an address that is none": requests.exceptions.InvalidURL("?"),
    "a stranger's certificate": requests.exceptions.SSLError("CERTIFICATE_VERIFY_FAILED"),
}
MAY_HAVE_LEFT = {
    "reset": requests.ConnectionError(ProtocolError("Connection aborted.")),
    "no answer in time": requests.ReadTimeout("late"),
    "a broken conversation": requests.exceptions.SSLError("EOF occurred"),
    "a cut body": requests.exceptions.ChunkedEncodingError("cut"),
    "no JSON": requests.exceptions.JSONDecodeError("no", "", 0),
    "nothing": TypeError("NoneType"),
    "a server's error": answered(500, "{}"),
    "a gateway's time-out": answered(504, "<html>"),
    "a request time-out": answered(408, "{}"),
    "a page of something in between": answered(403, "<html>"),
}


@pytest.mark.parametrize("error", NEVER_LEFT.values(), ids=NEVER_LEFT.keys())
def test_what_never_left_was_not_taken(error: Exception) -> None:
    assert never_left(error)
    assert refused_or_unknown("venue", failed(error), kind_of).kind is Refusal.UNREACHED


@pytest.mark.parametrize("error", MAY_HAVE_LEFT.values(), ids=MAY_HAVE_LEFT.keys())
def test_what_may_have_left_is_unknown(error: Exception) -> None:
    assert not never_left(error)
    with pytest.raises(OrderUnknown, match=r"venue: .*nobody knows"):
        refused_or_unknown("venue", failed(error), kind_of)


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        (400, "{}", Refusal.FUNDS),
        (422, '{"code": 1}', Refusal.FUNDS),
        (429, "<html>", Refusal.RATE),
        (401, "Unauthorized", Refusal.CREDENTIALS),
    ],
)
def test_what_the_venue_itself_refuses_was_not_taken(status: int, text: str, kind: Refusal) -> None:
    assert refused_or_unknown("venue", failed(answered(status, text)), kind_of).kind is kind


def test_only_json_below_500_is_the_venues_own_word() -> None:
    assert said(failed(answered(403, '{"code": 7}'))) == Said(403, {"code": 7})
    assert [said(failed(answered(status, text))) for status, text in [(403, "<"), (500, "{}"), (408, "{}")]] == [
        None
    ] * 3
    assert said(failed(nobody_listens())) is None


def calls(stopwatch: Stopwatch, **fields: Any) -> BrokerCalls:
    settings = AlpacaSettings(**fields)
    return BrokerCalls(
        "venue", settings, 1e9, sleep=stopwatch.sleep, monotonic=stopwatch.monotonic, rng=random.Random(1)
    )


def test_a_question_holds_nobody_up() -> None:
    chosen = in_haste(AlpacaSettings(max_attempts=9, max_pause_s=60, read_timeout_s=60, connect_timeout_s=2))
    assert (chosen.max_attempts, chosen.max_pause_s, chosen.read_timeout_s, chosen.connect_timeout_s) == (3, 2, 10, 2)
    assert in_haste(AlpacaSettings(max_attempts=1, read_timeout_s=1)).read_timeout_s == 1


def test_a_question_ends_when_its_tries_took_long() -> None:
    stopwatch = Stopwatch()

    def slow() -> None:
        stopwatch.at_s += 10.5
        raise requests.ReadTimeout("late")

    with pytest.raises(BrokerError, match="given up after 1 tries"):
        calls(stopwatch).read("account", slow)


def test_an_order_is_tried_once() -> None:
    tries: list[int] = []

    def fail() -> None:
        tries.append(1)
        raise requests.ReadTimeout("late")

    assert isinstance(calls(Stopwatch()).once("order", fail), Failure)
    assert len(tries) == 1


def test_a_short_pause_that_the_venue_asks_for_is_waited_for() -> None:
    stopwatch, answers = Stopwatch(), iter([answered(429, "{}", Retry_After="2")])

    def ask() -> str:
        for error in answers:
            raise error
        return "well"

    assert calls(stopwatch).read("account", ask) == "well"
    assert stopwatch.at_s >= 2


def test_nobody_is_left_alone_for_days() -> None:
    stopwatch = Stopwatch()
    broker = calls(stopwatch)

    def ask() -> None:
        raise answered(429, "{}", Retry_After="86400")

    broker.once("order", ask)
    stopwatch.at_s += 900
    assert broker.once("order", lambda: "well") == "well"


def test_an_error_that_is_not_about_a_call_passes() -> None:
    def wrong() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        calls(Stopwatch()).once("order", wrong)
