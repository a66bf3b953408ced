"""Alpaca's crypto bars and order books, through its own SDK, without a key."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, cast

import polars as pl

from cappuccino.clock import Clock, require_utc
from cappuccino.errors import SourceError
from cappuccino.market.interval import Interval
from cappuccino.market.quotes import Quote, readable
from cappuccino.market.ranges import Ask, pieces
from cappuccino.market.venues.alpaca_client import tame
from cappuccino.market.venues.books import Level, level_frame
from cappuccino.market.venues.calls import Caller
from cappuccino.market.venues.failures import response_of
from cappuccino.market.venues.rows import raw_frame
from cappuccino.market.venues.venue import VenueSource, about, last_second
from cappuccino.settings import AlpacaSettings

if TYPE_CHECKING:  # it takes two seconds to load, which `--help` need not wait for
    from alpaca.data.historical.crypto import CryptoHistoricalDataClient

ROWS_PER_CALL = 10_000
"""Most rows that a page holds, over all symbols: a question of so many is one request, and a retry repeats little."""

# 4Hour and 1Day exist too, but nothing says at which midnight they are cut.
GRANULARITIES = {
    Interval.M1: "1Min",
    Interval.M5: "5Min",
    Interval.M15: "15Min",
    Interval.M30: "30Min",
    Interval.H1: "1Hour",
}

_BASES = (
    "AAVE", "AVAX", "BAT", "BCH", "BTC", "CRV", "DOGE", "DOT", "ETH", "GRT", "LINK", "LTC", "MKR", "SHIB", "SOL",
    "SUSHI", "UNI", "XRP", "XTZ", "YFI",
)  # fmt: skip

_COLUMNS = {"open": "o", "high": "h", "low": "l", "close": "c", "volume": "v"}


class AlpacaSource(VenueSource):
    """Bars of Alpaca's own crypto venue. Where nobody traded it may quote a bar of volume 0, or have none."""

    name = "alpaca"

    def __init__(self, settings: AlpacaSettings, clock: Clock, caller: Caller | None = None) -> None:
        super().__init__(clock, caller or Caller(self.name, settings, settings.requests_per_minute))
        self._settings = settings
        self._known: set[str] = set()

    def quotes(self, symbols: tuple[str, ...]) -> Mapping[str, Quote]:
        """Return the best prices of now; a symbol without any is missing.

        Where the venue has no endpoint for quotes they come from its order books, and else from its newest minute bars,
        whose close is both bid and ask. Raises SourceError when it fails or talks nonsense.
        """
        names = sorted(set(symbols))
        if not names:
            return {}
        for request in (self._request_quotes, self._request_tops, self._request_closes):
            found = self._caller.call(
                "quotes", partial(_unless_absent, request, names), f"quotes of {', '.join(names)}"
            )
            if found is not None:
                return found
        raise SourceError(f"{self.name} has neither quotes nor books nor newest bars; check alpaca.data_url")

    def _request_quotes(self, names: list[str]) -> dict[str, Quote]:
        from alpaca.data.requests import CryptoLatestQuoteRequest

        request = CryptoLatestQuoteRequest(symbol_or_symbols=names)
        found = cast("dict[str, dict[str, Any] | None]", self._client.get_crypto_latest_quote(request))
        return readable({symbol: quote for symbol in names if (quote := found.get(symbol))}, _quote)

    def _request_tops(self, names: list[str]) -> dict[str, Quote]:
        from alpaca.data.requests import CryptoLatestOrderbookRequest

        request = CryptoLatestOrderbookRequest(symbol_or_symbols=names)
        found = cast("dict[str, dict[str, Any] | None]", self._client.get_crypto_latest_orderbook(request))
        books = {symbol: book for symbol in names if (book := found.get(symbol))}
        return readable({symbol: book for symbol, book in books.items() if book["b"] and book["a"]}, _top)

    def _request_closes(self, names: list[str]) -> dict[str, Quote]:
        from alpaca.data.requests import CryptoLatestBarRequest

        request = CryptoLatestBarRequest(symbol_or_symbols=names)
        found = cast("dict[str, dict[str, Any] | None]", self._client.get_crypto_latest_bar(request))
        bars = {symbol: bar for symbol in names if (bar := found.get(symbol))}
        return readable(bars, partial(_close, now=self.clock.now()))

    @property
    def granularities(self) -> dict[Interval, str]:
        return GRANULARITIES

    def symbols(self) -> tuple[str, ...]:
        """Return the pairs against USD that Alpaca is known for; others work if it has them.

        The full list needs a key, so nothing is asked here; `bars` notices a symbol that does not exist.
        """
        return tuple(f"{base}/USD" for base in _BASES)

    @cached_property
    def _client(self) -> CryptoHistoricalDataClient:
        """The SDK's client, see `tame`."""
        from alpaca.data.historical.crypto import CryptoHistoricalDataClient

        client = CryptoHistoricalDataClient(raw_data=True, url_override=self._settings.data_url)
        tame(client, self._settings, self._caller.before_request)
        return client

    def _asks(self, names: tuple[str, ...], interval: Interval, start: datetime, stop: datetime) -> Iterator[Ask]:
        if names:
            yield from pieces(Ask(names, start, stop), interval, ROWS_PER_CALL)

    def _groups(self, names: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        if names:
            yield names

    def _rows(self, ask: Ask, interval: Interval) -> pl.DataFrame:
        return self._caller.call("bars", lambda: self._request_bars(ask, interval), about(ask, interval))

    def _request_bars(self, ask: Ask, interval: Interval) -> pl.DataFrame:
        from alpaca.data.requests import CryptoBarsRequest
        from alpaca.data.timeframe import TimeFrame, TimeFrameUnit

        amount, unit = int(interval.value[:-1]), {"m": TimeFrameUnit.Minute, "h": TimeFrameUnit.Hour}[interval[-1]]
        request = CryptoBarsRequest(
            symbol_or_symbols=list(ask.symbols),
            timeframe=TimeFrame(amount, unit),
            start=ask.start,
            end=last_second(ask),
        )
        return _frame(cast("dict[str, list[dict[str, Any]]]", self._client.get_crypto_bars(request)))

    def _levels(self, names: tuple[str, ...]) -> pl.DataFrame:
        return self._caller.call("books", lambda: self._request_books(names), f"order books of {', '.join(names)}")

    def _request_books(self, names: tuple[str, ...]) -> pl.DataFrame:
        from alpaca.data.requests import CryptoLatestOrderbookRequest

        request = CryptoLatestOrderbookRequest(symbol_or_symbols=list(names))
        found = cast("dict[str, dict[str, Any] | None]", self._client.get_crypto_latest_orderbook(request))
        books = [(symbol, book) for symbol in names if (book := found.get(symbol))]
        return level_frame(level for symbol, book in books for level in _book(symbol, book))

    def _refuse_unknown(self, present: set[str], absent: set[str]) -> None:
        """Alpaca answers a question about a pair that it never heard of with no bars, and has no newest bar of it."""
        self._known |= present
        doubtful = sorted(absent - self._known)
        if not doubtful:
            return
        named = ", ".join(doubtful)
        self._known |= self._caller.call("symbols", lambda: self._request_newest(doubtful), f"newest bars of {named}")
        unknown = ", ".join(sorted(set(doubtful) - self._known))
        if unknown:
            raise SourceError(
                f"{self.name} has never had a bar of {unknown}; correct market.symbols, pairs are written BASE/QUOTE. "
                f"Common ones are {', '.join(self.symbols())}"
            )

    def _request_newest(self, names: list[str]) -> set[str]:
        from alpaca.data.requests import CryptoLatestBarRequest

        request = CryptoLatestBarRequest(symbol_or_symbols=names)
        found = cast("dict[str, dict[str, Any] | None]", self._client.get_crypto_latest_bar(request))
        return {symbol for symbol, bar in found.items() if bar}


def _unless_absent(request: Callable[[list[str]], dict[str, Quote]], names: list[str]) -> dict[str, Quote] | None:
    """Return what `request` returns; None when the venue has no such endpoint."""
    from alpaca.common.exceptions import APIError

    try:
        return request(names)
    except APIError as error:
        response = response_of(error)
        if response is not None and response.status_code == 404:
            return None
        raise


def _quote(symbol: str, quote: dict[str, Any]) -> Quote:
    sizes = (float(quote.get(key) or 0.0) for key in ("bs", "as"))
    return Quote(symbol, float(quote["bp"]), float(quote["ap"]), _moment(quote["t"]), *sizes)


def _top(symbol: str, book: dict[str, Any]) -> Quote:
    bids, asks = ([(float(level["p"]), float(level["s"])) for level in book[side]] for side in ("b", "a"))
    (bid, bid_units), (ask, ask_units) = max(bids), min(asks)
    return Quote(symbol, bid, ask, _moment(book["t"]), bid_units, ask_units)


def _close(symbol: str, bar: dict[str, Any], now: datetime) -> Quote:
    """Return the newest price of a minute, which may not be over yet."""
    return Quote(symbol, float(bar["c"]), float(bar["c"]), min(_moment(bar["t"]) + timedelta(minutes=1), now))


def _moment(text: str) -> datetime:
    """Return a time of the venue; raises ValueError for none, and for one that does not say its zone."""
    return require_utc(datetime.fromisoformat(text))


def _frame(answer: dict[str, list[dict[str, Any]]]) -> pl.DataFrame:
    rows = [(symbol, row) for symbol, of_symbol in answer.items() for row in of_symbol]
    times = pl.Series([row.get("t") for _, row in rows], dtype=pl.String, strict=False)
    opened = times.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%#z", time_unit="us", time_zone="UTC", strict=False)
    numbers = {name: [row.get(key) for _, row in rows] for name, key in _COLUMNS.items()}
    return raw_frame([symbol for symbol, _ in rows], opened, numbers)


def _book(symbol: str, book: dict[str, Any]) -> Iterator[Level]:
    for level in book["b"]:
        yield Level(symbol, "bid", level["p"], level["s"])
    for level in book["a"]:
        yield Level(symbol, "ask", level["p"], level["s"])
