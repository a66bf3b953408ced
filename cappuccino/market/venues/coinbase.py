"""Coinbase Advanced's public candles and order books, through its own SDK, without a key."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from functools import cached_property, partial
from typing import Any

import polars as pl
import requests

from cappuccino.clock import Clock, require_utc
from cappuccino.errors import SourceError
from cappuccino.market.interval import Interval
from cappuccino.market.quotes import Quote
from cappuccino.market.ranges import Ask, pieces
from cappuccino.market.source import TIME
from cappuccino.market.venues.books import BEST_LEVELS, Level, Side, level_frame
from cappuccino.market.venues.calls import Caller
from cappuccino.market.venues.rows import NUMBERS, raw_frame
from cappuccino.market.venues.transport import pace
from cappuccino.market.venues.venue import VenueSource, about, last_second
from cappuccino.settings import CoinbaseSettings

GRANULARITIES = {
    Interval.M1: "ONE_MINUTE",
    Interval.M5: "FIVE_MINUTE",
    Interval.M15: "FIFTEEN_MINUTE",
    Interval.M30: "THIRTY_MINUTE",
    Interval.H1: "ONE_HOUR",
    Interval.H4: "FOUR_HOUR",
    Interval.D1: "ONE_DAY",
}


class CoinbaseSource(VenueSource):
    """Bars of Coinbase. An interval in which nobody traded has none."""

    name = "coinbase"

    def __init__(self, settings: CoinbaseSettings, clock: Clock, caller: Caller | None = None) -> None:
        super().__init__(clock, caller or Caller(self.name, settings, settings.requests_per_minute))
        self._settings = settings

    @property
    def granularities(self) -> dict[Interval, str]:
        return GRANULARITIES

    def symbols(self) -> tuple[str, ...]:
        """Return the spot pairs that Coinbase lists, sorted; raises SourceError when it cannot be asked."""
        return self._caller.call("symbols", self._request_symbols, "list of products")

    def quotes(self, symbols: tuple[str, ...]) -> Mapping[str, Quote]:
        """Return the best prices of now, one question a symbol; one without both sides, or that fails, is missing.

        Where there are no books they come from the newest trades. Raises SourceError when Coinbase fails, talks
        nonsense, or has never heard of a symbol, and there is no other that has a quote.
        """
        found: dict[str, Quote | None] = {}
        errors = []
        for name in sorted(set(symbols)):
            try:
                found[name] = self._caller.call("quotes", partial(self._request_quote, name), f"quote of {name}")
            except SourceError as error:
                errors.append(error)
        quotes = {name: quote for name, quote in found.items() if quote}
        if errors and not quotes:
            raise errors[0]
        return quotes

    def _request_quote(self, name: str) -> Quote | None:
        try:
            book = self._book(name, 1)
        except requests.HTTPError as error:
            if error.response is None or error.response.status_code != 404:
                raise
            return self._request_ticker(name)
        bids, asks = ([(float(at.price), float(at.size)) for at in side] for side in (book.bids, book.asks))
        if not bids or not asks:
            return None
        (bid, bid_units), (ask, ask_units) = max(bids), min(asks)
        at = require_utc(datetime.fromisoformat(book["time"])) if book["time"] else self.clock.now()
        return Quote(name, bid, ask, at, bid_units, ask_units)

    def _request_ticker(self, name: str) -> Quote:
        ticker = self._client.get_public_market_trades(_product(name), limit=1)
        return Quote(name, float(ticker.best_bid), float(ticker.best_ask), self.clock.now())

    @cached_property
    def _client(self) -> Any:
        """The SDK's client. It is given no keys in so many words: else it takes those that lie in the environment."""
        from coinbase.rest import RESTClient  # type: ignore[import-untyped]  # it ships no type information

        # It prints every failure with its body to stderr; ours are counted and raised.
        logging.getLogger("coinbase.RESTClient").setLevel(logging.CRITICAL)
        timeout_s = (self._settings.connect_timeout_s, self._settings.read_timeout_s)
        client = RESTClient(api_key=None, api_secret=None, base_url=self._settings.base_url, timeout=timeout_s)
        pace(client.session, self._settings, self._caller.before_request, self._settings.ca_bundle)
        return client

    def _asks(self, names: tuple[str, ...], interval: Interval, start: datetime, stop: datetime) -> Iterator[Ask]:
        for name in names:
            yield from pieces(Ask((name,), start, stop), interval, self._settings.candles_per_call)

    def _groups(self, names: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        return ((name,) for name in names)

    def _rows(self, ask: Ask, interval: Interval) -> pl.DataFrame:
        """Ask again for what lies before the oldest candle: some accounts get fewer than allowed, the newest ones."""
        answer = self._caller.call("bars", lambda: self._request_candles(ask, interval), about(ask, interval))
        oldest = answer["opened_at_utc"].min()
        if not isinstance(oldest, datetime) or not ask.start < oldest < ask.stop:
            return answer
        return pl.concat([self._rows(replace(ask, stop=oldest), interval), answer])

    def _request_candles(self, ask: Ask, interval: Interval) -> pl.DataFrame:
        response = self._client.get_public_candles(
            _product(ask.symbols[0]),
            start=str(int(ask.start.timestamp())),
            end=str(int(last_second(ask).timestamp())),
            granularity=self.granularities[interval],
        )
        return _frame(ask.symbols[0], response.candles)

    def _refuse_unknown(self, present: set[str], absent: set[str]) -> None:
        """A pair that Coinbase does not know was refused (404) when its candles were asked for."""

    def _levels(self, names: tuple[str, ...]) -> pl.DataFrame:
        (name,) = names
        return self._caller.call("books", lambda: self._request_book(name), f"order book of {name}")

    def _request_book(self, name: str) -> pl.DataFrame:
        book = self._book(name, BEST_LEVELS)
        sides: tuple[tuple[Side, list[Any]], ...] = (("bid", book.bids), ("ask", book.asks))
        return level_frame(Level(name, side, level.price, level.size) for side, levels in sides for level in levels)

    def _book(self, name: str, levels: int) -> Any:
        book = self._client.get_public_product_book(_product(name), limit=levels).pricebook
        if book.product_id != _product(name):
            raise ValueError(f"asked for the book of {_product(name)}, came that of {book.product_id}")
        return book

    def _request_symbols(self) -> tuple[str, ...]:
        response = self._client.get_public_products(product_type="SPOT", get_all_products=True)
        return tuple(sorted(product.product_id.replace("-", "/") for product in response.products))


def _product(symbol: str) -> str:
    return symbol.replace("/", "-")


def _frame(symbol: str, candles: list[Any]) -> pl.DataFrame:
    starts = pl.Series([candle["start"] for candle in candles], dtype=pl.String, strict=False)
    opened = (starts.cast(pl.Int64, strict=False) * 1_000_000).cast(TIME)
    return raw_frame([symbol] * len(candles), opened, {name: [candle[name] for candle in candles] for name in NUMBERS})
