"""Time is an argument. Only `SystemClock` reads the wall clock, and only the entry points build one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Tells what time it is for every decision."""

    def now(self) -> datetime:
        """Return the present moment as an aware UTC datetime."""
        ...


class SystemClock:
    """The wall clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)


@dataclass(frozen=True)
class FixedClock:
    """A clock that stands still: virtual time, replays and tests.

    Raises ValueError when `at` has no zone.
    """

    at: datetime

    def __post_init__(self) -> None:
        require_utc(self.at)

    def now(self) -> datetime:
        return require_utc(self.at)


@dataclass(frozen=True)
class CappedClock:
    """`base`, but never later than `end`: the present of a market whose record ends there."""

    base: Clock
    end: datetime

    def now(self) -> datetime:
        return min(self.base.now(), require_utc(self.end))


def require_utc(moment: datetime) -> datetime:
    """Return `moment` in UTC; raises ValueError when it has no zone."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment!r} has no time zone; pass an aware UTC datetime")
    return moment.astimezone(UTC)
