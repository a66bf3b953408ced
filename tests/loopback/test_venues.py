"""What the sources ask both venues, and what they make of good answers."""

from __future__ import annotations

import importlib
import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
import requests
from polars.testing import assert_frame_equal

from cappuccino.errors import ConfigError, SourceError
from cappuccino.market.interval import Interval
from cappuccino.market.venues.alpaca import AlpacaSource
from tests.loopback.conftest import NOW, MakeSource
from tests.loopback.exchange import SYMBOLS, Exchange
from tests.loopback.handler import body

START = datetime(2024, 3, 1, tzinfo=UTC)
STOP = START + timedelta(days=8)
MINUTE = timedelta(minutes=1)


def paths(exchange: Exchange) -> list[str]:
    return [path for path, _, _ in exchange.asked]


@pytest.mark.parametrize("interval", [Interval.M1, Interval.M5, Interval.M15, Interval.M30, Interval.H1])
def test_every_interval_comes_as_the_venue_has_it(
    make_source: MakeSource, exchange: Exchange, interval: Interval
) -> None:
    stop = START + 400 * interval.duration
    bars = make_source().bars(SYMBOLS[:1], interval, START, stop)
    assert_frame_equal(bars, exchange.truth(SYMBOLS[:1], interval, START, stop), check_exact=True)


@pytest.mark.parametrize("interval", [Interval.H4, Interval.D1])
def test_alpacas_long_bars_are_refused_because_nobody_knows_their_midnight(
    make_alpaca: MakeSource, exchange: Exchange, interval: Interval
) -> None:
    with pytest.raises(ConfigError, match=f"base_interval = '{interval}'.* one of 1m, 5m, 15m, 30m, 1h"):
        make_alpaca().bars(SYMBOLS, interval, START, STOP)
    assert exchange.asked == []


@pytest.mark.parametrize("interval", [Interval.H4, Interval.D1])
def test_coinbase_has_long_bars(make_coinbase: MakeSource, exchange: Exchange, interval: Interval) -> None:
    bars = make_coinbase().bars(SYMBOLS, interval, START, STOP)
    assert_frame_equal(bars, exchange.truth(SYMBOLS, interval, START, STOP), check_exact=True)


def test_one_alpaca_question_is_one_request(make_alpaca: MakeSource, exchange: Exchange) -> None:
    stop = START + timedelta(days=50)
    bars = make_alpaca().bars(SYMBOLS, Interval.M15, START, stop)
    assert_frame_equal(bars, exchange.truth(SYMBOLS, Interval.M15, START, stop), check_exact=True)
    queries = [query for _, query, _ in exchange.asked]
    assert [(query["symbols"], "page_token" in query) for query in queries] == [("BTC/USD,ETH/USD,LTC/USD", False)] * 2
    assert [query["start"][:16] for query in queries] == ["2024-03-01T00:00", "2024-04-04T00:00"]


def test_pages_of_alpaca_are_put_together(make_alpaca: MakeSource, exchange: Exchange) -> None:
    exchange.page_rows = 700
    bars = make_alpaca().bars(SYMBOLS, Interval.M15, START, STOP)
    assert_frame_equal(bars, exchange.truth(SYMBOLS, Interval.M15, START, STOP), check_exact=True)
    assert len(exchange.asked) == 4


def test_coinbase_is_walked_in_windows(make_coinbase: MakeSource, exchange: Exchange) -> None:
    bars = make_coinbase(candles_per_call=350).bars(SYMBOLS[:1], Interval.M15, START, STOP)
    assert_frame_equal(bars, exchange.truth(SYMBOLS[:1], Interval.M15, START, STOP), check_exact=True)
    assert paths(exchange) == ["/api/v3/brokerage/market/products/BTC-USD/candles"] * 3


def test_an_account_that_gets_fewer_candles_than_allowed_loses_none(
    make_coinbase: MakeSource, exchange: Exchange
) -> None:
    exchange.candles = 100
    bars = make_coinbase().bars(SYMBOLS[:1], Interval.M15, START, START + timedelta(days=3))
    assert_frame_equal(
        bars, exchange.truth(SYMBOLS[:1], Interval.M15, START, START + timedelta(days=3)), check_exact=True
    )
    assert len(exchange.asked) == 3


def test_a_market_that_begins_inside_a_window_is_asked_once_more_and_no_further(
    make_coinbase: MakeSource, exchange: Exchange
) -> None:
    listed = START + timedelta(hours=5)
    exchange.edit = lambda rows: [row for row in rows if row.opened_at >= listed]
    bars = make_coinbase().bars(SYMBOLS[:1], Interval.M15, START, START + timedelta(days=3))
    assert bars["opened_at_utc"].min() == listed
    assert len(exchange.asked) == 2


def test_nothing_is_asked_about_the_future(make_source: MakeSource, exchange: Exchange) -> None:
    source = make_source(START)
    assert source.bars(SYMBOLS, Interval.M15, START, STOP).is_empty() or exchange.asked == []
    assert [path for path in paths(exchange) if "latest" not in path] == []


def test_only_bars_that_have_closed_are_asked_for(make_source: MakeSource, exchange: Exchange) -> None:
    bars = make_source(START + 59 * MINUTE).bars(SYMBOLS[:1], Interval.M15, START, STOP)
    assert bars["opened_at_utc"].to_list() == [START, START + 15 * MINUTE, START + 30 * MINUTE]


def test_a_symbol_that_does_not_exist_is_named(make_source: MakeSource) -> None:
    with pytest.raises(SourceError, match=r"NOPE/USD.*correct market.symbols") as raised:
        make_source().bars(("BTC/USD", "NOPE/USD"), Interval.M15, START, STOP)
    assert "bar of BTC/USD" not in str(raised.value)


def test_alpaca_is_asked_once_whether_a_symbol_without_bars_exists(make_alpaca: MakeSource, exchange: Exchange) -> None:
    exchange.edit = lambda rows: []
    source = make_alpaca()
    for _ in range(2):
        assert source.bars(("BTC/USD",), Interval.M15, START, STOP).is_empty()
    assert [path.removeprefix("/v1beta3/crypto/us") for path in paths(exchange)] == ["/bars", "/latest/bars", "/bars"]


def test_coinbase_lists_its_pairs(make_coinbase: MakeSource) -> None:
    assert make_coinbase().symbols() == SYMBOLS


def test_alpaca_names_common_pairs_without_asking(make_alpaca: MakeSource, exchange: Exchange) -> None:
    symbols = make_alpaca().symbols()
    assert {"BTC/USD", "AAVE/USD", "UNI/USD"} <= set(symbols)
    assert list(symbols) == sorted(symbols)
    assert exchange.asked == []


BOOK = {
    "bids": [(100.0 - n, 1.0 + n) for n in range(15)],
    "asks": [(101.0 + n, 0.5) for n in range(12)],
}


def test_a_book_is_summed_over_the_ten_best_levels(make_source: MakeSource, exchange: Exchange) -> None:
    exchange.books = {"BTC/USD": BOOK, "ETH/USD": {"bids": [(9.0, 4.0)], "asks": [(10.0, 2.0)]}}
    books = make_source().books(("ETH/USD", "BTC/USD"))
    assert books.schema == {
        "symbol": pl.String,
        "seen_at_utc": pl.Datetime("us", "UTC"),
        "bid_units": pl.Float64,
        "ask_units": pl.Float64,
    }
    assert books.rows() == [("BTC/USD", NOW, 55.0, 5.0), ("ETH/USD", NOW, 4.0, 2.0)]


@pytest.mark.parametrize("empty", [{"bids": [], "asks": []}, {"bids": [(9.0, 1.0)], "asks": []}])
def test_a_symbol_without_two_sides_has_no_row(
    make_source: MakeSource, exchange: Exchange, empty: dict[str, list[Any]]
) -> None:
    exchange.books = {"BTC/USD": empty}
    assert make_source().books(SYMBOLS[:2]).rows() == []


@pytest.mark.parametrize("level", [("abc", 1.0), (5.0, -1.0), (0.0, 1.0), (float("nan"), 1.0)])
def test_a_book_with_impossible_numbers_is_a_broken_answer(
    make_source: MakeSource, exchange: Exchange, level: tuple[Any, Any]
) -> None:
    exchange.books = {"BTC/USD": {"bids": [level], "asks": [(10.0, 2.0)]}}
    source = make_source(max_attempts=2)
    with pytest.raises(SourceError, match=r"order books? of BTC/USD"):
        source.books(("BTC/USD",))
    assert source.drain().select("endpoint", "outcome", "calls").rows() == [("books", "broken_answer", 2)]


def test_a_book_of_another_pair_is_a_broken_answer(make_coinbase: MakeSource, exchange: Exchange) -> None:
    exchange.faults.append(body('{"pricebook": {"product_id": "ETH-USD", "bids": [], "asks": []}}'))
    exchange.books = {"BTC/USD": BOOK}
    source = make_coinbase()
    assert source.books(("BTC/USD",))["symbol"].to_list() == ["BTC/USD"]
    assert source.drain()["outcome"].to_list() == ["broken_answer", "ok"]


def test_keys_of_the_environment_are_not_used(
    make_source: MakeSource, exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    import coinbase.api_base
    import coinbase.rest
    import coinbase.rest.rest_base

    for name in ("COINBASE_API_KEY", "COINBASE_API_SECRET", "APCA_API_KEY_ID", "APCA_API_SECRET_KEY"):
        monkeypatch.setenv(name, "secret-of-the-environment")
    # The variables are read when the module is imported, so it is, again; and once more without them afterwards.
    modules = (coinbase.api_base, coinbase.rest.rest_base, coinbase.rest)
    for module in modules:
        importlib.reload(module)
    try:
        assert len(make_source().bars(SYMBOLS[:1], Interval.M15, START, START + timedelta(hours=1))) == 4
        assert "Authorization" not in exchange.asked[-1][2]
        assert "secret-of-the-environment" not in str(exchange.asked)
    finally:
        monkeypatch.undo()
        for module in modules:
            importlib.reload(module)


def test_coinbases_own_cries_are_silenced(
    make_coinbase: MakeSource, exchange: Exchange, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR), pytest.raises(SourceError):
        make_coinbase().bars(("NOPE/USD",), Interval.M15, START, STOP)
    assert capfd.readouterr().err == ""
    assert caplog.records == []


@pytest.mark.parametrize("name", ["_session", "_retry"])
def test_an_sdk_that_keeps_its_session_elsewhere_is_refused_before_it_asks(
    make_alpaca: MakeSource, exchange: Exchange, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    from alpaca.data.historical import crypto

    class Changed(crypto.CryptoHistoricalDataClient):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            delattr(self, name)

    monkeypatch.setattr(crypto, "CryptoHistoricalDataClient", Changed)
    with pytest.raises(SourceError, match=r"this version of alpaca-py .* pip install"):
        make_alpaca().bars(SYMBOLS, Interval.M15, START, STOP)
    assert exchange.asked == []


def test_no_request_of_alpaca_is_without_a_time_out(make_alpaca: MakeSource, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    send = requests.adapters.HTTPAdapter.send

    def spy(adapter: Any, request: Any, stream: bool, timeout: Any, *rest: Any) -> requests.Response:
        seen.append(timeout)
        return send(adapter, request, stream, timeout, *rest)

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", spy)
    make_alpaca(connect_timeout_s=3, read_timeout_s=4).bars(SYMBOLS, Interval.M15, START, STOP)
    assert seen == [(3.0, 4.0)]


def test_a_source_is_made_without_loading_its_sdk(make_alpaca: MakeSource) -> None:
    source = make_alpaca()
    assert isinstance(source, AlpacaSource)
    assert "_client" not in vars(source)
