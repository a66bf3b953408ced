"""Which source is configured, and what time it is on its market."""

from __future__ import annotations

from datetime import datetime

from cappuccino.clock import CappedClock, Clock, SystemClock
from cappuccino.market.files import FileSource
from cappuccino.market.simulated import SimulatedSource
from cappuccino.market.source import BarSource
from cappuccino.settings import MarketSettings, Settings
from cappuccino.store.warehouse import Reader


def source_of(settings: Settings) -> BarSource:
    """Return the configured source of bars; a venue goes by the wall clock, whatever is decided as of when."""
    # Imported late: whoever reads files needs no exchange.
    match settings.market.source:
        case "files":
            assert settings.market.path is not None  # Settings refuses files without a path
            return FileSource(settings.market.path)
        case "alpaca":
            from cappuccino.market.venues.alpaca import AlpacaSource

            return AlpacaSource(settings.alpaca, SystemClock())
        case "coinbase":
            from cappuccino.market.venues.coinbase import CoinbaseSource

            return CoinbaseSource(settings.coinbase, SystemClock())
        case "simulated":
            return SimulatedSource(settings.simulated.seed)


def record_end(market: MarketSettings, source: BarSource) -> datetime | None:
    """Return where the record ends, and with it the present of all decisions on it; None when it goes on."""
    span = source.span()
    ends = [end for end in (market.end, span[1] if span else None) if end is not None]
    return min(ends) if ends else None


def clock_of(market: MarketSettings, source: BarSource) -> Clock:
    """Return the wall clock, stopped where the record ends: bars of last year are decided on as of last year."""
    return _capped(record_end(market, source))


def present_clock(reader: Reader) -> Clock:
    """Return the same clock from what the warehouse remembers of its newest sync."""
    newest = reader.one("select record_ends_utc from ops.syncs order by synced_at_utc desc limit 1")
    return _capped(newest[0] if newest else None)


def _capped(end: datetime | None) -> Clock:
    return SystemClock() if end is None else CappedClock(SystemClock(), end)
