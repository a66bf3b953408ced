"""What the venues share: which windows to ask for, and what is kept of the answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from datetime import datetime, timedelta

import polars as pl

from cappuccino.clock import Clock
from cappuccino.errors import ConfigError
from cappuccino.market.interval import Interval
from cappuccino.market.ranges import Ask
from cappuccino.market.source import check_frame, check_range, empty_frame, utc_text
from cappuccino.market.venues import books
from cappuccino.market.venues.calls import Caller
from cappuccino.market.venues.rows import KEY, fit


class VenueSource(ABC):
    """A `RemoteSource` over an exchange's public interface. Its client is made when it is first needed."""

    name: str
    is_simulated = False
    chunk_bars = 20_000

    def __init__(self, clock: Clock, caller: Caller) -> None:
        self.clock, self._caller = clock, caller

    @property
    @abstractmethod
    def granularities(self) -> dict[Interval, str]:
        """Intervals that the venue has on our grid, with its words for them."""

    @abstractmethod
    def symbols(self) -> tuple[str, ...]:
        """Return the symbols that the venue has, sorted."""

    def span(self) -> None:
        """Return None: there is always a later bar."""
        return

    def drain(self) -> pl.DataFrame:
        """Return how the calls went since the last time, in columns of ops.api_errors but for `synced_at_utc`."""
        return self._caller.drain()

    def bars(self, symbols: tuple[str, ...], interval: Interval, start: datetime, stop: datetime) -> pl.DataFrame:
        """Return the bars that opened in [start, stop) and had closed at `clock.now()`.

        Bars that cannot be true are left out and counted (see `rows.fit`). Raises ConfigError for an interval that
        the venue has not, SourceError when it fails, refuses, talks nonsense or has never heard of a symbol.
        """
        start, stop = check_range(start, stop)
        self._granularity(interval)
        now, names = self.clock.now(), tuple(sorted(set(symbols)))
        first, end = _ceil(start, interval), min(_ceil(stop, interval), interval.floor(now))
        answers = [self._answer(ask, interval, now) for ask in self._asks(names, interval, first, end)]
        bars = pl.concat([empty_frame(), *answers]).sort(*KEY)
        present = set(bars["symbol"].unique())
        self._refuse_unknown(present, set(names) - present)
        return check_frame(bars, interval, self.name)

    def books(self, symbols: tuple[str, ...]) -> pl.DataFrame:
        """Return the order books of now: symbol, seen_at_utc, bid_units, ask_units over the best 10 levels.

        `seen_at_utc` is the clock's time after the answers came, when we knew it. A symbol without a book has no row.
        """
        names = tuple(sorted(set(symbols)))
        levels = [books.level_frame(()), *(self._levels(some) for some in self._groups(names))]
        return books.depth(pl.concat(levels), self.clock.now())

    @abstractmethod
    def _asks(self, names: tuple[str, ...], interval: Interval, start: datetime, stop: datetime) -> Iterator[Ask]:
        """Yield the questions that cover the range, each small enough for one request."""

    @abstractmethod
    def _groups(self, names: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        """Yield the symbols in groups that one request for books may hold."""

    @abstractmethod
    def _rows(self, ask: Ask, interval: Interval) -> pl.DataFrame:
        """Return the rows of one answer as they came, in types of BAR_SCHEMA."""

    @abstractmethod
    def _levels(self, names: tuple[str, ...]) -> pl.DataFrame:
        """Return the levels of some books, see `books.level_frame`."""

    @abstractmethod
    def _refuse_unknown(self, present: set[str], absent: set[str]) -> None:
        """Raise SourceError for a symbol that has no bars because it does not exist; venues tell in different ways."""

    def _granularity(self, interval: Interval) -> str:
        found = self.granularities.get(interval)
        if found is None:
            raise ConfigError(
                f"market.base_interval = '{interval}': {self.name} bars of that length are derived, not fetched; "
                f"set it to one of {', '.join(self.granularities)}"
            )
        return found

    def _answer(self, ask: Ask, interval: Interval, now: datetime) -> pl.DataFrame:
        kept = fit(self._rows(ask, interval), ask, interval, now)
        self._caller.note_bars("bars", kept.n_rows, kept.n_bad, kept.example)
        kept.refuse_nonsense(f"{self.name}: {about(ask, interval)}")
        return kept.bars


def about(ask: Ask, interval: Interval) -> str:
    """Return a question in words, for messages."""
    return f"{interval} bars of {', '.join(ask.symbols)} from {utc_text(ask.start)} to {utc_text(ask.stop)}"


def last_second(ask: Ask) -> datetime:
    """Return an end that takes in the last bar and not the next, whether a venue counts ends in or not."""
    return ask.stop - timedelta(seconds=1)


def _ceil(moment: datetime, interval: Interval) -> datetime:
    """Return the first open at or after `moment`."""
    floor = interval.floor(moment)
    return floor if floor == moment else floor + interval.duration
