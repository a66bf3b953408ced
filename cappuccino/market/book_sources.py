"""Who knows the order books of a source of bars."""

from __future__ import annotations

from cappuccino.clock import Clock
from cappuccino.market.book import BookSource
from cappuccino.market.simulated import SimulatedSource
from cappuccino.market.simulated_books import SimulatedBooks
from cappuccino.market.source import BarSource


def book_source_of(source: BarSource, clock: Clock) -> BookSource | None:
    """Return the source of books that belongs to `source`, None when it has none."""
    if isinstance(source, SimulatedSource):
        return SimulatedBooks(source, clock)
    return source if isinstance(source, BookSource) else None
