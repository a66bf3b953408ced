"""Which stretches of time a sync still has to ask for, and in which pieces. Pure: ranges in, ranges out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from cappuccino.market.interval import DAY, Interval

Range = tuple[datetime, datetime]
"""[start, stop)."""


@dataclass(frozen=True)
class Ask:
    """One question to a source: the bars of `symbols` that opened in [start, stop)."""

    symbols: tuple[str, ...]
    start: datetime
    stop: datetime

    def n_bars(self, interval: Interval) -> int:
        """Return how many bars there are if none is absent."""
        return len(self.symbols) * ((self.stop - self.start) // interval.duration)


def without(whole: Range, covered: Iterable[Range]) -> tuple[Range, ...]:
    """Return the parts of `whole` that no range of `covered` touches, in order of time."""
    left: list[Range] = []
    start, stop = whole
    for first, last in sorted(covered):
        if first > start:
            left.append((start, min(first, stop)))
        start = max(start, last)
        if start >= stop:
            break
    if start < stop:
        left.append((start, stop))
    return tuple((a, b) for a, b in left if a < b)


def missing(symbols: tuple[str, ...], whole: Range, covered: Mapping[str, Iterable[Range]]) -> tuple[Ask, ...]:
    """Return what to ask for: the parts of `whole` that `covered` lacks, symbols with equal parts together."""
    together: dict[tuple[Range, ...], list[str]] = {}
    for symbol in symbols:
        together.setdefault(without(whole, covered.get(symbol, ())), []).append(symbol)
    asks = [Ask(tuple(names), *part) for parts, names in together.items() for part in parts]
    return tuple(sorted(asks, key=lambda ask: (ask.start, ask.symbols)))


def pieces(ask: Ask, interval: Interval, n_bars: int) -> Iterator[Ask]:
    """Yield `ask` in pieces of about `n_bars` bars, oldest first; whole days where a day fits in."""
    length = max(n_bars // len(ask.symbols), 1) * interval.duration
    if length > DAY:
        length -= length % DAY
    start = ask.start
    while start < ask.stop:
        stop = min(start + length, ask.stop)
        if length >= DAY and stop < ask.stop:
            stop = Interval.D1.floor(stop)  # a first piece that begins inside a day ends at a midnight
        yield Ask(ask.symbols, start, stop)
        start = stop
