"""Asking a venue: a budget of requests, pauses that grow, a circuit breaker, and an account of how it went.

The loop is our own because its four parts share state: what was counted, the pause that the venue asks for and the
breaker decide together whether there is a next try. Libraries for retries bring the loop alone.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from itertools import count
from typing import TypeVar

import polars as pl

from cappuccino.errors import SourceError
from cappuccino.market.venues.account import Account
from cappuccino.market.venues.breaker import Breaker
from cappuccino.market.venues.failures import Failure, failure_of
from cappuccino.settings import CallSettings

T = TypeVar("T")

MAX_RETRY_AFTER_S = 900.0
"""A venue that wants to be left alone for longer ends the sync: the next one comes anyway."""
RATE_WINDOW_S = 60.0
"""Venues count requests by the minute: the tries of one that is refused for its rate, without being told for how long,
reach over a whole one."""
MAX_PAGES = 20
"""Requests that one question may take. An SDK follows pages by itself, without end if the venue leads it in circles."""


class Caller:
    """Asks one venue. Its clock, pauses and dice can be replaced, so that a test waits for nothing."""

    def __init__(
        self,
        source: str,
        settings: CallSettings,
        requests_per_minute: float,
        *,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        self.source = source
        self._settings, self._gap_s = settings, 60 / requests_per_minute
        self._sleep, self._monotonic, self._rng = sleep, monotonic, rng or random.Random()
        self._breaker = Breaker(settings.breaker_failures, settings.breaker_rest_s, monotonic)
        self._account = Account(source)
        self._free_at_s, self._n_pages = -math.inf, 0

    def call(self, endpoint: str, request: Callable[[], T], about: str = "") -> T:
        """Return what `request` returns, trying again as long as there is hope.

        `endpoint` is the kind of question, for the account; `about` is the question, for messages. Raises SourceError
        when the venue refuses, keeps failing, or is being left alone; any error that is not about a call passes.
        """
        for attempt in count(1):
            self._refuse_while_resting(endpoint)
            answer = self._try(endpoint, request)
            if not isinstance(answer, Failure):
                return answer
            reason = self._reason_to_stop(answer, attempt)
            if reason:
                raise SourceError(f"{self.source}: no {about or endpoint}: {answer.message[:500]}; {reason}")
            self._pause(endpoint, answer, attempt)
        raise AssertionError("count() never ends")

    def before_request(self) -> None:
        """Wait until the budget has room; raises ValueError for a question that takes too many requests.

        Whatever sends requests calls it before each, see `transport`: a question may take several.
        """
        self._n_pages += 1
        if self._n_pages > MAX_PAGES:
            raise ValueError(f"more than {MAX_PAGES} pages for one question")
        now_s = self._monotonic()
        if self._free_at_s > now_s:
            self._sleep(self._free_at_s - now_s)
        self._free_at_s = max(self._free_at_s, now_s) + self._gap_s

    def note_bars(self, endpoint: str, n_bars: int, n_bad: int, example: str) -> None:
        """Count the bars of an answer, and those of them that were left out."""
        self._account.note_bars(endpoint, n_bars, n_bad, example)

    def drain(self) -> pl.DataFrame:
        """Return what happened since the last time, in columns of ops.api_errors but for `synced_at_utc`."""
        return self._account.drain()

    def _try(self, endpoint: str, request: Callable[[], T]) -> T | Failure:
        self._n_pages = 0
        try:
            answer = request()
        except Exception as error:
            failure = failure_of(error)
            if failure is None:
                raise
            self._account.note(endpoint, failure.outcome, failure.message)
            # A venue that refuses is there and works.
            (self._breaker.succeeded if failure.is_ours else self._breaker.failed)()
            return failure
        self._account.note(endpoint, "ok")
        self._breaker.succeeded()
        return answer

    def _refuse_while_resting(self, endpoint: str) -> None:
        left_s = self._breaker.rest_left_s
        if left_s > 0:
            message = (
                f"{self.source} failed {self._breaker.in_a_row} times in a row and is left alone for another "
                f"{math.ceil(left_s)} s; sync again then, what was synced so far is kept"
            )
            self._account.note(endpoint, "breaker_open", message)
            raise SourceError(message)

    def _reason_to_stop(self, failure: Failure, attempt: int) -> str | None:
        """Return why there is no further try and what to do instead; None when there is one."""
        address = "data_url" if self.source == "alpaca" else "base_url"
        kept = f"what was synced so far is kept. Sync again later, or check {self.source}.{address} and the network"
        if failure.is_ours:
            return f"correct market.symbols, the range or {self.source}.{address}; asking again would not help"
        if failure.retry_after_s > MAX_RETRY_AFTER_S:
            return f"it wants to be left alone for {failure.retry_after_s:,.0f} s; sync again then"
        if attempt >= self._settings.max_attempts:
            return f"given up after {attempt} tries; {kept}"
        if self._breaker.is_open:
            return f"failure number {self._breaker.in_a_row} in a row; {kept}"
        return None

    def _pause(self, endpoint: str, failure: Failure, attempt: int) -> None:
        """Wait for a random part of a time that doubles ("full jitter"), or as long as the venue asks if longer.

        A rate that is exceeded needs time, not luck: without a word from the venue, at least a part of its minute.

        Source: Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
        """
        longest_s = min(self._settings.first_pause_s * 2.0 ** min(attempt - 1, 60), self._settings.max_pause_s)
        least_s = failure.retry_after_s
        if failure.outcome == "rate_limited" and not least_s:
            least_s = min(RATE_WINDOW_S / max(self._settings.max_attempts - 2, 1), self._settings.max_pause_s)
        pause_s = max(self._rng.uniform(0, longest_s), least_s)
        self._account.waited(endpoint, failure.outcome, pause_s)
        self._sleep(pause_s)
