"""What of Alpaca's ways bites, against its own client; what all brokers have to do is in tests/contract."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import requests
from pydantic import SecretStr

from cappuccino.brokers.alpaca import AlpacaBroker
from cappuccino.brokers.broker import OrderReport, OrderRequest, Refusal, Refused, Side, VenueState
from cappuccino.brokers.sending import BrokerCalls
from cappuccino.clock import FixedClock, SystemClock
from cappuccino.credentials import Keys
from cappuccino.errors import BrokerError, ConfigError, OrderUnknown, SourceError
from cappuccino.market.quotes import Quote
from cappuccino.settings import AlpacaSettings
from tests.loopback.alpaca_trading import ACCOUNT, KEY, SECRET
from tests.loopback.exchange import Exchange
from tests.loopback.handler import body, html, status
from tests.loopback.stopwatch import Stopwatch

NOW = datetime(2024, 6, 1, tzinfo=UTC)
BUY, SELL = Side.BUY, Side.SELL
MakeBroker = Callable[..., AlpacaBroker]


@dataclass
class Quotes:
    """What the broker is told of the market before it rests an order."""

    known: dict[str, Quote] = field(default_factory=lambda: {"ETH/USD": Quote("ETH/USD", 3000.0, 3001.0, NOW)})
    error: str = ""

    def quotes(self, symbols: tuple[str, ...]) -> dict[str, Quote]:
        if self.error:
            raise SourceError(self.error)
        return {symbol: self.known[symbol] for symbol in symbols if symbol in self.known}


@pytest.fixture
def quotes() -> Quotes:
    return Quotes()


@pytest.fixture
def make_broker(exchange: Exchange, stopwatch: Stopwatch, quotes: Quotes) -> MakeBroker:
    def make(clock: Any = None, **fields: Any) -> AlpacaBroker:
        settings = AlpacaSettings(**{"trading_url": exchange.alpaca_url, "requests_per_minute": 1e6, **fields})
        calls = BrokerCalls(
            "alpaca", settings, 1e6, sleep=stopwatch.sleep, monotonic=stopwatch.monotonic, rng=random.Random(1)
        )
        return AlpacaBroker(settings, Keys(KEY, SecretStr(SECRET)), clock or SystemClock(), quotes, calls)

    return make


@pytest.fixture
def broker(make_broker: MakeBroker) -> AlpacaBroker:
    return make_broker()


def order(side: Side, units: str, symbol: str = "ETH/USD", limit: str | None = None) -> OrderRequest:
    price = None if limit is None else Decimal(limit)
    return OrderRequest(str(uuid4()), symbol, side, Decimal(units), Decimal(3000), price)


def now(broker: AlpacaBroker, request: OrderRequest) -> OrderReport:
    found = broker.report(request.client_id, NOW)
    assert found is not None
    return found


def filled(broker: AlpacaBroker, *words: Any, **named: Any) -> OrderReport:
    request = order(*words, **named)
    taken = broker.submit(request)
    assert isinstance(taken, OrderReport), taken
    return now(broker, request)


def paths(exchange: Exchange) -> list[str]:
    return [f"{method} {path}" for method, path, _ in exchange.sent]


def error(code: int, message: str) -> str:
    return json.dumps({"code": code, "message": message})


# Fees


def test_the_fee_of_a_purchase_is_taken_from_the_coins(broker: AlpacaBroker) -> None:
    report = filled(broker, BUY, "2")
    assert (report.fee_units, report.fee_usd) == (Decimal("0.005"), 0)
    assert broker.holdings().units == {"ETH/USD": Decimal("1.995")}


def test_the_fee_of_a_sale_is_taken_from_the_money(broker: AlpacaBroker, exchange: Exchange) -> None:
    exchange.at_alpaca.balances["ETH"] = Decimal(2)
    report = filled(broker, SELL, "2")
    assert (report.fee_units, report.fee_usd) == (0, 15)
    assert broker.holdings().cash_usd == 100_000 + 6_000 - 15


def test_no_more_coins_are_believed_in_than_were_credited(broker: AlpacaBroker, exchange: Exchange) -> None:
    report = filled(broker, BUY, "1.234567891")
    credited = exchange.at_alpaca.balances["ETH"]
    assert 0 <= credited - (report.filled_units - report.fee_units) <= Decimal("1e-9")


def test_the_tier_follows_the_volume_of_the_account_and_is_counted_once_an_hour(
    make_broker: MakeBroker, exchange: Exchange
) -> None:
    clock = FixedClock(datetime.now(UTC))
    broker = make_broker(clock)
    assert broker.fees().taker_frac == Decimal("0.0025")
    exchange.at_alpaca.balances["USD"] = Decimal(10_000_000)
    filled(broker, BUY, "40")
    assert broker.fees().volume_usd == 0
    object.__setattr__(clock, "at", clock.at + timedelta(hours=1))
    tier = broker.fees()
    assert (tier.volume_usd, tier.maker_frac, tier.taker_frac) == (120_040, Decimal("0.0012"), Decimal("0.0022"))
    assert paths(exchange).count("GET /v2/orders") == 2


def test_volume_of_more_than_thirty_days_ago_does_not_count(make_broker: MakeBroker, exchange: Exchange) -> None:
    exchange.at_alpaca.balances["USD"] = Decimal(10_000_000)
    filled(make_broker(), BUY, "40")
    late = make_broker(FixedClock(datetime.now(UTC) + timedelta(days=31)))
    assert late.fees().volume_usd == 0


def test_an_order_does_not_wait_for_its_tier(broker: AlpacaBroker, exchange: Exchange) -> None:
    filled(broker, BUY, "1")
    assert paths(exchange) == ["POST /v2/orders", "GET /v2/orders:by_client_order_id"]


def test_a_limit_that_was_filled_at_a_better_price_paid_as_a_taker(broker: AlpacaBroker, exchange: Exchange) -> None:
    exchange.at_alpaca.move("ETH/USD", "2980", "2990")  # after the broker looked
    report = filled(broker, BUY, "1", limit="2995")
    assert (report.average_usd, report.is_maker, report.fee_units) == (2990, False, Decimal("0.0025"))


# What leaves


def test_sizes_and_prices_are_rounded_before_they_become_floats(broker: AlpacaBroker, exchange: Exchange) -> None:
    broker.submit(order(BUY, "0.30000000000000004", limit="2900.10000000000001"))
    (sent,) = exchange.sent_to("POST", "/v2/orders")
    assert (sent["qty"], sent["limit_price"]) == (0.3, 2900.1)


def test_nothing_is_ordered_for_the_day(broker: AlpacaBroker, exchange: Exchange) -> None:
    requests_ = [order(BUY, "1"), order(BUY, "1", limit="2900")]
    for request in requests_:
        broker.submit(request)
    sent = exchange.sent_to("POST", "/v2/orders")
    assert [(s["type"], s["time_in_force"]) for s in sent] == [("market", "ioc"), ("limit", "gtc")]
    assert [s["client_order_id"] for s in sent] == [request.client_id for request in requests_]


def test_no_request_is_without_a_time_out(make_broker: MakeBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    send = requests.adapters.HTTPAdapter.send

    def spy(adapter: Any, request: Any, stream: bool, timeout: Any, *rest: Any) -> requests.Response:
        seen.append(timeout)
        return send(adapter, request, stream, timeout, *rest)

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", spy)
    broker = make_broker(connect_timeout_s=3, read_timeout_s=60)
    broker.submit(order(BUY, "1"))
    broker.holdings()
    assert seen == [(3.0, 10.0)] * 3


def test_the_client_repeats_nothing_by_itself(broker: AlpacaBroker, exchange: Exchange) -> None:
    exchange.on("POST orders", html(504), times=None)
    with pytest.raises(OrderUnknown):
        broker.submit(order(BUY, "1"))
    assert len(exchange.sent) == 1


def test_nothing_but_orders_assets_account_and_positions_is_needed(broker: AlpacaBroker, exchange: Exchange) -> None:
    report = filled(broker, BUY, "1", limit="2900")
    broker.cancel(report)
    for question in (broker.account_id, broker.fees, broker.holdings, broker.open_orders):
        question()
    broker.instruments(("ETH/USD",))
    words = {path.split("/v2/")[1].split("/")[0].split(":")[0] for _, path, _ in exchange.sent}
    assert words == {"orders", "assets", "account", "positions"}


def test_keys_of_the_environment_are_not_used(
    make_broker: MakeBroker, exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APCA_API_KEY_ID", "another")
    make_broker().holdings()
    assert {headers["APCA-API-KEY-ID"] for _, _, headers in exchange.asked} == {KEY}


@pytest.mark.parametrize("url", ["https://api.alpaca.markets", "https://API.alpaca.markets:443"])
def test_the_address_of_real_money_is_refused(make_broker: MakeBroker, url: str) -> None:
    with pytest.raises(ConfigError, match="paper"):
        make_broker(trading_url=url)


@pytest.mark.parametrize("name", ["_session", "_retry"])
def test_an_sdk_that_cannot_be_tamed_is_refused_before_it_sends(
    broker: AlpacaBroker, exchange: Exchange, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    from alpaca.trading import client

    class Changed(client.TradingClient):
        def __init__(self, *words: Any, **options: Any) -> None:
            super().__init__(*words, **options)
            delattr(self, name)

    monkeypatch.setattr(client, "TradingClient", Changed)
    with pytest.raises(BrokerError, match=r"this version of alpaca-py"):
        broker.submit(order(BUY, "1"))
    with pytest.raises(BrokerError, match=r"this version of alpaca-py"):
        broker.holdings()
    assert exchange.sent == []


def test_an_authority_of_the_settings_is_trusted(
    make_broker: MakeBroker, exchange: Exchange, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    authority, address = Path(os.environ["REQUESTS_CA_BUNDLE"]), f"https://{exchange.coinbase_host}"
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", requests.certs.where())
    refused = make_broker(trading_url=address).submit(order(BUY, "1"))
    assert isinstance(refused, Refused)
    assert refused.kind is Refusal.UNREACHED
    assert isinstance(make_broker(trading_url=address, ca_bundle=authority).submit(order(BUY, "1")), OrderReport)
    with pytest.raises(ConfigError, match="is no file"):
        make_broker(ca_bundle=tmp_path / "nothing.pem").holdings()


# Refusals


@pytest.mark.parametrize(
    ("code", "said", "kind"),
    [
        (403, error(40310000, "insufficient balance for USD (requested: 3, available: 2)"), Refusal.FUNDS),
        (403, error(40310000, "cost basis must be >= minimal amount of order 10"), Refusal.TOO_SMALL),
        (403, error(40310000, "account is restricted to liquidation only"), Refusal.OTHER),
        (403, '{"message": "forbidden."}', Refusal.CREDENTIALS),
        (401, error(40110000, "request is not authorized"), Refusal.CREDENTIALS),
        (422, error(42210000, "qty increment is 0.001"), Refusal.PRECISION),
        (422, error(42210000, "invalid limit_price: more than 9 decimal places"), Refusal.PRECISION),
        (422, error(42210000, 'asset "ETH/USD" is not tradable'), Refusal.NOT_TRADABLE),
        (422, error(42210000, "invalid crypto time_in_force"), Refusal.OTHER),
        (400, '["strange"]', Refusal.OTHER),
        (429, "<html>slow down</html>", Refusal.RATE),
    ],
)
def test_refusals_are_read_by_their_message(
    broker: AlpacaBroker, exchange: Exchange, code: int, said: str, kind: Refusal
) -> None:
    exchange.on("POST orders", status(code, said))
    refused = broker.submit(order(BUY, "1"))
    assert isinstance(refused, Refused)
    assert refused.kind is kind
    assert said[:20] in refused.reason


def test_a_repeated_client_id_whose_order_cannot_be_found_yet_is_unknown(
    broker: AlpacaBroker, exchange: Exchange
) -> None:
    broker.holdings()
    request = order(BUY, "1")
    broker.submit(request)
    exchange.at_alpaca.lag = 10
    with pytest.raises(OrderUnknown, match="cannot be found yet"):
        broker.submit(request)


# Post-only, which the venue does not have


def test_a_limit_is_sent_only_beside_a_quote(broker: AlpacaBroker, exchange: Exchange, quotes: Quotes) -> None:
    quotes.known = {}
    without = broker.submit(order(BUY, "1", limit="2900"))
    quotes.error = "nobody answers"
    unreached = broker.submit(order(BUY, "1", limit="2900"))
    assert isinstance(without, Refused)
    assert isinstance(unreached, Refused)
    assert (without.kind, unreached.kind) == (Refusal.NOT_TRADABLE, Refusal.UNREACHED)
    assert exchange.sent_to("POST", "orders") == []


def test_a_quote_that_is_no_number_lets_nothing_rest(broker: AlpacaBroker, quotes: Quotes) -> None:
    quotes.known["ETH/USD"] = Quote("ETH/USD", float("nan"), float("nan"), NOW)
    refused = broker.submit(order(BUY, "1", limit="2900"))
    assert isinstance(refused, Refused)


# Answers


def test_positions_come_in_our_spelling(broker: AlpacaBroker, exchange: Exchange) -> None:
    exchange.at_alpaca.balances |= {"BTC": Decimal("0.5"), "LTC": Decimal(7)}
    exchange.at_alpaca.pairs["BTC/USD"].flags["symbol"] = "BTCUSD"
    assert broker.holdings().units == {"BTC/USD": Decimal("0.5"), "LTC/USD": Decimal(7)}
    assert list(broker.instruments(("BTC/USD",))) == ["BTC/USD"]


def test_what_can_be_spent_is_not_buying_power(broker: AlpacaBroker) -> None:
    broker.submit(order(BUY, "10", limit="2900"))
    holdings = broker.holdings()
    assert (holdings.cash_usd, holdings.free_cash_usd) == (100_000, 71_000)


def account(**fields: Any) -> str:
    return json.dumps({"id": "x", "account_number": ACCOUNT, "cash": "100", **fields})


@pytest.mark.parametrize(
    ("fields", "free_usd"),
    [
        ({"buying_power": "400"}, 100),
        ({"non_marginable_buying_power": "70"}, 70),
        ({"non_marginable_buying_power": "400"}, 100),
        ({"cash": "-5", "non_marginable_buying_power": "0"}, 0),
    ],
)
def test_the_smaller_of_cash_and_settled_cash_can_be_spent(
    broker: AlpacaBroker, exchange: Exchange, fields: dict[str, str], free_usd: int
) -> None:
    exchange.on("GET account", body(account(**fields)))
    assert broker.holdings().free_cash_usd == free_usd


@pytest.mark.parametrize("cash", ["NaN", "Infinity", "", None, "much"])
def test_cash_that_is_no_number_is_an_error(broker: AlpacaBroker, exchange: Exchange, cash: Any) -> None:
    exchange.on("GET account", body(account(cash=cash)), times=None)
    with pytest.raises(BrokerError, match="no account"):
        broker.holdings()


@pytest.mark.parametrize("qty", ["NaN", "-1", None, "x"])
def test_a_position_that_is_no_amount_is_an_error(broker: AlpacaBroker, exchange: Exchange, qty: Any) -> None:
    exchange.on("GET positions", body(json.dumps([{"symbol": "BTCUSD", "qty": qty}])), times=None)
    with pytest.raises(BrokerError, match="no positions"):
        broker.holdings()


def test_stocks_of_the_account_are_not_ours(broker: AlpacaBroker, exchange: Exchange) -> None:
    stock = {"symbol": "TSLA", "asset_class": "us_equity", "side": "short", "qty": "-3"}
    coin = {"symbol": "ETHUSD", "asset_class": "crypto", "side": "long", "qty": "3"}
    exchange.on("GET positions", body(json.dumps([stock, coin])))
    assert broker.holdings().units == {"ETH/USD": 3}


def row(request: OrderRequest, **fields: Any) -> dict[str, Any]:
    shown = {"id": str(uuid4()), "client_order_id": request.client_id, "symbol": request.symbol, "side": "buy"}
    return {**shown, "status": "filled", "submitted_at": "2024-06-01T00:00:00Z", "qty": "1", **fields}


@pytest.mark.parametrize(
    "fields",
    [
        {"filled_qty": "NaN", "filled_avg_price": "3000"},
        {"filled_qty": "1", "filled_avg_price": None},
        {"filled_qty": "1", "filled_avg_price": "0"},
        {"filled_qty": "1", "filled_avg_price": "-3000"},
        {"filled_qty": "-1", "filled_avg_price": "3000"},
        {"side": "hold"},
        {"client_order_id": "of somebody else"},
        {"submitted_at": None},
    ],
)
def test_an_order_that_cannot_be_so_is_an_error(
    broker: AlpacaBroker, exchange: Exchange, fields: dict[str, Any]
) -> None:
    request = order(BUY, "1")
    exchange.on("POST orders", body(json.dumps(row(request, **fields))))
    with pytest.raises(OrderUnknown):
        broker.submit(request)
    exchange.on("GET orders", body(json.dumps(row(request, **fields))), times=None)
    with pytest.raises(BrokerError, match="no order"):
        broker.report(request.client_id, NOW)


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("pending_new", VenueState.PENDING),
        ("accepted", VenueState.PENDING),
        ("new", VenueState.OPEN),
        ("partially_filled", VenueState.OPEN),
        ("pending_cancel", VenueState.OPEN),
        ("a word of tomorrow", VenueState.OPEN),
        ("filled", VenueState.FILLED),
        ("canceled", VenueState.CANCELED),
        ("replaced", VenueState.CANCELED),
        ("expired", VenueState.EXPIRED),
        ("rejected", VenueState.REJECTED),
    ],
)
def test_every_state_has_a_word_of_ours(broker: AlpacaBroker, exchange: Exchange, word: str, state: VenueState) -> None:
    request = order(BUY, "1")
    exchange.on("GET orders", body(json.dumps(row(request, status=word))))
    assert now(broker, request).state is state


@pytest.mark.parametrize("fault", [html(404), status(404, '{"message": "endpoint not found"}'), status(404, "[]")])
def test_only_the_venue_itself_says_that_there_is_no_order(
    broker: AlpacaBroker, exchange: Exchange, fault: Any
) -> None:
    exchange.on("GET orders", fault, times=None)
    with pytest.raises(BrokerError, match="404"):
        broker.report(str(uuid4()), NOW)


def test_lists_are_paged_by_time(broker: AlpacaBroker, exchange: Exchange) -> None:
    venue = exchange.at_alpaca
    sent = [venue.submit(str(n), "LTC/USD", BUY, Decimal(1), Decimal(11)).client_id for n in range(1203)]
    assert sorted(report.client_id for report in broker.open_orders()) == sorted(sent)
    assert len(exchange.sent) == 4


def test_orders_of_the_same_moment_are_not_lost_between_pages(broker: AlpacaBroker, exchange: Exchange) -> None:
    venue = exchange.at_alpaca
    for n in range(700):
        venue.submit(str(n), "LTC/USD", BUY, Decimal(1), Decimal(11))
    moment = list(venue.orders.values())[150].submitted_at
    for taken in list(venue.orders.values())[150:250]:
        taken.submitted_at = moment
    assert len(broker.open_orders()) == 700


def test_the_venues_step_is_never_finer_than_nine_decimals(broker: AlpacaBroker, exchange: Exchange) -> None:
    exchange.at_alpaca.pairs["BTC/USD"].flags |= {"min_trade_increment": None, "price_increment": None}
    exchange.at_alpaca.pairs["ETH/USD"].flags["status"] = "inactive"
    found = broker.instruments(("BTC/USD", "ETH/USD"))
    assert (found["BTC/USD"].units_step, found["BTC/USD"].price_step) == (Decimal("1e-9"), 0)
    assert (found["BTC/USD"].halted, found["BTC/USD"].min_buy_usd) == ("", 10)
    assert "inactive" in found["ETH/USD"].halted


def test_what_is_not_quoted_in_dollars_is_not_traded(broker: AlpacaBroker, exchange: Exchange) -> None:
    pairs = exchange.at_alpaca.pairs
    pairs["BTC/USDC"] = replace(pairs["BTC/USD"], symbol="BTC/USDC")
    assert "quote is not USD" in broker.instruments(("BTC/USDC",))["BTC/USDC"].halted


def test_assets_are_asked_for_one_by_one_where_there_is_no_list(broker: AlpacaBroker, exchange: Exchange) -> None:
    found = broker.instruments(("BTC/USD",))
    exchange.on("GET /v2/assets", status(404, '{"message": "no such endpoint"}'))
    exchange.on("GET /v2/assets/BTCUSD", body('{"symbol": "BTC/USD", "min_order_size": 0.0001, "tradable": true}'))
    exchange.on("GET /v2/assets/NOPEUSD", status(404, error(40410000, "asset not found for NOPEUSD")))
    alone = broker.instruments(("BTC/USD", "NOPE/USD"))
    assert alone == {"BTC/USD": replace(found["BTC/USD"], price_step=Decimal(0))}


def test_no_assets_at_all_is_a_broken_answer(broker: AlpacaBroker, exchange: Exchange) -> None:
    exchange.on("GET assets", body("[]"), times=None)
    with pytest.raises(BrokerError, match="no assets"):
        broker.instruments(("BTC/USD",))


def test_the_account_has_a_name(broker: AlpacaBroker, exchange: Exchange) -> None:
    assert broker.account_id() == ACCOUNT
    exchange.on("GET account", body('{"cash": "5"}'), times=None)
    with pytest.raises(BrokerError, match="without a number"):
        broker.account_id()
