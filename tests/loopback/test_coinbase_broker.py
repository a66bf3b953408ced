"""The facts of Coinbase that bite a trader, each against the real SDK and an exchange that behaves so."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid5

import pytest
from pydantic import SecretStr

from cappuccino.brokers.broker import OrderReport, OrderRequest, Refusal, Refused, Side, VenueState
from cappuccino.brokers.coinbase import CoinbaseBroker, quote_of
from cappuccino.brokers.sending import BrokerCalls
from cappuccino.clock import SystemClock
from cappuccino.credentials import Keys
from cappuccino.errors import BrokerError, ConfigError, OrderUnknown
from cappuccino.settings import CoinbaseSettings
from tests.loopback import coinbase_trading
from tests.loopback.exchange import Exchange
from tests.loopback.handler import Fault, Handler, after_acceptance, body, cut, html, late, reset, status
from tests.loopback.stopwatch import Stopwatch
from tests.loopback.trading_exchange import NotTakenError, TradingVenue

ORDERS = UUID("8f3a0c4e-7f0e-4a57-9c62-2f6d8f3b1c11")
MakeBroker = Callable[..., CoinbaseBroker]


@pytest.fixture
def make_broker(exchange: Exchange, stopwatch: Stopwatch) -> MakeBroker:
    def make(secret: str = coinbase_trading.SECRET, quote: str = "USD", **fields: Any) -> CoinbaseBroker:
        settings = CoinbaseSettings(**{"base_url": exchange.coinbase_host, "requests_per_minute": 1e6, **fields})
        calls = BrokerCalls(
            "coinbase", settings, 1e6, sleep=stopwatch.sleep, monotonic=stopwatch.monotonic, rng=random.Random(1)
        )
        return CoinbaseBroker(
            settings, Keys(coinbase_trading.KEY, SecretStr(secret)), SystemClock(), calls, quote=quote
        )

    return make


@pytest.fixture
def broker(make_broker: MakeBroker) -> CoinbaseBroker:
    return make_broker()


@pytest.fixture
def venue(exchange: Exchange) -> TradingVenue:
    return exchange.at_coinbase


def order(number: int = 1, units: str = "0.1", limit: str | None = None, side: Side = Side.BUY) -> OrderRequest:
    return OrderRequest(
        client_id=str(uuid5(ORDERS, str(number))),
        symbol="BTC/USD",
        side=side,
        units=Decimal(units),
        expected_usd=Decimal(60_000),
        limit_usd=None if limit is None else Decimal(limit),
    )


def taken(broker: CoinbaseBroker, request: OrderRequest) -> OrderReport:
    report = broker.submit(request)
    assert isinstance(report, OrderReport), report
    return report


def edited(change: Callable[[dict[str, Any]], None]) -> Fault:
    """Return the answer that the venue would give, changed."""

    def run(handler: Handler) -> None:
        send = handler.send

        def changed(code: int, text: str) -> None:
            answer = json.loads(text)
            change(answer)
            send(code, json.dumps(answer))

        handler.send = changed  # type: ignore[method-assign,assignment]
        handler.answer()
        handler.send = send  # type: ignore[method-assign]

    return run


# Orders


def test_a_market_order_is_an_ioc_by_base_size_whose_fee_is_paid_in_dollars(
    broker: CoinbaseBroker, exchange: Exchange
) -> None:
    report = taken(broker, order())
    assert (report.state, report.filled_units, report.average_usd) == (VenueState.FILLED, Decimal("0.1"), 60_010)
    assert (report.fee_usd, report.fee_units, report.is_maker) == (Decimal("54.009"), 0, False)
    assert broker.holdings().cash_usd == 100_000 - 6_001 - Decimal("54.009")
    (sent,) = exchange.sent_to("POST", "orders")
    assert sent["order_configuration"] == {"market_market_ioc": {"base_size": "0.1"}}
    assert (sent["client_order_id"], sent["side"]) == (order().client_id, "BUY")


def test_a_limit_order_is_post_only_and_rests(broker: CoinbaseBroker, exchange: Exchange) -> None:
    report = taken(broker, order(limit="59000.50"))
    assert (report.state, report.filled_units, report.is_maker) == (VenueState.OPEN, 0, None)
    (sent,) = exchange.sent_to("POST", "orders")
    assert sent["order_configuration"] == {
        "limit_limit_gtc": {"base_size": "0.1", "limit_price": "59000.50", "post_only": True}
    }
    exchange.at_coinbase.move("BTC/USD", "58000", "58010")
    filled = broker.report(report.client_id, datetime.now(UTC), report.venue_id)
    assert filled is not None
    assert (filled.state, filled.average_usd, filled.is_maker) == (VenueState.FILLED, Decimal("59000.50"), True)


def test_sizes_and_prices_are_text_without_an_exponent_rounded_down_to_the_increments(
    broker: CoinbaseBroker, exchange: Exchange
) -> None:
    broker.instruments(("BTC/USD",))
    report = taken(broker, order(units="0.1000000009999", limit="59000.509"))
    assert report.units == Decimal("0.100000000")
    taken(broker, order(2, units="5E-1", limit="5E+4"))
    configurations = [sent["order_configuration"]["limit_limit_gtc"] for sent in exchange.sent_to("POST", "orders")]
    assert [(c["base_size"], c["limit_price"]) for c in configurations] == [
        ("0.100000000", "59000.50"),
        ("0.5", "50000"),
    ]


def test_less_than_one_step_is_not_sent(broker: CoinbaseBroker, exchange: Exchange) -> None:
    broker.instruments(("BTC/USD",))
    refused = broker.submit(order(units="0.0000000001"))
    assert isinstance(refused, Refused)
    assert refused.kind is Refusal.TOO_SMALL
    assert exchange.sent_to("POST", "orders") == []


REFUSALS = {
    "in error": (order(units="0.10000000001"), Refusal.PRECISION, "INVALID_SIZE_PRECISION"),
    "in preview_failure_reason": (order(units="9"), Refusal.FUNDS, "PREVIEW_INSUFFICIENT_FUND; insufficient balance"),
    "in new_order_failure_reason": (order(limit="70000"), Refusal.WOULD_CROSS, "INVALID_LIMIT_PRICE_POST_ONLY"),
    "too small": (order(units="0.0001"), Refusal.TOO_SMALL, "PREVIEW_INVALID_BASE_SIZE_TOO_SMALL"),
}


@pytest.mark.parametrize(("request_", "kind", "words"), REFUSALS.values(), ids=REFUSALS.keys())
def test_a_refusal_is_status_200_and_its_reason_is_in_one_of_three_fields(
    broker: CoinbaseBroker, exchange: Exchange, request_: OrderRequest, kind: Refusal, words: str
) -> None:
    refused = broker.submit(request_)
    assert isinstance(refused, Refused)
    assert (refused.kind, words in refused.reason) == (kind, True), refused.reason
    assert exchange.at_coinbase.orders == {}


def test_a_pair_that_is_halted_or_unknown_is_not_tradable(broker: CoinbaseBroker, venue: TradingVenue) -> None:
    venue.pairs["BTC/USD"].halted = True
    halted = broker.submit(order())
    assert isinstance(halted, Refused)
    assert (halted.kind, "ORDER_ENTRY_DISABLED" in halted.reason) == (Refusal.NOT_TRADABLE, True)
    del venue.pairs["BTC/USD"]
    unknown = broker.submit(order())
    assert isinstance(unknown, Refused)
    assert unknown.kind is Refusal.NOT_TRADABLE


def test_a_wallet_that_is_not_there_is_a_refusal_of_its_own(broker: CoinbaseBroker, venue: TradingVenue) -> None:
    venue.refusals.append(NotTakenError("other", "account is not available"))
    refused = broker.submit(order())
    assert refused == Refused("account is not available", Refusal.NOT_TRADABLE)


def test_the_same_client_id_hands_back_the_earlier_order(broker: CoinbaseBroker, venue: TradingVenue) -> None:
    first = taken(broker, order())
    again = taken(broker, order(units="0.2"))
    assert again == first
    assert len(venue.orders) == 1


def test_an_order_that_reads_do_not_show_yet_is_pending(broker: CoinbaseBroker, venue: TradingVenue) -> None:
    venue.lag = 3
    report = taken(broker, order())
    assert (report.state, report.units, report.filled_units) == (VenueState.PENDING, Decimal("0.1"), 0)
    assert broker.report(report.client_id, datetime.now(UTC), report.venue_id) is None
    for _ in range(4):
        found = broker.report(report.client_id, datetime.now(UTC), report.venue_id)
    assert found is not None
    assert found.state is VenueState.FILLED


def test_a_null_order_configuration_does_not_hide_that_an_order_was_taken(
    broker: CoinbaseBroker, exchange: Exchange
) -> None:
    """The loopback exchange answers every order so, and the SDK's own constructor fails on it."""

    def without_configuration(answer: dict[str, Any]) -> None:
        for row in answer.get("orders", [answer.get("order")]):
            row["order_configuration"] = None

    report = taken(broker, order())
    exchange.on("GET historical", edited(without_configuration), times=None)
    for venue_id in ("", report.venue_id):
        found = broker.report(report.client_id, datetime.now(UTC), venue_id)
        assert found is not None
        assert (found.state, found.filled_units, found.is_maker) == (VenueState.FILLED, Decimal("0.1"), None)


def test_an_ioc_that_fills_partly_ends_cancelled_with_what_it_filled(
    broker: CoinbaseBroker, venue: TradingVenue
) -> None:
    venue.plan_fills("0.3", "0.2")
    report = taken(broker, order())
    assert (report.state, report.filled_units) == (VenueState.OPEN, Decimal("0.03"))
    for _ in range(2):
        found = broker.report(report.client_id, datetime.now(UTC), report.venue_id)
    assert found is not None
    assert (found.state, found.filled_units, found.units) == (VenueState.CANCELED, Decimal("0.05"), Decimal("0.1"))


def test_an_order_that_is_called_filled_before_its_fills_are_counted_is_still_open(
    broker: CoinbaseBroker, exchange: Exchange
) -> None:
    def early(answer: dict[str, Any]) -> None:
        answer["order"].update(filled_size="0.06", settled=False)

    report = taken(broker, order())
    exchange.on("GET historical", edited(early))
    states = [broker.report(report.client_id, datetime.now(UTC), report.venue_id) for _ in range(2)]
    assert [state.state if state else None for state in states] == [VenueState.OPEN, VenueState.FILLED]


# Orders whose fate is unknown

LOST: dict[str, Fault] = {
    "gateway time-out as a page": html(504),
    "server error": status(500),
    "connection reset": reset,
    "lost in the middle of the body": cut,
    "nothing with status 200": body(""),
    "garbage": body("<html>maintenance</html>"),
    "an answer that does not say": body('{"order_id": "x"}'),
    "taken, without an id": body('{"success": true, "success_response": {}}'),
    "another one's answer": body('{"success": true, "success_response": {"order_id": "x", "client_order_id": "y"}}'),
    "request time-out": status(408),
}


@pytest.mark.parametrize("fault", LOST.values(), ids=LOST.keys())
def test_an_order_that_may_have_been_taken_is_unknown_sent_once_and_found_by_a_search(
    broker: CoinbaseBroker, exchange: Exchange, fault: Fault
) -> None:
    exchange.on("POST orders", after_acceptance(fault))
    sent_at = datetime.now(UTC)
    with pytest.raises(OrderUnknown, match="nobody knows whether the order was taken"):
        broker.submit(order())
    assert len(exchange.sent_to("POST", "orders")) == 1
    found = broker.report(order().client_id, sent_at)
    assert found is not None
    assert (found.state, found.filled_units) == (VenueState.FILLED, Decimal("0.1"))


@pytest.mark.parametrize("fault", LOST.values(), ids=LOST.keys())
def test_an_order_that_never_arrived_is_just_as_unknown_until_the_search_finds_nothing(
    broker: CoinbaseBroker, exchange: Exchange, fault: Fault
) -> None:
    exchange.on("POST orders", fault)
    with pytest.raises(OrderUnknown):
        broker.submit(order())
    assert broker.report(order().client_id, datetime.now(UTC)) is None
    assert len(exchange.sent_to("POST", "orders")) == 1


def test_an_order_that_nobody_answers_is_unknown(make_broker: MakeBroker, exchange: Exchange) -> None:
    exchange.on("POST orders", after_acceptance(late(0.2)))
    broker = make_broker(read_timeout_s=0.1)
    with pytest.raises(OrderUnknown):
        broker.submit(order())
    assert broker.report(order().client_id, datetime.now(UTC)) is not None


def test_an_order_is_not_sent_to_where_a_redirect_points(broker: CoinbaseBroker, exchange: Exchange) -> None:
    exchange.on("POST orders", status(307, Location="/api/v3/brokerage/orders"))
    with pytest.raises(OrderUnknown, match="HTTP 307"):
        broker.submit(order())
    assert len(exchange.sent_to("POST", "orders")) == 1


def test_an_answer_that_calls_the_id_a_duplicate_makes_us_look_for_the_order(
    broker: CoinbaseBroker, venue: TradingVenue
) -> None:
    venue.refusals.append(NotTakenError("other", "duplicate client_order_id"))
    with pytest.raises(OrderUnknown):
        broker.submit(order())


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (status(429, '{"error": "rate_limit_exceeded"}'), Refusal.RATE),
        (status(401, "Unauthorized"), Refusal.CREDENTIALS),
        (
            status(403, '{"error": "PERMISSION_DENIED", "error_details": "Missing required scopes"}'),
            Refusal.CREDENTIALS,
        ),
        (status(400, '{"error": "INVALID_ARGUMENT", "message": "no idea"}'), Refusal.OTHER),
    ],
    ids=["too many requests", "keys", "permission", "nonsense"],
)
def test_a_status_from_400_on_is_a_refusal(
    broker: CoinbaseBroker, exchange: Exchange, fault: Fault, kind: Refusal
) -> None:
    exchange.on("POST orders", fault)
    refused = broker.submit(order())
    assert isinstance(refused, Refused)
    assert refused.kind is kind
    assert len(exchange.sent_to("POST", "orders")) == 1


def test_an_order_that_could_not_leave_was_not_taken(make_broker: MakeBroker) -> None:
    refused = make_broker(base_url="127.0.0.1:1").submit(order())
    assert isinstance(refused, Refused)
    assert refused.kind is Refusal.UNREACHED


def test_the_search_walks_all_pages_and_begins_before_the_order(
    broker: CoinbaseBroker, exchange: Exchange, venue: TradingVenue
) -> None:
    venue.page_orders = 2
    sent_at = datetime.now(UTC) - timedelta(minutes=1)
    for number in range(5):
        taken(broker, order(number, units="0.01"))
    found = broker.report(order(0).client_id, sent_at)
    assert found is not None
    assert found.client_id == order(0).client_id
    searches = [query for path, query, _ in exchange.asked if path.endswith("batch")]
    assert [query.get("cursor") for query in searches] == [None, "2", "4"]
    assert datetime.fromisoformat(searches[0]["start_date"]) < sent_at - timedelta(minutes=9)
    assert "order_status" not in searches[0]


def test_pages_that_go_in_circles_are_an_error(broker: CoinbaseBroker, exchange: Exchange) -> None:
    exchange.on("GET batch", body('{"orders": [], "has_next": true, "cursor": "again"}'), times=None)
    with pytest.raises(BrokerError, match="pages of orders do not end"):
        broker.report(order().client_id, datetime.now(UTC))


def test_an_order_of_another_client_id_is_not_taken_for_ours(broker: CoinbaseBroker) -> None:
    report = taken(broker, order())
    with pytest.raises(BrokerError, match=r"is .* not "):
        broker.report(order(2).client_id, datetime.now(UTC), report.venue_id)


# Open orders and cancels


def test_open_orders_include_those_that_the_filter_leaves_out(broker: CoinbaseBroker, venue: TradingVenue) -> None:
    resting = taken(broker, order(1, limit="50000"))
    taken(broker, order(2, units="0.01"))
    venue.patience = 99
    pending = taken(broker, order(3, limit="50000"))
    found = {report.client_id: report.state for report in broker.open_orders()}
    assert found == {resting.client_id: VenueState.OPEN, pending.client_id: VenueState.PENDING}


def test_an_order_that_waits_in_a_queue_may_still_be_filled(broker: CoinbaseBroker, exchange: Exchange) -> None:
    def queued(answer: dict[str, Any]) -> None:
        for row in answer["orders"]:
            row["status"] = "QUEUED"

    taken(broker, order(limit="50000"))
    exchange.on("GET batch", edited(queued), times=None)
    assert [report.state for report in broker.open_orders()] == [VenueState.PENDING]


def test_a_cancel_that_was_accepted_is_not_done(broker: CoinbaseBroker, venue: TradingVenue) -> None:
    report = taken(broker, order(limit="50000"))
    venue.ignored_cancels = 1
    broker.cancel(report)
    still = broker.report(report.client_id, datetime.now(UTC), report.venue_id)
    assert still is not None
    assert still.state is VenueState.OPEN
    broker.cancel(report)
    gone = broker.report(report.client_id, datetime.now(UTC), report.venue_id)
    assert gone is not None
    assert gone.state is VenueState.CANCELED


def test_cancelling_what_has_ended_is_nothing_and_what_is_unknown_an_error(
    broker: CoinbaseBroker, venue: TradingVenue
) -> None:
    report = taken(broker, order())
    broker.cancel(report)
    venue.forget(report.venue_id)
    with pytest.raises(BrokerError, match="is not cancelled: UNKNOWN_CANCEL_ORDER"):
        broker.cancel(report)


def test_a_cancel_whose_answer_is_lost_is_asked_for_again(broker: CoinbaseBroker, exchange: Exchange) -> None:
    report = taken(broker, order(limit="50000"))
    exchange.on("POST batch_cancel", body('{"results": []}'))
    broker.cancel(report)
    assert len(exchange.sent_to("POST", "batch_cancel")) == 2


# The account


def test_every_wallet_is_looked_at_whatever_page_it_is_on(
    broker: CoinbaseBroker, exchange: Exchange, venue: TradingVenue
) -> None:
    venue.empty_wallets = 600
    taken(broker, order(units="0.5"))
    taken(broker, order(2, units="0.2", limit="70000", side=Side.SELL))
    taken(broker, order(3, units="0.1", limit="50000"))
    holdings = broker.holdings()
    assert holdings.units == {"BTC/USD": Decimal("0.5")}
    assert holdings.free_units == {"BTC/USD": Decimal("0.3")}
    assert holdings.cash_usd - holdings.free_cash_usd == Decimal("5045.000")  # the purchase at rest, and its fee
    asked = [query for path, query, _ in exchange.asked if path.endswith("accounts")]
    assert [(query["limit"], query.get("cursor")) for query in asked] == [("250", None), ("250", "250"), ("250", "500")]


NOT_FLAT = {
    "no wallet at all": '{"accounts": [], "has_next": false}',
    "no list": '{"accounts": null, "has_next": false}',
    "nothing": "{}",
    "a page is missing": '{"accounts": [{"currency": "BTC", "available_balance": {"value": "1", "currency": "BTC"}}]}',
    "a balance that is none": '{"accounts": [{"currency": "USD", "available_balance": {"value": "NaN"}}]}',
    "a balance below nothing": '{"accounts": [{"currency": "USD", "available_balance": {"value": "-1"}}]}',
    "a wallet of another currency": '{"accounts": [{"currency": "USD", "available_balance": '
    '{"value": "5", "currency": "EUR"}}]}',
    "a next page without a cursor": '{"accounts": [{"currency": "USD", "available_balance": {"value": "5"}}], '
    '"has_next": true}',
}


@pytest.mark.parametrize("answer", NOT_FLAT.values(), ids=NOT_FLAT.keys())
def test_an_answer_that_is_empty_or_malformed_is_never_flat(
    broker: CoinbaseBroker, exchange: Exchange, answer: str
) -> None:
    exchange.on("GET accounts", body(answer), times=None)
    with pytest.raises(BrokerError, match=r"coinbase: no (balances|list of accounts)"):
        broker.holdings()


def test_dollars_and_dollar_coins_are_different_wallets(make_broker: MakeBroker, venue: TradingVenue) -> None:
    venue.balances = {"USD": Decimal(7), "USDC": Decimal(500), "BTC": Decimal(2)}
    holdings = make_broker(quote="USDC").holdings()
    assert (holdings.cash_usd, holdings.units) == (500, {"USD/USDC": 7, "BTC/USDC": 2})
    del venue.balances["USDC"]
    with pytest.raises(BrokerError, match=r"no wallet of USDC in what came \(BTC, USD\)"):
        make_broker(quote="USDC").holdings()


def test_increments_and_smallest_sizes_are_read_by_symbol(broker: CoinbaseBroker, venue: TradingVenue) -> None:
    venue.pairs["BTC/USD"].units_step, venue.pairs["BTC/USD"].price_step = Decimal("1e-8"), Decimal("0.05")
    found = broker.instruments(("BTC/USD", "ETH/USD", "NOPE/USD"))
    assert set(found) == {"BTC/USD", "ETH/USD"}
    btc = found["BTC/USD"]
    assert (btc.units_step, btc.price_step, btc.min_units) == (Decimal("1e-8"), Decimal("0.05"), Decimal("0.0001"))
    assert (btc.min_buy_usd, btc.min_sell_usd, btc.max_units, btc.halted) == (10, 10, 3400, "")


@pytest.mark.parametrize(
    ("flag", "halted", "takes_market"),
    [
        ("trading_disabled", "trading_disabled", True),
        ("is_disabled", "is_disabled", True),
        ("cancel_only", "cancel_only", True),
        ("view_only", "view_only", True),
        ("limit_only", "", False),
        ("post_only", "", False),
        ("auction_mode", "", False),
    ],
)
def test_the_flags_of_a_product_say_what_it_takes(
    broker: CoinbaseBroker, venue: TradingVenue, flag: str, halted: str, takes_market: bool
) -> None:
    venue.pairs["BTC/USD"].flags = {flag: True}
    found = broker.instruments(("BTC/USD",))["BTC/USD"]
    assert (found.halted, found.takes_market) == (halted, takes_market)


def test_the_fee_tier_is_that_of_spot_trading(broker: CoinbaseBroker, venue: TradingVenue) -> None:
    taken(broker, order())
    tier = broker.fees()
    assert (tier.name, tier.maker_frac, tier.taker_frac) == ("Intro 1", Decimal("0.005"), Decimal("0.009"))
    assert tier.volume_usd == 6_001


def test_the_account_is_the_portfolio_of_the_keys(broker: CoinbaseBroker, exchange: Exchange) -> None:
    assert broker.is_real_money
    assert [broker.account_id(), broker.account_id()] == [coinbase_trading.PORTFOLIO] * 2
    assert len(exchange.asked) == 1
    rights = broker.permissions()
    assert rights is not None
    assert (rights.can_trade, rights.can_transfer) == (True, False)


def test_where_keys_do_not_tell_their_portfolio_the_wallets_do(broker: CoinbaseBroker, exchange: Exchange) -> None:
    exchange.on("GET key_permissions", status(404), times=None)
    assert broker.account_id() == coinbase_trading.PORTFOLIO


def test_the_cash_is_the_currency_that_all_symbols_are_traded_against() -> None:
    assert quote_of(("BTC/USDC", "ETH/USDC")) == "USDC"
    with pytest.raises(ConfigError, match="traded against USD, USDC; an account of Coinbase needs one"):
        quote_of(("BTC/USDC", "ETH/USD"))


# Clock and keys


def test_a_wrong_clock_looks_like_wrong_keys_and_is_told_apart(broker: CoinbaseBroker, venue: TradingVenue) -> None:
    venue.ahead_s = 300
    assert broker.clock_skew_s() == pytest.approx(-300, abs=5)
    with pytest.raises(BrokerError, match=r"HTTP 401 .*Unauthorized.*; our clock is -[23]\d\d\.\d s from the venue's"):
        broker.holdings()
    refused = broker.submit(order())
    assert isinstance(refused, Refused)
    assert (refused.kind, "our clock is -" in refused.reason) == (Refusal.CREDENTIALS, True)


def test_a_venue_without_a_time_of_its_own_tells_it_with_every_answer(
    broker: CoinbaseBroker, exchange: Exchange, venue: TradingVenue
) -> None:
    venue.ahead_s = 300
    exchange.on("GET time", status(404), times=None)
    assert broker.clock_skew_s() == pytest.approx(-300, abs=5)


def test_a_secret_that_is_no_key_is_an_error_of_the_configuration(make_broker: MakeBroker, exchange: Exchange) -> None:
    with pytest.raises(ConfigError, match="COINBASE_API_SECRET is no private key") as raised:
        make_broker(secret="a-secret-that-nobody-may-see").holdings()
    assert "nobody-may-see" not in str(raised.value)
    assert exchange.asked == []


def test_nothing_of_the_keys_is_printed_or_logged(
    broker: CoinbaseBroker, exchange: Exchange, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    exchange.on("GET accounts", status(400, '{"error": "no"}'))
    with pytest.raises(BrokerError):
        broker.holdings()
    assert (capfd.readouterr().err, caplog.records) == ("", [])
    assert "BEGIN EC" not in repr(vars(broker))


def test_a_ca_bundle_of_the_settings_is_trusted(make_broker: MakeBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = os.environ["REQUESTS_CA_BUNDLE"]
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    with pytest.raises(BrokerError, match="CERTIFICATE_VERIFY_FAILED"):
        make_broker().holdings()
    assert make_broker(ca_bundle=authority).holdings().cash_usd == 100_000


# Questions


@pytest.mark.parametrize(
    "fault", [html(503), reset, body("<html></html>"), status(500)], ids=["page", "reset", "nonsense", "error"]
)
def test_a_question_is_asked_a_few_times_and_no_more(broker: CoinbaseBroker, exchange: Exchange, fault: Fault) -> None:
    exchange.on("GET accounts", fault, times=2)
    assert broker.holdings().cash_usd == 100_000
    exchange.on("GET accounts", fault, times=None)
    with pytest.raises(BrokerError, match="no list of accounts"):
        broker.holdings()
    assert len([path for path, _, _ in exchange.asked if path.endswith("accounts")]) == 6
    assert set(broker.drain()["source"]) == {"coinbase"}
