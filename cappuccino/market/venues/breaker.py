"""A circuit breaker: after too many failures in a row a venue is left alone for a while."""

from __future__ import annotations

from collections.abc import Callable


class Breaker:
    """Closed: everything may be asked. Open: nothing, until `rest_s` is over; then one success closes it again, and
    one failure opens it anew."""

    def __init__(self, failures: int, rest_s: float, monotonic: Callable[[], float]) -> None:
        self._limit, self._rest_s, self._monotonic = failures, rest_s, monotonic
        self.in_a_row = 0
        """Failures since the last success."""
        self._opened_at_s: float | None = None

    @property
    def is_open(self) -> bool:
        return self._opened_at_s is not None

    @property
    def rest_left_s(self) -> float:
        """Seconds for which nothing may be asked; 0 when something may."""
        if self._opened_at_s is None:
            return 0.0
        return max(self._opened_at_s + self._rest_s - self._monotonic(), 0.0)

    def succeeded(self) -> None:
        self.in_a_row, self._opened_at_s = 0, None

    def failed(self) -> None:
        self.in_a_row += 1
        if self.in_a_row >= self._limit:
            self._opened_at_s = self._monotonic()
