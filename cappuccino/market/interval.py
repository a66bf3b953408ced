"""Bar intervals and their arithmetic; a bar is named by the UTC time of its open."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum

from cappuccino.clock import require_utc

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


class Interval(StrEnum):
    """Length of a bar. Every one divides a day, so that buckets never straddle midnight UTC."""

    M1 = "1m"
    M5 = "5m"
    M15 = "15m"
    M30 = "30m"
    H1 = "1h"
    H4 = "4h"
    D1 = "1d"

    @property
    def duration(self) -> timedelta:
        unit = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": DAY}[self.value[-1]]
        return int(self.value[:-1]) * unit

    @property
    def us(self) -> int:
        """Length in microseconds."""
        return self.duration // timedelta(microseconds=1)

    @property
    def per_day(self) -> int:
        return DAY // self.duration

    @property
    def per_year(self) -> int:
        """Bars in a year of a market that never closes (365 days)."""
        return 365 * self.per_day

    def floor(self, moment: datetime) -> datetime:
        """Return the open of the bar that `moment` falls into."""
        moment = require_utc(moment)
        return moment - (moment - EPOCH) % self.duration

    def last_open(self, now: datetime) -> datetime:
        """Return the open of the newest bar that has closed at `now`."""
        return self.floor(now) - self.duration
