"""What exceptions of the SDKs mean, those that a server on this machine cannot bring about among them."""

from __future__ import annotations

import pytest
import requests
from urllib3.exceptions import ReadTimeoutError

from cappuccino.market.venues.failures import failure_of, retry_after_s


def answer(status: int, **headers: str) -> requests.Response:
    response = requests.Response()
    response.status_code, response._content = status, b"no"
    response.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
    return response


LATE_BODY = requests.ConnectionError(ReadTimeoutError(None, "/", "Read timed out."))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (requests.ConnectTimeout(), "timed_out"),
        (requests.ReadTimeout(), "timed_out"),
        (LATE_BODY, "timed_out"),
        (requests.exceptions.ChunkedEncodingError(), "connection"),
        (requests.exceptions.ProxyError(), "connection"),
        (requests.exceptions.SSLError("EOF occurred in violation of protocol"), "connection"),
        (requests.exceptions.SSLError("CERTIFICATE_VERIFY_FAILED"), "refused"),
        (requests.exceptions.InvalidURL(), "refused"),
        (requests.exceptions.ContentDecodingError(), "broken_answer"),
        (requests.exceptions.TooManyRedirects(), "broken_answer"),
        (requests.HTTPError(response=answer(500)), "server_error"),
        (requests.HTTPError(response=answer(429)), "rate_limited"),
        (requests.HTTPError(response=answer(451)), "refused"),
        (KeyError("bars"), "broken_answer"),
        (TypeError("'NoneType' object is not iterable"), "broken_answer"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value,
)
def test_every_error_of_a_call_has_its_outcome(error: Exception, outcome: str) -> None:
    failure = failure_of(error)
    assert failure is not None
    assert failure.outcome == outcome


@pytest.mark.parametrize("error", [MemoryError(), AssertionError(), NotImplementedError()])
def test_other_errors_say_nothing_about_a_call(error: Exception) -> None:
    assert failure_of(error) is None


SENT = "Fri, 01 Mar 2024 00:00:00 GMT"


@pytest.mark.parametrize(
    ("headers", "expected_s"),
    [
        ({}, 0.0),
        ({"Retry_After": "12"}, 12.0),
        ({"Retry_After": "soon", "Date": SENT}, 0.0),
        ({"Retry_After": "-5", "Date": SENT}, 0.0),
        ({"Retry_After": "Fri, 01 Mar 2024 00:01:00 GMT", "Date": SENT}, 60.0),
        ({"Retry_After": "Thu, 29 Feb 2024 00:00:00 GMT", "Date": SENT}, 0.0),
        ({"Retry_After": "Fri, 01 Mar 2024 00:01:00 GMT"}, 0.0),
        ({"X_RateLimit_Reset": "1709251230", "Date": SENT}, 30.0),
        ({"X_RateLimit_Reset": "1709251230", "Date": SENT, "Retry_After": "3"}, 3.0),
        ({"X_RateLimit_Reset": "60", "Date": SENT}, 0.0),
    ],
)
def test_how_long_to_wait_is_read_from_the_answer_alone(headers: dict[str, str], expected_s: float) -> None:
    assert retry_after_s(answer(429, **headers)) == expected_s


def test_a_new_budget_matters_only_when_the_old_one_is_used_up() -> None:
    assert retry_after_s(answer(503, X_RateLimit_Reset="1709251230", Date=SENT)) == 0.0
