"""What a dealer sends, and when it asks, with a broker that does what a test says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest

from cappuccino.brokers.broker import (
    Broker,
    Holdings,
    Instrument,
    OrderReport,
    OrderRequest,
    Refusal,
    Refused,
    Side,
    VenueState,
)
from cappuccino.errors import OrderUnknown
from cappuccino.market.quotes import Quote
from cappuccino.risk.rules import Rules
from cappuccino.settings import CostSettings, ExecutionSettings, RiskSettings
from cappuccino.trading import orders
from cappuccino.trading.dealing import MAX_RESTS, Dealer, Limits
from cappuccino.trading.desk_account import DeskAccount
from cappuccino.trading.ledger import Ledger
from cappuccino.trading.order_states import OrderState
from cappuccino.trading.orders import Order, Purpose
from tests.unit.trading.small_desk import VirtualClock
from tests.unit.trading.small_orders import BTC, NOW, account, holding, order

QUOTES = {BTC: Quote(BTC, 99.0, 101.0, NOW), "ETH/USD": Quote("ETH/USD", 9.0, 11.0, NOW)}


@dataclass
class Told:
    """A broker that fills everything at 100, unless it is told to do something else."""

    answers: list[Any] = field(default_factory=list)
    """Of the next submissions: a refusal, an error, units that are filled before the rest is cancelled, or None."""
    sent: list[OrderRequest] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    known: dict[str, OrderReport] = field(default_factory=dict)
    halted: str = ""
    takes_market: bool = True
    name: str = "told"

    def instruments(self, symbols: tuple[str, ...]) -> dict[str, Instrument]:
        step, market = Decimal("0.1"), self.takes_market
        return {name: Instrument(name, units_step=step, halted=self.halted, takes_market=market) for name in symbols}

    def holdings(self) -> Holdings:
        return Holdings(Decimal(1000), Decimal(1000), {BTC: Decimal(5)}, {BTC: Decimal(5)})

    def submit(self, request: OrderRequest) -> OrderReport | Refused:
        self.sent.append(request)
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Refused):
            return answer
        found = OrderReport(
            request.client_id,
            "v1",
            request.symbol,
            request.side,
            VenueState.FILLED if answer is None else VenueState.CANCELED,
            request.units,
            request.units if answer is None else answer,
            Decimal(100),
        )
        self.known[request.client_id] = found
        return found

    def report(self, client_id: str, sent_at: Any, venue_id: str = "") -> OrderReport | None:
        self.asked.append(client_id)
        return self.known.get(client_id)


@dataclass
class Bench:
    ledger: Ledger
    broker: Told
    dealer: Dealer
    clock: VirtualClock
    is_killed: bool = False
    quotes: dict[str, Quote] = field(default_factory=lambda: QUOTES)

    def work(self, of: DeskAccount, *recorded: Order) -> DeskAccount:
        with self.ledger.write() as entry:
            for one in recorded:
                orders.record(entry, one)
        return self.dealer.work(of, self.quotes)

    def orders(self) -> list[Order]:
        rows = self.ledger.rows("select client_id from orders order by rowid")
        return [found for row in rows if (found := orders.order_named(self.ledger, row["client_id"]))]

    def states(self) -> list[str]:
        return [one.state.value for one in self.orders()]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    ledger, broker, clock = Ledger(tmp_path), Told(), VirtualClock(NOW)
    rules = Rules.of(RiskSettings(), CostSettings())
    dealer = Dealer(
        ledger,
        cast(Broker, broker),
        rules,
        ExecutionSettings(),
        Limits(late_s=120.0, settle_s=4.0),
        clock=clock,
        is_killed=lambda: found.is_killed,
        sleep=clock.sleep,
    )
    dealer.read_instruments((BTC, "ETH/USD"))
    found = Bench(ledger, broker, dealer, clock)
    yield found
    ledger.close()


def test_nothing_is_sent_before_the_broker_has_said_what_it_accepts(bench: Bench) -> None:
    bench.dealer.instruments = {}
    bench.work(account(), order())
    assert (bench.states(), bench.broker.sent) == (["recorded"], [])
    bench.dealer.read_instruments((BTC,))
    bench.work(account())
    assert bench.states() == ["filled"]


def test_orders_are_sent_on_the_steps_of_the_venue(bench: Bench) -> None:
    bench.work(account(), order(units="1.27"))
    assert bench.broker.sent[0].units == Decimal("1.2")


def test_a_sale_is_never_more_than_the_book_has(bench: Bench) -> None:
    after = bench.work(holding(1.5), order(Side.SELL, "2"))
    assert (bench.broker.sent[0].units, after.units_of(BTC)) == (Decimal("1.5"), 0)


@pytest.mark.parametrize("reason", ["embargo", "trouble"])
def test_an_embargo_stops_purchases_and_no_sale(bench: Bench, reason: str) -> None:
    before = holding(1.0)
    if reason == "embargo":
        bench.dealer.embargo = "not permitted yet"
    else:
        before = replace(before, trouble="book and venue differ")
    bench.work(before, order(), order(Side.SELL, "1"))
    assert [(one.side, one.state.value) for one in bench.orders()] == [(Side.BUY, "denied"), (Side.SELL, "filled")]


def test_the_kill_switch_stops_wishes_and_no_protection(bench: Bench) -> None:
    bench.is_killed = True
    protection = order(Side.SELL, "1", client_id="stop", purpose=Purpose.PROTECTION)
    bench.work(holding(1.0), order(), protection)
    assert bench.states() == ["denied", "filled"]


def test_an_order_without_an_answer_is_never_sent_again(bench: Bench) -> None:
    bench.broker.answers = [OrderUnknown("silence")]
    bench.work(account(), order())
    for _ in range(20):
        bench.clock.sleep(10)
        bench.work(account())
    assert (bench.states(), len(bench.broker.sent)) == (["absent"], 1)


def test_a_refusal_that_says_that_the_venue_is_busy_is_tried_again_until_it_is_too_late(bench: Bench) -> None:
    bench.broker.answers = [Refused("busy", Refusal.RATE)] * 100
    for k in range(8):
        bench.work(account(), *([order()] if k == 0 else []))
        bench.clock.sleep(30)
    assert bench.states() == ["denied"]
    assert len(bench.broker.sent) == 5
    assert bench.dealer.failure == "busy"
    bench.clock.sleep(300)
    bench.work(account())
    assert not bench.dealer.failure


def test_a_halt_is_read_again_until_it_is_over(bench: Bench) -> None:
    bench.broker.halted = "maintenance"
    bench.dealer.read_instruments((BTC,))
    assert bench.dealer.are_stale
    bench.work(account(), order())
    assert bench.states() == ["denied"]
    bench.broker.halted = ""
    bench.dealer.read_instruments((BTC,))
    assert not bench.dealer.are_stale


def test_an_order_that_ended_unfilled_is_asked_for_more_and_more_rarely_and_then_no_more(bench: Bench) -> None:
    before = bench.work(account(), order())
    (known,) = bench.broker.known.values()
    half = replace(known, state=VenueState.CANCELED, filled_units=Decimal(1))
    with bench.ledger.write() as entry:
        entry.update("orders", {"client_id": known.client_id}, state="canceled", filled_units="1", filled_usd="100")
    bench.broker.known[known.client_id] = half
    bench.broker.asked.clear()
    for _ in range(3600 // 10):
        bench.clock.sleep(10)
        before = bench.work(before)
    assert 25 <= len(bench.broker.asked) <= 45
    assert bench.clock.now() - NOW >= timedelta(hours=1)
    n_asked = len(bench.broker.asked)
    bench.work(before)
    assert len(bench.broker.asked) == n_asked


def protection(units: str = "2") -> Order:
    return order(Side.SELL, units, purpose=Purpose.PROTECTION, is_protective=True)


def test_what_the_venue_leaves_of_a_sale_that_protects_is_sold_at_once(bench: Bench) -> None:
    bench.broker.answers = [Decimal("0.5"), Decimal("0.5")]
    bench.is_killed = True
    after = bench.work(holding(2.0), protection())
    assert [request.units for request in bench.broker.sent] == [2, Decimal("1.5"), 1]
    assert (bench.states(), after.units_of(BTC)) == (["canceled", "canceled", "filled"], 0)
    assert len({request.client_id for request in bench.broker.sent}) == 3


def test_the_rest_of_a_sale_that_protects_is_not_tried_for_ever(bench: Bench) -> None:
    bench.broker.answers = [Decimal("0.1")] * 100
    bench.work(holding(2.0), protection())
    assert len(bench.broker.sent) == 1 + MAX_RESTS
    assert not bench.dealer.has_open(holding(2.0))


def test_a_rest_that_is_too_small_is_left(bench: Bench) -> None:
    bench.broker.answers = [Decimal("1.95")]
    bench.work(holding(2.0), protection())
    assert len(bench.broker.sent) == 1


def test_the_rest_of_a_wish_waits_for_the_next_decision(bench: Bench) -> None:
    bench.broker.answers = [Decimal("0.5")]
    bench.work(holding(2.0), order(Side.SELL, "2"))
    assert len(bench.broker.sent) == 1


def test_a_following_order_is_made_at_the_present_quote(bench: Bench) -> None:
    """The market has doubled since the decision at 100: 200 in the middle, less slippage and half a spread."""
    bench.broker.answers = [Decimal("0.5")]
    bench.quotes = {BTC: Quote(BTC, 198.0, 202.0, NOW)}
    bench.work(holding(2.0), protection())
    first, following = bench.orders()
    assert float(following.expected_usd) == pytest.approx(200.0 * (1.0 - bench.dealer.rules.costs.slippage_frac))
    assert (following.bid_usd, following.ask_usd, following.decision_usd) == (198.0, 202.0, first.decision_usd)


def test_a_clock_that_is_set_back_makes_no_wait_longer(bench: Bench) -> None:
    pauses = []

    def set_back(seconds: float) -> None:
        pauses.append(seconds)
        bench.clock.at -= timedelta(hours=1)

    bench.dealer.sleep = set_back
    bench.broker.answers = [OrderUnknown("silence")]
    of = bench.work(account(), order())
    assert sum(pauses) == bench.dealer.limits.settle_s
    _, is_clear = bench.dealer.cancel(of, QUOTES, "a test")
    assert (is_clear, sum(pauses)) == (False, 2 * bench.dealer.limits.settle_s)


def test_where_nothing_is_taken_at_the_market_that_is_said_and_nothing_is_sent(bench: Bench) -> None:
    bench.broker.takes_market = False
    bench.dealer.read_instruments((BTC,))
    bench.work(account(), order())
    assert (bench.states(), bench.broker.sent) == (["denied"], [])
    assert bench.orders()[0].reason == f"told takes no orders at the market for {BTC} now"
    assert bench.dealer.failure.startswith(f"told takes no orders at the market for {BTC} now")
    assert bench.dealer.are_stale
    bench.broker.takes_market = True
    bench.dealer.read_instruments((BTC,))
    assert (bench.dealer.failure, bench.dealer.are_stale) == ("", False)


def test_a_sale_that_protects_and_did_not_get_through_is_ended_for_no_other(bench: Bench) -> None:
    bench.broker.answers = [Refused("left alone", Refusal.UNREACHED)]
    before = bench.work(holding(2.0), protection())
    before, is_clear = bench.dealer.cancel(before, QUOTES, "something else")
    assert (is_clear, bench.states()) == (False, ["recorded"])
    assert bench.work(before).units_of(BTC) == 0


def test_a_sale_that_did_not_get_through_goes_before_questions(bench: Bench) -> None:
    lost = order(client_id="lost", state=OrderState.UNKNOWN)
    bench.broker.answers = [Refused("left alone", Refusal.UNREACHED)]
    before = bench.work(holding(2.0), lost, protection())
    n_sent: list[int] = []

    class Watched(Told):
        def report(self, client_id: str, sent_at: Any, venue_id: str = "") -> OrderReport | None:
            n_sent.append(len(self.sent))
            return super().report(client_id, sent_at, venue_id)

    bench.dealer.broker = cast(Broker, Watched())
    bench.work(before)
    assert min(n_sent) == 1
