"""Quotes of Alpaca: from quotes, else from books, else from bars."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from cappuccino.errors import SourceError
from tests.loopback.conftest import NOW, MakeSource
from tests.loopback.exchange import Exchange
from tests.loopback.handler import body, status

SYMBOLS = ("BTC/USD", "ETH/USD")
NO_ENDPOINT = status(404, '{"message": "endpoint not found"}')
MIDNIGHT = datetime(2024, 3, 1, tzinfo=UTC)


def kinds(exchange: Exchange) -> list[str]:
    return [path.split("/")[-1] for path, _, _ in exchange.asked]


def test_quotes_have_both_sides_and_the_venues_time(make_alpaca: MakeSource, exchange: Exchange) -> None:
    found = make_alpaca().quotes((*SYMBOLS, "NOPE/USD"))
    assert sorted(found) == list(SYMBOLS)
    bitcoin = found["BTC/USD"]
    assert (bitcoin.bid_usd, bitcoin.ask_usd, bitcoin.mid_usd) == (60_000.0, 60_010.0, 60_005.0)
    assert (bitcoin.bid_units, bitcoin.ask_units) == (5.0, 5.0)
    assert abs(bitcoin.at - datetime.now(UTC)) < timedelta(minutes=1)
    assert kinds(exchange) == ["quotes"]


def test_nobody_is_asked_for_no_symbols(make_alpaca: MakeSource, exchange: Exchange) -> None:
    assert make_alpaca().quotes(()) == {}
    assert exchange.asked == []


def test_without_quotes_the_books_are_read(make_alpaca: MakeSource, exchange: Exchange) -> None:
    exchange.on("GET latest/quotes", NO_ENDPOINT)
    exchange.books = {
        "BTC/USD": {"bids": [(99.0, 2.0), (100.0, 1.0)], "asks": [(102.0, 4.0), (101.0, 3.0)]},
        "ETH/USD": {"bids": [], "asks": [(10.0, 1.0)]},
    }
    (bitcoin,) = make_alpaca().quotes(SYMBOLS).values()
    assert (bitcoin.bid_usd, bitcoin.bid_units, bitcoin.ask_usd, bitcoin.ask_units) == (100.0, 1.0, 101.0, 3.0)
    assert bitcoin.at == MIDNIGHT + timedelta(microseconds=123_456)


def test_without_quotes_and_books_the_newest_minute_is_read(make_alpaca: MakeSource, exchange: Exchange) -> None:
    for word in ("quotes", "orderbooks"):
        exchange.on(f"GET latest/{word}", NO_ENDPOINT)
    exchange.on("GET latest/bars", body('{"bars": {"BTC/USD": {"t": "2024-03-01T00:00:00Z", "c": 7.5}}}'))
    (bitcoin,) = make_alpaca().quotes(SYMBOLS).values()
    assert (bitcoin.bid_usd, bitcoin.ask_usd, bitcoin.bid_units) == (7.5, 7.5, 0.0)
    assert bitcoin.at == MIDNIGHT + timedelta(minutes=1)


def test_a_minute_that_is_not_over_is_no_quote_of_the_future(make_alpaca: MakeSource, exchange: Exchange) -> None:
    for word in ("quotes", "orderbooks"):
        exchange.on(f"GET latest/{word}", NO_ENDPOINT)
    exchange.on("GET latest/bars", body('{"bars": {"BTC/USD": {"t": "2024-06-01T12:34:00Z", "c": 7.5}}}'))
    assert make_alpaca().quotes(SYMBOLS)["BTC/USD"].at == NOW


def test_a_venue_that_tells_no_prices_is_an_error(make_alpaca: MakeSource, exchange: Exchange) -> None:
    exchange.on("GET latest", NO_ENDPOINT, times=3)
    with pytest.raises(SourceError, match="neither quotes nor books nor newest bars"):
        make_alpaca().quotes(SYMBOLS)


@pytest.mark.parametrize(
    "quote",
    [
        '{"bp": 1, "ap": 2, "t": "2024-03-01T00:00:00"}',
        '{"bp": 1, "ap": 2, "t": "today"}',
        '{"bp": 1, "ap": 2}',
        '{"bp": 1, "t": "2024-03-01T00:00:00Z"}',
        '{"bp": "x", "ap": 2, "t": "2024-03-01T00:00:00Z"}',
        "7",
    ],
)
def test_a_quote_without_prices_or_time_is_a_broken_answer(
    make_alpaca: MakeSource, exchange: Exchange, quote: str
) -> None:
    exchange.on("GET latest/quotes", body(f'{{"quotes": {{"BTC/USD": {quote}}}}}'), times=2)
    source = make_alpaca(max_attempts=2)
    with pytest.raises(SourceError, match=r"quotes of BTC/USD, ETH/USD"):
        source.quotes(SYMBOLS)
    assert source.drain()["outcome"].to_list() == ["broken_answer"]
