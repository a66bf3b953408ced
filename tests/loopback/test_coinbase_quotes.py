"""Coinbase's best prices, from its public order books."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from cappuccino.errors import SourceError
from cappuccino.market.quotes import Quote
from tests.loopback.conftest import NOW, MakeSource
from tests.loopback.exchange import Exchange
from tests.loopback.handler import body

SEEN = datetime(2024, 3, 1, tzinfo=UTC)
"""What the loopback exchange says of its books."""


def test_the_best_prices_of_each_symbol_are_asked_for(make_coinbase: MakeSource, exchange: Exchange) -> None:
    exchange.books = {
        "BTC/USD": {"bids": [(100.0, 2.0), (99.0, 9.0)], "asks": [(100.5, 3.0), (101.0, 9.0)]},
        "ETH/USD": {"bids": [(9.0, 4.0)], "asks": [(10.0, 2.0)]},
    }
    source: Any = make_coinbase()
    assert source.quotes(("ETH/USD", "BTC/USD", "ETH/USD")) == {
        "BTC/USD": Quote("BTC/USD", 100.0, 100.5, SEEN, 2.0, 3.0),
        "ETH/USD": Quote("ETH/USD", 9.0, 10.0, SEEN, 4.0, 2.0),
    }
    assert [query["limit"] for _, query, _ in exchange.asked] == ["1", "1"]


def test_a_symbol_without_two_sides_has_no_quote(make_coinbase: MakeSource, exchange: Exchange) -> None:
    exchange.books = {"BTC/USD": {"bids": [(100.0, 2.0)], "asks": []}}
    source: Any = make_coinbase()
    assert source.quotes(("BTC/USD",)) == {}


def test_a_book_without_a_time_is_of_our_own_now(make_coinbase: MakeSource, exchange: Exchange) -> None:
    level = '[{"price": "1", "size": "2"}]'
    exchange.faults.append(body(f'{{"pricebook": {{"product_id": "BTC-USD", "bids": {level}, "asks": {level}}}}}'))
    source: Any = make_coinbase()
    assert source.quotes(("BTC/USD",))["BTC/USD"].at == NOW


@pytest.mark.parametrize(
    "broken",
    [
        '{"pricebook": {"product_id": "ETH-USD", "bids": [], "asks": []}}',
        '{"pricebook": {"product_id": "BTC-USD", "bids": [{"price": "cheap", "size": "1"}], "asks": []}}',
        "{}",
        "",
    ],
)
def test_a_book_that_makes_no_sense_is_no_quote(make_coinbase: MakeSource, exchange: Exchange, broken: str) -> None:
    exchange.faults.extend([body(broken)] * 2)
    source: Any = make_coinbase(max_attempts=2)
    with pytest.raises(SourceError, match="no quote of BTC/USD"):
        source.quotes(("BTC/USD",))
