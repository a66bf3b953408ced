"""What went wrong with a call to a venue, told from the exception that its SDK let through."""

from __future__ import annotations

from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Literal

import requests
from polars.exceptions import PolarsError
from requests.structures import CaseInsensitiveDict
from urllib3.exceptions import MaxRetryError, NewConnectionError, ReadTimeoutError

Outcome = Literal[
    "ok",
    "rate_limited",
    "server_error",
    "timed_out",
    "connection",
    "broken_answer",
    "refused",
    "breaker_open",
    "bad_bar",
]
"""How a call went; the words of ops.api_errors."""

_WRONG_ADDRESS = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
    requests.exceptions.InvalidProxyURL,
)
_BROKEN_HTTP = (
    requests.exceptions.InvalidJSONError,
    requests.exceptions.ContentDecodingError,
    requests.exceptions.TooManyRedirects,
)
# What the SDKs let through when an answer is not what they expect: an empty body is a TypeError in one of them.
_BROKEN_CONTENT = (ValueError, TypeError, AttributeError, LookupError, OverflowError, PolarsError)


@dataclass(frozen=True)
class Failure:
    """A call that gave nothing."""

    outcome: Outcome
    message: str
    retry_after_s: float = 0.0
    """How long the venue wants to be left alone; 0 when it does not say."""
    cause: Exception | None = field(default=None, compare=False, repr=False)

    @property
    def is_ours(self) -> bool:
        """True when the same question would be refused again."""
        return self.outcome == "refused"


def failure_of(error: Exception) -> Failure | None:
    """Return what `error` says about the call; None when it says nothing about a call at all."""
    response = response_of(error)
    if response is not None:
        return _of_response(response, error)
    outcome = _outcome(error)
    return Failure(outcome, _one_line(f"{type(error).__name__}: {error}"), cause=error) if outcome else None


def response_of(error: Exception | None) -> requests.Response | None:
    """Return the answer that an error is about; None without one."""
    response = getattr(error, "response", None)  # of requests.HTTPError, and of Alpaca's APIError
    return response if isinstance(response, requests.Response) else None


def _outcome(error: Exception) -> Outcome | None:
    # Most specific first: an SSLError is a ConnectionError, and InvalidURL is a ValueError too.
    if isinstance(error, _WRONG_ADDRESS) or _is_untrusted(error):
        return "refused"
    if isinstance(error, requests.Timeout) or _is_late_body(error):
        return "timed_out"
    if isinstance(error, _BROKEN_HTTP):
        return "broken_answer"
    if isinstance(error, requests.RequestException):
        return "connection"
    return "broken_answer" if isinstance(error, _BROKEN_CONTENT) else None


def never_left(error: Exception | None) -> bool:
    """True when a request certainly did not reach anybody: no connection, or none that was trusted."""
    if error is None:
        return False
    if isinstance(error, (requests.ConnectTimeout, *_WRONG_ADDRESS)) or _is_untrusted(error):
        return True
    cause = error.args[0] if isinstance(error, requests.ConnectionError) and error.args else None
    return isinstance(cause, MaxRetryError) and isinstance(cause.reason, NewConnectionError)


def _is_untrusted(error: Exception) -> bool:
    return isinstance(error, requests.exceptions.SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error)


def _is_late_body(error: Exception) -> bool:
    """requests calls a time-out in the middle of a body a lost connection."""
    return bool(isinstance(error, requests.ConnectionError) and error.args and _is_read_timeout(error.args[0]))


def _is_read_timeout(cause: object) -> bool:
    return isinstance(cause, ReadTimeoutError)


def _of_response(response: requests.Response, error: Exception) -> Failure:
    message = _one_line(f"HTTP {response.status_code} {response.reason or ''}: {response.text}")
    return Failure(_outcome_of_status(response.status_code), message, retry_after_s(response), error)


def _outcome_of_status(status: int) -> Outcome:
    if status == 429:
        return "rate_limited"
    if status == 408:
        return "timed_out"
    return "server_error" if status >= 500 else "refused"


def retry_after_s(response: requests.Response) -> float:
    """Return the seconds that the venue asks to wait; 0 when it does not say, or not in a way that can be read.

    Understands Retry-After as seconds and as a date (RFC 9110, 10.2.3) and, after too many requests, the Unix time of
    Alpaca's X-RateLimit-Reset. Dates count from the answer's own Date, so that our clock does not matter.
    """
    headers = response.headers
    asked = headers.get("Retry-After", "").strip()
    if asked.isdecimal():
        return float(asked)
    sent_s = _unix_s(headers.get("Date", ""))
    until_s = _unix_s(asked)
    if until_s is None and response.status_code == 429:
        until_s = _reset_s(headers)
    return max(until_s - sent_s, 0.0) if until_s is not None and sent_s is not None else 0.0


def _reset_s(headers: CaseInsensitiveDict[str]) -> float | None:
    text = headers.get("X-RateLimit-Reset", "").strip()
    return float(text) if text.isdecimal() else None


def _unix_s(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None


def _one_line(text: str) -> str:
    return " ".join(text.split())[:2000]
