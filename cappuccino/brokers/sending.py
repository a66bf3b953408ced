"""How one call of a broker goes: a question is repeated a little, an order is sent once.

What came of an order that was not answered as it should be is told here in one place, `refused_or_unknown`: whatever
may have reached the venue is `OrderUnknown`, and only what certainly was not taken is a refusal.
"""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from cappuccino.brokers.broker import Refusal, Refused
from cappuccino.errors import BrokerError, OrderUnknown, SourceError
from cappuccino.market.venues.calls import MAX_RETRY_AFTER_S, Caller
from cappuccino.market.venues.failures import Failure, never_left, response_of
from cappuccino.settings import CallSettings

T = TypeVar("T")

LONGEST_ORDER_PAUSE_S = 30.0
"""An order waits no longer than that after a venue asked for a pause: the sale that a stop wants does no harm, and a
second refusal costs less than a position without a stop."""
MAX_TRIES, MAX_PAUSE_S, MAX_READ_TIMEOUT_S, MAX_QUESTION_S = 3, 2.0, 10.0, 10.0
"""The trader looks at the market every minute, and protects at each look: no question may hold it up for long."""


@dataclass(frozen=True)
class Said:
    """A refusal in the venue's words."""

    status: int
    content: Any
    """Its JSON."""


def in_haste(settings: CallSettings) -> CallSettings:
    """Return the settings of calls, with limits that a trader can wait for."""
    return settings.model_copy(
        update={
            "max_attempts": min(settings.max_attempts, MAX_TRIES),
            "max_pause_s": min(settings.max_pause_s, MAX_PAUSE_S),
            "read_timeout_s": min(settings.read_timeout_s, MAX_READ_TIMEOUT_S),
        }
    )


class BrokerCalls(Caller):
    """Calls of one venue's account, with one budget, one breaker and one account of how they went."""

    def __init__(
        self,
        venue: str,
        settings: CallSettings,
        requests_per_minute: float,
        *,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        self.settings = in_haste(settings)
        """Those that the venue's session has to be paced with."""
        super().__init__(venue, self.settings, requests_per_minute, sleep=sleep, monotonic=monotonic, rng=rng)
        self._asked_at_s = self._alone_until_s = self._told_at_s = -math.inf

    def read(self, endpoint: str, request: Callable[[], T], about: str = "") -> T:
        """Return what `request` returns, trying a few times; for whatever does no harm when it is done twice.

        Raises BrokerError when the venue refuses, keeps failing, or is being left alone.
        """
        self._asked_at_s = self._monotonic()
        try:
            return self.call(endpoint, request, about)
        except SourceError as error:
            raise BrokerError(str(error)) from None

    def once(self, endpoint: str, request: Callable[[], T]) -> T | Failure:
        """Return what `request` returns, or how it failed; it is tried once or, while the venue rests, not at all."""
        left_s = min(self._alone_s(), self._told_at_s + LONGEST_ORDER_PAUSE_S - self._monotonic())
        if left_s > 0:
            return self._untried(endpoint, Failure("rate_limited", self._alone_words(left_s)))
        if self._breaker.rest_left_s > 0:
            return self._untried(endpoint, Failure("breaker_open", self._resting_words()))
        answer = self._try(endpoint, request)
        if isinstance(answer, Failure):
            self._obey(answer)
        return answer

    def _untried(self, endpoint: str, failure: Failure) -> Failure:
        self._account.note(endpoint, "breaker_open", failure.message)
        return failure

    def _obey(self, failure: Failure) -> None:
        """Remember for how long the venue wants to be left alone."""
        rest_s = min(failure.retry_after_s, MAX_RETRY_AFTER_S)
        self._alone_until_s = max(self._alone_until_s, self._monotonic() + rest_s)
        if rest_s > 0:
            self._told_at_s = self._monotonic()

    def _alone_s(self) -> float:
        """Return for how long the venue still wants to be left alone; a pause of just that time is enough."""
        left_s = self._alone_until_s - self._monotonic()
        return left_s if left_s > 1e-3 else 0.0

    def _alone_words(self, left_s: float) -> str:
        return f"{self.source} asked to be left alone for another {math.ceil(left_s)} s"

    def _resting_words(self) -> str:
        left_s = math.ceil(self._breaker.rest_left_s)
        return f"{self.source} failed {self._breaker.in_a_row} times in a row and is left alone for another {left_s} s"

    def _refuse_while_resting(self, endpoint: str) -> None:
        left_s = self._alone_s()
        message = self._alone_words(left_s) if left_s > 0 else self._resting_words()
        if left_s > 0 or self._breaker.rest_left_s > 0:
            self._account.note(endpoint, "breaker_open", message)
            raise SourceError(message)

    def _reason_to_stop(self, failure: Failure, attempt: int) -> str | None:
        """Return why there is no further try; None when there is one."""
        self._obey(failure)
        if failure.is_ours:
            return "asking again would not help; check keys, address and permissions"
        if failure.retry_after_s > MAX_PAUSE_S:
            return f"it wants to be left alone for {failure.retry_after_s:,.0f} s"
        if attempt >= self.settings.max_attempts or self._monotonic() - self._asked_at_s > MAX_QUESTION_S:
            return f"given up after {attempt} tries"
        return self._resting_words() if self._breaker.is_open else None


def said(failure: Failure) -> Said | None:
    """Return what the venue itself said against a request; None when nobody says that it was the venue.

    A page of HTML comes from something in between, which does not know what the venue did.
    """
    response = response_of(failure.cause)
    if response is None or not 400 <= response.status_code < 500 or response.status_code == 408:
        return None
    try:
        return Said(response.status_code, json.loads(response.text))
    except ValueError:
        return None


def is_unauthorized(failure: Failure) -> bool:
    """True for 401, which Coinbase says without JSON: the keys, or a clock that is wrong."""
    response = response_of(failure.cause)
    return response is not None and response.status_code == 401


def refused_or_unknown(venue: str, failure: Failure, kind_of: Callable[[Said], Refusal]) -> Refused:
    """Return why an order was certainly not taken; `kind_of` reads the venue's own words.

    Raises OrderUnknown when it may have been taken: after a time-out, a lost connection, an error of the server, or an
    answer that makes no sense.
    """
    reason = f"{venue}: {failure.message[:500]}"
    if failure.outcome == "breaker_open" or never_left(failure.cause):
        return Refused(reason, Refusal.UNREACHED)
    if failure.outcome == "rate_limited":
        return Refused(reason, Refusal.RATE)
    if is_unauthorized(failure):
        return Refused(reason, Refusal.CREDENTIALS)
    words = said(failure)
    if words is None:
        raise OrderUnknown(f"{reason}; nobody knows whether the order was taken: ask before anything else is sent")
    return Refused(reason, kind_of(words))
