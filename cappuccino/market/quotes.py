"""What a symbol can be bought and sold for now."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol


@dataclass(frozen=True)
class Quote:
    """The best prices of a book, as a venue told them; nothing is checked yet."""

    symbol: str
    bid_usd: float
    ask_usd: float
    at: datetime
    """When the venue says that it was so; our own clock where it does not say."""
    bid_units: float = 0.0
    """Wanted at the best bid; 0 where the venue does not say."""
    ask_units: float = 0.0

    @property
    def mid_usd(self) -> float:
        return (self.bid_usd + self.ask_usd) / 2.0


def mids_usd(quotes: Mapping[str, Quote]) -> dict[str, float]:
    """Return the middle of each quote, by symbol."""
    return {symbol: quote.mid_usd for symbol, quote in quotes.items()}


def readable(rows: Mapping[str, Any], read: Callable[[str, Any], Quote]) -> dict[str, Quote]:
    """Return the quotes of those `rows`, by symbol, that `read` understands: a broken one leaves the others alone.

    Raises what `read` raised when it understands none.
    """
    quotes, errors = {}, []
    for symbol, row in rows.items():
        try:
            quotes[symbol] = read(symbol, row)
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            errors.append(error)
    if errors and not quotes:
        raise errors[0]
    return quotes


class QuoteSource(Protocol):
    """Where quotes come from."""

    def quotes(self, symbols: tuple[str, ...]) -> Mapping[str, Quote]:
        """Return the quotes of now; a symbol without one is missing. Raises SourceError when nobody answers."""
        ...
