"""What every broker must do. A new broker joins by one line in BROKERS, one at a venue also in VENUES."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any
from uuid import UUID

import pytest
from pydantic import SecretStr

from cappuccino.brokers.alpaca import AlpacaBroker
from cappuccino.brokers.broker import (
    Broker,
    Instrument,
    OrderReport,
    OrderRequest,
    Refusal,
    Refused,
    Side,
    VenueState,
)
from cappuccino.brokers.coinbase import CoinbaseBroker
from cappuccino.brokers.sending import BrokerCalls
from cappuccino.brokers.simulated import SimulatedBroker
from cappuccino.clock import SystemClock
from cappuccino.credentials import Keys
from cappuccino.errors import BrokerError, OrderUnknown
from cappuccino.market.quotes import Quote
from cappuccino.market.venues.account import SCHEMA
from cappuccino.market.venues.alpaca import AlpacaSource
from cappuccino.settings import AlpacaSettings, CoinbaseSettings
from tests.loopback import alpaca_trading, coinbase_trading
from tests.loopback.exchange import Exchange, running
from tests.loopback.handler import Fault, after_acceptance, body, html, late, reset, status
from tests.loopback.stopwatch import Stopwatch
from tests.loopback.trading_exchange import Pair, TradingVenue

CASH_USD = Decimal(100_000)
BUY, SELL = Side.BUY, Side.SELL
QUICK = {"requests_per_minute": 1e6, "breaker_failures": 20}
_NUMBERS = count(1)


@dataclass(frozen=True)
class Desk:
    """A broker, and the market behind it."""

    broker: Broker
    venue: TradingVenue
    """The simulated broker takes only quotes and halts from it."""
    exchange: Exchange
    stopwatch: Stopwatch = field(default_factory=Stopwatch)

    def order(self, side: Side, units: str, symbol: str = "BTC/USD", limit: str | None = None) -> OrderRequest:
        pair = self.venue.pairs.get(symbol, Pair(symbol))
        return OrderRequest(
            client_id=str(UUID(int=next(_NUMBERS), version=4)),
            symbol=symbol,
            side=side,
            units=Decimal(units),
            expected_usd=pair.touch(side),
            limit_usd=None if limit is None else Decimal(limit),
        )

    def submit(self, *words: Any, **named: Any) -> OrderReport:
        """Send an order that is taken."""
        taken = self.broker.submit(self.order(*words, **named))
        assert isinstance(taken, OrderReport), taken
        return taken

    def now(self, report: OrderReport | OrderRequest) -> OrderReport:
        """Return what has become of an order that the venue knows."""
        found = self.broker.report(report.client_id, datetime.now(UTC))
        assert found is not None
        return found

    def filled(self, *words: Any, **named: Any) -> OrderReport:
        return self.now(self.submit(*words, **named))

    def n_posts(self) -> int:
        """Return how many orders were sent to the venue."""
        return len(self.exchange.sent_to("POST", "orders"))


def simulated(exchange: Exchange, **fields: Any) -> Desk:
    pairs = exchange.at_alpaca.pairs

    def quote(symbol: str) -> Quote:
        pair = pairs[symbol]
        return Quote(symbol, float(pair.bid), float(pair.ask), datetime(2024, 6, 1, tzinfo=UTC))

    instruments = {
        symbol: Instrument(
            symbol, pair.units_step, pair.price_step, pair.min_units, pair.min_buy_usd, halted="halted" * pair.halted
        )
        for symbol, pair in pairs.items()
    }
    broker = SimulatedBroker(CASH_USD, instruments, quote, taker_frac=0.0025, maker_frac=0.0015)
    return Desk(broker, exchange.at_alpaca, exchange)


def alpaca(exchange: Exchange, **fields: Any) -> Desk:
    chosen = {"data_url": exchange.alpaca_url, "trading_url": exchange.alpaca_url, **QUICK, **fields}
    settings, stopwatch = AlpacaSettings(**chosen), Stopwatch()
    keys = Keys(alpaca_trading.KEY, SecretStr(alpaca_trading.SECRET))
    quotes = AlpacaSource(settings, SystemClock())
    broker = AlpacaBroker(settings, keys, SystemClock(), quotes, _calls("alpaca", settings, stopwatch))
    return Desk(broker, exchange.at_alpaca, exchange, stopwatch)


def coinbase(exchange: Exchange, **fields: Any) -> Desk:
    settings, stopwatch = CoinbaseSettings(**{"base_url": exchange.coinbase_host, **QUICK, **fields}), Stopwatch()
    keys = Keys(coinbase_trading.KEY, SecretStr(coinbase_trading.SECRET))
    broker = CoinbaseBroker(settings, keys, SystemClock(), _calls("coinbase", settings, stopwatch))
    return Desk(broker, exchange.at_coinbase, exchange, stopwatch)


def _calls(venue: str, settings: AlpacaSettings | CoinbaseSettings, stopwatch: Stopwatch) -> BrokerCalls:
    return BrokerCalls(
        venue,
        settings,
        settings.requests_per_minute,
        sleep=stopwatch.sleep,
        monotonic=stopwatch.monotonic,
        rng=random.Random(1),
    )


MakeDesk = Callable[..., Desk]
VENUES: list[MakeDesk] = [alpaca, coinbase]
BROKERS: list[MakeDesk] = [simulated, *VENUES]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchange]:
    with running(tmp_path_factory.mktemp("exchange")) as exchange:
        yield exchange


@pytest.fixture
def exchange(served: Exchange) -> Exchange:
    served.reset()
    return served


@pytest.fixture(params=BROKERS, ids=lambda make: make.__name__)
def make_any(request: pytest.FixtureRequest, exchange: Exchange) -> MakeDesk:
    return lambda **fields: request.param(exchange, **fields)


@pytest.fixture
def desk(make_any: MakeDesk) -> Desk:
    """Any broker."""
    return make_any()


@pytest.fixture(params=VENUES, ids=lambda make: make.__name__)
def make_at(request: pytest.FixtureRequest, exchange: Exchange) -> MakeDesk:
    return lambda **fields: request.param(exchange, **fields)


@pytest.fixture
def at(make_at: MakeDesk) -> Desk:
    """A broker at a venue that can misbehave."""
    return make_at()


def close_to(number: Decimal) -> Any:
    """Return what equals all numbers that float64 cannot tell from that one."""
    return pytest.approx(number, rel=Decimal("1e-12"), abs=Decimal("1e-8"))


# Every broker


def test_it_says_what_it_is(desk: Desk) -> None:
    assert desk.broker.name in ("simulated", "alpaca", "coinbase")
    assert desk.broker.is_real_money is (desk.broker.name == "coinbase")
    assert desk.broker.account_id()
    assert desk.broker.account_id() == desk.broker.account_id()


def test_it_tells_what_it_accepts_of_known_symbols(desk: Desk) -> None:
    found = desk.broker.instruments(("ETH/USD", "BTC/USD", "NOPE/USD"))
    assert sorted(found) == ["BTC/USD", "ETH/USD"]
    bitcoin = found["BTC/USD"]
    assert (bitcoin.symbol, bitcoin.price_step, bitcoin.halted) == ("BTC/USD", Decimal("0.01"), "")
    assert bitcoin.min_units == Decimal("0.0001")
    assert 0 < bitcoin.units_step <= Decimal("1e-8")
    assert bitcoin.takes_market
    assert bitcoin.takes_post_only


def test_fees_are_small_shares_and_makers_pay_no_more(desk: Desk) -> None:
    fees = desk.broker.fees()
    assert 0 < fees.maker_frac <= fees.taker_frac < Decimal("0.02")
    assert fees.name


def test_a_new_account_is_cash(desk: Desk) -> None:
    holdings = desk.broker.holdings()
    assert (holdings.cash_usd, holdings.free_cash_usd) == (CASH_USD, CASH_USD)
    assert (dict(holdings.units), dict(holdings.free_units)) == ({}, {})
    assert desk.broker.open_orders() == ()


def test_a_market_purchase_is_filled_and_paid_for(desk: Desk) -> None:
    order = desk.order(BUY, "0.25")
    taken = desk.broker.submit(order)
    assert isinstance(taken, OrderReport)
    assert (taken.client_id, taken.symbol, taken.side, taken.units) == (order.client_id, "BTC/USD", BUY, order.units)
    report = desk.now(order)
    assert (report.state, report.filled_units, report.average_usd) == (VenueState.FILLED, order.units, Decimal(60_010))
    assert report.venue_id == taken.venue_id
    assert report.is_maker is not True
    holdings = desk.broker.holdings()
    assert holdings.units["BTC/USD"] == close_to(order.units - report.fee_units)
    assert holdings.cash_usd == close_to(CASH_USD - Decimal("0.25") * 60_010 - report.fee_usd)
    assert report.fee_usd + report.fee_units * 60_010 == close_to(
        Decimal("0.25") * 60_010 * desk.broker.fees().taker_frac
    )


def test_all_that_is_held_can_be_sold(desk: Desk) -> None:
    desk.filled(BUY, "0.25")
    cash_usd, held = desk.broker.holdings().cash_usd, desk.broker.holdings().free_units["BTC/USD"]
    report = desk.filled(SELL, str(held))
    assert (report.state, report.side, report.filled_units) == (VenueState.FILLED, SELL, held)
    assert report.fee_units == 0
    holdings = desk.broker.holdings()
    assert dict(holdings.units) == {}
    assert holdings.cash_usd == close_to(cash_usd + held * 60_000 - report.fee_usd)


def test_the_same_client_id_is_the_same_order(desk: Desk) -> None:
    order = desk.order(BUY, "0.25")
    first, second = desk.broker.submit(order), desk.broker.submit(order)
    third = desk.broker.submit(replace(order, units=Decimal("0.5")))
    assert all(isinstance(report, OrderReport) for report in (first, second, third))
    assert {report.venue_id for report in (first, second, third)} == {first.venue_id}  # type: ignore[union-attr]
    assert third.units == order.units  # type: ignore[union-attr]
    desk.now(order)
    assert desk.broker.holdings().units["BTC/USD"] <= order.units


def test_the_same_client_id_is_the_same_order_after_its_end(desk: Desk) -> None:
    order = desk.order(BUY, "0.25", limit="59000")
    first = desk.broker.submit(order)
    assert isinstance(first, OrderReport)
    desk.broker.cancel(desk.now(first))
    again = desk.broker.submit(order)
    assert isinstance(again, OrderReport)
    assert (again.venue_id, again.state) == (first.venue_id, VenueState.CANCELED)


def test_the_same_client_id_is_the_same_order_when_there_is_no_money_for_two(desk: Desk) -> None:
    order = desk.order(BUY, "1.6", limit="59000")
    first, again = desk.broker.submit(order), desk.broker.submit(order)
    assert isinstance(first, OrderReport)
    assert isinstance(again, OrderReport)
    assert first.venue_id == again.venue_id


def test_the_same_client_id_is_the_same_order_when_it_would_cross_by_now(desk: Desk) -> None:
    order = desk.order(BUY, "0.25", limit="59000")
    first = desk.broker.submit(order)
    desk.venue.move("BTC/USD", "58000", "58010")
    again = desk.broker.submit(order)
    assert isinstance(first, OrderReport)
    assert isinstance(again, OrderReport)
    assert first.venue_id == again.venue_id


def test_an_order_that_nobody_sent_is_unknown(desk: Desk) -> None:
    unsent = desk.order(BUY, "0.25")
    assert desk.broker.report(unsent.client_id, datetime.now(UTC)) is None


def test_a_limit_rests_and_holds_cash_back_until_it_is_cancelled(desk: Desk) -> None:
    resting = desk.submit(BUY, "0.25", limit="59000")
    (found,) = desk.broker.open_orders()
    assert (found.client_id, found.state, found.filled_units) == (resting.client_id, VenueState.OPEN, 0)
    holdings = desk.broker.holdings()
    assert holdings.cash_usd == CASH_USD
    assert holdings.free_cash_usd <= CASH_USD - Decimal("0.25") * 59_000
    desk.broker.cancel(found)
    assert desk.now(resting).state is VenueState.CANCELED
    assert desk.broker.open_orders() == ()
    assert desk.broker.holdings().free_cash_usd == CASH_USD


def test_a_resting_sale_holds_coins_back(desk: Desk) -> None:
    desk.filled(BUY, "0.25")
    desk.submit(SELL, "0.2", limit="61000")
    holdings = desk.broker.holdings()
    assert holdings.free_units["BTC/USD"] == close_to(holdings.units["BTC/USD"] - Decimal("0.2"))


def test_a_resting_order_is_filled_at_its_price_when_a_quote_touches_it(desk: Desk) -> None:
    resting = desk.submit(BUY, "0.25", limit="59000")
    desk.venue.move("BTC/USD", "58990", "59000")
    report = desk.now(resting)
    assert (report.state, report.filled_units, report.average_usd) == (VenueState.FILLED, Decimal("0.25"), 59_000)
    assert report.is_maker is not False
    fee_usd = report.fee_usd + report.fee_units * 59_000
    assert fee_usd == close_to(Decimal("0.25") * 59_000 * desk.broker.fees().maker_frac)


@pytest.mark.parametrize(("side", "limit"), [(BUY, "60010"), (BUY, "61000"), (SELL, "60000"), (SELL, "59000")])
def test_a_post_only_order_that_would_be_filled_at_once_is_refused(desk: Desk, side: Side, limit: str) -> None:
    desk.filled(BUY, "0.25")
    order = desk.order(side, "0.1", limit=limit)
    refused = desk.broker.submit(order)
    assert isinstance(refused, Refused)
    assert refused.kind is Refusal.WOULD_CROSS
    assert desk.broker.report(order.client_id, datetime.now(UTC)) is None


REFUSALS = {
    "no cash": (BUY, "10", "BTC/USD", None, Refusal.FUNDS),
    "no coins": (SELL, "0.3", "BTC/USD", None, Refusal.FUNDS),
    "no coins at all": (SELL, "1", "ETH/USD", None, Refusal.FUNDS),
    "below the smallest value": (BUY, "0.0001", "BTC/USD", None, Refusal.TOO_SMALL),
    "an unknown symbol": (BUY, "1", "NOPE/USD", None, Refusal.NOT_TRADABLE),
}


@pytest.mark.parametrize(("side", "units", "symbol", "limit", "kind"), REFUSALS.values(), ids=REFUSALS.keys())
def test_refusals_are_values_and_leave_nothing_behind(
    desk: Desk, side: Side, units: str, symbol: str, limit: str | None, kind: Refusal
) -> None:
    desk.filled(BUY, "0.25")
    before = desk.broker.holdings()
    order = desk.order(side, units, symbol, limit)
    refused = desk.broker.submit(order)
    assert isinstance(refused, Refused)
    assert refused.kind is kind
    assert len(refused.reason) > 10
    assert desk.broker.report(order.client_id, datetime.now(UTC)) is None
    assert desk.broker.holdings() == before


def test_what_is_halted_is_not_tradable(exchange: Exchange, make_any: MakeDesk) -> None:
    for venue in (exchange.at_alpaca, exchange.at_coinbase):
        venue.pairs["ETH/USD"].halted = True
    desk = make_any()
    assert desk.broker.instruments(("ETH/USD",))["ETH/USD"].halted
    refused = desk.broker.submit(desk.order(BUY, "1", "ETH/USD"))
    assert isinstance(refused, Refused)
    assert refused.kind is Refusal.NOT_TRADABLE


def test_a_refused_order_leaves_its_id_free(desk: Desk) -> None:
    order = desk.order(BUY, "10")
    assert isinstance(desk.broker.submit(order), Refused)
    assert isinstance(desk.broker.submit(replace(order, units=Decimal("0.1"))), OrderReport)


def test_cancelling_what_has_ended_changes_nothing(desk: Desk) -> None:
    done = desk.filled(BUY, "0.25")
    for _ in range(2):
        desk.broker.cancel(done)
    assert desk.now(done) == done


def test_orders_of_symbols_are_kept_apart(desk: Desk) -> None:
    desk.filled(BUY, "0.25")
    desk.filled(BUY, "2", symbol="ETH/USD")
    resting = desk.submit(BUY, "3", symbol="LTC/USD", limit="70")
    assert [order.client_id for order in desk.broker.open_orders()] == [resting.client_id]
    units = desk.broker.holdings().units
    assert sorted(units) == ["BTC/USD", "ETH/USD"]
    assert Decimal("1.9") < units["ETH/USD"] <= 2


def test_calls_are_counted_and_handed_over_once(desk: Desk) -> None:
    desk.filled(BUY, "0.25")
    calls = desk.broker.drain()
    assert dict(calls.schema) == SCHEMA
    assert set(calls["outcome"]) <= {"ok"}
    assert desk.broker.drain().is_empty()


# At a venue


def test_fills_are_cumulative(at: Desk) -> None:
    at.venue.plan_fills("0.2", "0", "0.3", "0.5")
    order = at.order(BUY, "1", "ETH/USD")
    at.broker.submit(order)
    reports = [at.now(order) for _ in range(4)]
    filled = [report.filled_units for report in reports]
    assert filled == sorted(filled)
    assert set(filled) <= {Decimal(share) for share in ("0.2", "0.5", "1")}
    assert [report.state.is_final for report in reports] == [units == 1 for units in filled]
    assert reports[-1].state is VenueState.FILLED


def test_the_mean_price_is_that_of_all_fills(at: Desk) -> None:
    resting = at.submit(BUY, "1", symbol="ETH/USD", limit="2900")
    at.venue.fill(at.venue.orders[resting.venue_id], Decimal("0.25"), Decimal(2900))
    at.venue.fill(at.venue.orders[resting.venue_id], Decimal("0.75"), Decimal(2800))
    report = at.now(resting)
    assert (report.state, report.average_usd) == (VenueState.FILLED, 2825)


def test_what_cannot_be_filled_at_once_of_a_market_order_ends_cancelled_with_what_was(at: Desk) -> None:
    at.venue.plan_fills("0.4")
    order = at.order(BUY, "1", "ETH/USD")
    at.broker.submit(order)
    at.now(order)
    report = at.now(order)
    assert (report.state, report.filled_units) == (VenueState.CANCELED, Decimal("0.4"))


def test_fills_that_come_after_the_end_are_reported(at: Desk) -> None:
    resting = at.submit(BUY, "1", symbol="ETH/USD", limit="2900")
    at.broker.cancel(resting)
    assert at.now(resting).filled_units == 0
    at.venue.fill(at.venue.orders[resting.venue_id], Decimal("0.3"), Decimal(2900))
    report = at.now(resting)
    assert (report.state, report.filled_units, report.average_usd) == (VenueState.CANCELED, Decimal("0.3"), 2900)


def test_an_order_may_be_filled_while_it_is_being_cancelled(at: Desk) -> None:
    at.venue.slow_cancels = 3
    resting = at.submit(BUY, "1", symbol="ETH/USD", limit="2900")
    at.broker.cancel(resting)
    at.venue.move("ETH/USD", "2890", "2900")
    report = at.now(resting)
    assert (report.state, report.filled_units) == (VenueState.FILLED, Decimal(1))


def test_a_slow_cancel_is_not_yet_the_end(at: Desk) -> None:
    at.venue.slow_cancels = 2
    resting = at.submit(BUY, "1", symbol="ETH/USD", limit="2900")
    at.broker.cancel(resting)
    assert [at.now(resting).state.is_final for _ in range(2)] == [False, True]


def test_an_ignored_cancel_leaves_the_order_open(at: Desk) -> None:
    at.venue.ignored_cancels = 1
    resting = at.submit(BUY, "1", symbol="ETH/USD", limit="2900")
    at.broker.cancel(resting)
    assert at.now(resting).state is VenueState.OPEN
    at.broker.cancel(resting)
    assert at.now(resting).state is VenueState.CANCELED


def test_reads_may_lag_behind(at: Desk) -> None:
    at.broker.account_id()
    at.venue.lag = 2
    order = at.order(BUY, "0.25")
    taken = at.broker.submit(order)
    assert isinstance(taken, OrderReport)
    sent_at = datetime.now(UTC)
    seen = [at.broker.report(order.client_id, sent_at) for _ in range(8)]
    assert seen[0] is None
    assert seen[-1] is not None
    assert seen[-1].state is VenueState.FILLED


def test_an_order_can_vanish(at: Desk) -> None:
    resting = at.submit(BUY, "1", symbol="ETH/USD", limit="2900")
    at.venue.forget(resting.venue_id)
    assert at.broker.report(resting.client_id, datetime.now(UTC)) is None
    assert at.broker.report(resting.client_id, datetime.now(UTC), resting.venue_id) is None


def test_an_order_is_found_by_the_venues_own_id(at: Desk) -> None:
    done = at.filled(BUY, "0.25")
    assert at.broker.report(done.client_id, datetime.now(UTC), done.venue_id) == done


def test_orders_that_are_not_ours_are_open_too(at: Desk) -> None:
    at.venue.submit("from somebody's telephone", "ETH/USD", BUY, Decimal(1), Decimal(2900))
    (found,) = at.broker.open_orders()
    assert (found.client_id, found.symbol, found.units) == ("from somebody's telephone", "ETH/USD", 1)


UNANSWERED: dict[str, Fault] = {
    "gateway time-out": html(504),
    "bad gateway": html(502),
    "unavailable": html(503),
    "server error": status(500),
    "reset": reset,
    "request time-out": status(408),
    "a page with status 200": body("<html>hello</html>"),
    "nothing with status 200": body(""),
    "an empty object": body("{}"),
    "a list": body("[]"),
    "a refusal by something in between": html(403),
    "a redirection": status(302, "{}", Location="/elsewhere"),
}


@pytest.mark.parametrize("fault", UNANSWERED.values(), ids=UNANSWERED.keys())
def test_an_order_that_was_taken_without_an_answer_is_unknown_until_it_is_asked_for(at: Desk, fault: Fault) -> None:
    at.exchange.on("POST orders", after_acceptance(fault))
    order = at.order(BUY, "0.25")
    with pytest.raises(OrderUnknown, match=at.broker.name):
        at.broker.submit(order)
    assert at.now(order).filled_units == order.units
    assert at.n_posts() == 1


@pytest.mark.parametrize("fault", UNANSWERED.values(), ids=UNANSWERED.keys())
def test_an_order_that_was_not_taken_without_an_answer_is_unknown_too_and_can_be_sent_again(
    at: Desk, fault: Fault
) -> None:
    at.exchange.on("POST orders", fault)
    order = at.order(BUY, "0.25")
    sent_at = datetime.now(UTC)
    with pytest.raises(OrderUnknown):
        at.broker.submit(order)
    assert at.n_posts() == 1
    assert at.broker.report(order.client_id, sent_at) is None
    assert isinstance(at.broker.submit(order), OrderReport)
    assert at.now(order).filled_units == order.units


@pytest.mark.parametrize("is_taken", [True, False])
def test_silence_is_not_waited_for_longer_than_the_time_out(make_at: MakeDesk, is_taken: bool) -> None:
    at = make_at(read_timeout_s=0.5)
    at.broker.holdings()
    at.exchange.on("POST orders", after_acceptance(late(1.0)) if is_taken else late(1.0))
    order = at.order(BUY, "0.25")
    with pytest.raises(OrderUnknown):
        at.broker.submit(order)
    assert at.n_posts() == 1
    assert (at.broker.report(order.client_id, datetime.now(UTC)) is not None) is is_taken


def test_an_order_that_was_taken_without_an_answer_is_not_made_twice_when_it_is_sent_again(at: Desk) -> None:
    at.exchange.on("POST orders", after_acceptance(html(504)))
    order = at.order(BUY, "0.25")
    with pytest.raises(OrderUnknown):
        at.broker.submit(order)
    assert isinstance(at.broker.submit(order), OrderReport)
    assert len(at.venue.orders) == 1


@pytest.mark.parametrize("headers", [{}, {"Retry_After": "30"}], ids=["", "with Retry-After"])
def test_too_many_requests_are_a_refusal_that_passes(at: Desk, headers: dict[str, str]) -> None:
    at.exchange.on("POST orders", status(429, **headers))
    refused = at.broker.submit(at.order(BUY, "0.25"))
    assert isinstance(refused, Refused)
    assert (refused.kind, refused.kind.may_pass) == (Refusal.RATE, True)
    assert at.n_posts() == 1


def test_a_venue_that_wants_to_be_left_alone_is(at: Desk) -> None:
    at.exchange.on("POST orders", status(429, Retry_After="30"))
    order = at.order(BUY, "0.25")
    at.broker.submit(order)
    again = at.broker.submit(order)
    assert isinstance(again, Refused)
    assert again.kind is Refusal.RATE
    n_asked = len(at.exchange.sent)
    with pytest.raises(BrokerError, match="left alone for another 30 s"):
        at.broker.holdings()
    assert len(at.exchange.sent) == n_asked
    at.stopwatch.at_s += 30
    assert isinstance(at.broker.submit(order), OrderReport)


def test_nobody_at_the_address_has_taken_nothing(at: Desk, make_at: MakeDesk) -> None:
    nobody = "127.0.0.1:1"
    dead = make_at(**{"base_url": nobody} if at.broker.name == "coinbase" else {"trading_url": f"http://{nobody}"})
    refused = dead.broker.submit(dead.order(BUY, "0.25"))
    assert isinstance(refused, Refused)
    assert refused.kind is Refusal.UNREACHED
    with pytest.raises(BrokerError, match="given up after 3 tries"):
        dead.broker.holdings()


def test_an_open_breaker_sends_nothing(make_at: MakeDesk) -> None:
    at = make_at(breaker_failures=3, breaker_rest_s=60)
    at.exchange.on("GET", html(503), times=3)
    with pytest.raises(BrokerError):
        at.broker.holdings()
    refused = at.broker.submit(at.order(BUY, "0.25"))
    assert isinstance(refused, Refused)
    assert refused.kind is Refusal.UNREACHED
    assert at.n_posts() == 0
    at.stopwatch.at_s += 61
    assert isinstance(at.broker.submit(at.order(BUY, "0.25")), OrderReport)


def test_wrong_keys_are_a_refusal_of_orders_and_an_error_of_questions(at: Desk) -> None:
    at.exchange.on("POST orders", status(401, "Unauthorized"))
    refused = at.broker.submit(at.order(BUY, "0.25"))
    assert isinstance(refused, Refused)
    assert refused.kind is Refusal.CREDENTIALS
    at.exchange.on("GET", status(401, "Unauthorized"), times=None)
    with pytest.raises(BrokerError, match="401"):
        at.broker.holdings()


BROKEN: dict[str, Fault] = {
    "server error": html(502),
    "reset": reset,
    "a page": body("<html>maintenance</html>"),
    "nothing": body(""),
    "null": body("null"),
    "an object of something else": body('{"message": "hello"}'),
    "a list of something else": body('[{"message": "hello"}]'),
}


@pytest.mark.parametrize("fault", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_answer_is_an_error_and_never_flat(at: Desk, fault: Fault) -> None:
    at.filled(BUY, "0.25")
    at.exchange.on("GET", fault, times=None)
    for question in (at.broker.holdings, at.broker.open_orders, at.broker.fees, lambda: at.now(at.order(BUY, "1"))):
        with pytest.raises(BrokerError):
            question()


def test_a_question_is_repeated_a_little(at: Desk) -> None:
    at.exchange.on("GET", html(502), times=2)
    assert at.broker.holdings().cash_usd == CASH_USD
    assert sum(at.stopwatch.pauses) < 5


def test_questions_give_up_soon(at: Desk) -> None:
    at.exchange.on("GET", html(502), times=None)
    with pytest.raises(BrokerError):
        at.broker.holdings()
    assert len(at.exchange.sent) == 3
    assert sum(at.stopwatch.pauses) < 5


def test_a_long_pause_that_the_venue_asks_for_is_not_waited_for(at: Desk) -> None:
    at.exchange.on("GET", status(429, Retry_After="40"))
    with pytest.raises(BrokerError, match="40 s"):
        at.broker.holdings()
    assert sum(at.stopwatch.pauses) < 1


def test_a_clock_that_is_wrong_is_noticed(at: Desk) -> None:
    at.venue.ahead_s = -25.0
    at.broker.holdings()
    assert at.broker.clock_skew_s() == pytest.approx(25, abs=1.5)


def test_failures_are_counted(at: Desk) -> None:
    at.exchange.on("POST orders", html(504))
    with pytest.raises(OrderUnknown):
        at.broker.submit(at.order(BUY, "0.25"))
    assert "server_error" in at.broker.drain()["outcome"].to_list()


def test_keys_are_in_no_message(at: Desk) -> None:
    at.exchange.on("GET", status(401, "Unauthorized"), times=None)
    with pytest.raises(BrokerError) as raised:
        at.broker.holdings()
    for secret in (alpaca_trading.SECRET, coinbase_trading.SECRET, alpaca_trading.KEY, coinbase_trading.KEY):
        assert secret not in str(raised.value) + repr(at.broker) + str(vars(at.broker))


def test_an_order_is_searched_for_from_before_it_was_sent(at: Desk) -> None:
    done = at.filled(BUY, "0.25")
    found = at.broker.report(done.client_id, datetime.now(UTC) + timedelta(minutes=2))
    assert found == done
