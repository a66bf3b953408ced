"""Sends the orders of one account, follows them, and books what comes of them.

A pass asks what became of the orders that are under way, sends those that are recorded, sales first, looks after the
resting ones, and stores all of it in one transaction. Nothing is sent that is not in the ledger; an order whose answer
was lost is asked for until the venue knows it or has had time enough to. A start after a crash is a pass like any
other.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from cappuccino.brokers.broker import (
    Broker,
    Holdings,
    Instrument,
    OrderReport,
    Refusal,
    Refused,
    Side,
    VenueState,
    exact,
)
from cappuccino.clock import Clock
from cappuccino.errors import BrokerError
from cappuccino.market.quotes import Quote, mids_usd
from cappuccino.risk.rules import Rules
from cappuccino.settings import ExecutionSettings
from cappuccino.trading import booking, orders
from cappuccino.trading.desk_account import CASH, DeskAccount, store_account
from cappuccino.trading.ledger import Ledger, to_us
from cappuccino.trading.order_states import OrderEvent, OrderState
from cappuccino.trading.orders import Order, Purpose
from cappuccino.trading.resting import fill_probability
from cappuccino.trading.shown_state import position_rows

MIN_READS = 3
"""Times that a venue has to deny an order before it counts as not taken: reads lag behind."""
VANISHED_S = 300.0
"""An order that was taken, and that the venue has not known for so long, is gone."""
LATE_FILLS = timedelta(minutes=30)
"""For so long after its end an order that was not filled whole is still asked for."""
LATE_EVERY = timedelta(seconds=50)
"""How often, once its end is older than that."""
SUBMIT_FAILED = timedelta(minutes=5)
"""A failed submission counts as a failure of the venue for so long, or until one goes well."""
MAX_RESTS = 5
"""Next orders at once for what the venue left unfilled of a sale that protects."""
MAX_SMALLER, SMALLER = 3, 0.98
"""Tries to buy less where the venue finds too little money, and by which factor."""
REQUOTE, TIME_OUT = "quoted anew", "time is up for resting"
_ROUNDING, _NOTHING = 1e-9, Decimal(0)

Quotes = Mapping[str, Quote]


@dataclass(frozen=True)
class Limits:
    """When an order is not sent any more."""

    late_s: float
    """Age of a recorded order after which it is left out: the market that it was made for has gone."""
    settle_s: float
    """Longest wait in a pass for orders at the market."""


class Dealer:
    """Trades one account at one broker."""

    def __init__(
        self,
        ledger: Ledger,
        broker: Broker,
        rules: Rules,
        settings: ExecutionSettings,
        limits: Limits,
        *,
        clock: Clock,
        is_killed: Callable[[], bool],
        sleep: Callable[[float], None] = time.sleep,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        """`is_killed` is asked before every send, `beat` is called while it waits."""
        self.ledger, self.broker, self.rules, self.settings, self.limits = ledger, broker, rules, settings, limits
        self.clock, self.is_killed, self.sleep, self.beat = clock, is_killed, sleep, beat
        self.instruments: Mapping[str, Instrument] = {}
        self.are_stale = True
        """Whether the instruments have to be read (again)."""
        self.embargo = ""
        """Why nothing is bought, whatever the account says; empty when it may be."""
        self._failures: dict[str, tuple[str, datetime]] = {}
        self.refusals: dict[str, str] = {}
        """Why the venue has refused the newest sale that protects, by symbol."""
        self._denied_reads: Counter[str] = Counter()
        self._asked_late: dict[str, datetime] = {}
        self._paused_s = 0.0

    @property
    def failure(self) -> str:
        """What the broker does wrong; empty when nothing."""
        return next((reason for reason, _ in self._failures.values()), "")

    def failed(self, about: str, reason: str) -> None:
        """Note that the broker did not do what it was asked for."""
        self._failures[about] = reason, self.clock.now()

    def answered(self, about: str) -> None:
        """Note that the broker does again what it was asked for."""
        self._failures.pop(about, None)

    def begin(self) -> None:
        """Forget failures that the pass now beginning will find again, if they last."""
        self.answered("orders")
        if "submit" in self._failures and self.clock.now() - self._failures["submit"][1] > SUBMIT_FAILED:
            self.answered("submit")

    def read_instruments(self, symbols: tuple[str, ...]) -> None:
        """Ask the broker what it accepts, and again soon where that is nothing for now; raises BrokerError."""
        self.instruments = self.broker.instruments(symbols)
        self.are_stale = any(barred(self.instruments.get(symbol), symbol, self.broker.name) for symbol in symbols)
        slow = ", ".join(symbol for symbol, found in self.instruments.items() if not found.takes_market)
        if slow:
            words = (
                f"{self.broker.name} takes no orders at the market for {slow} now: nothing that protects can be sold"
            )
            self.failed("market orders", words)
        else:
            self.answered("market orders")

    def work(self, account: DeskAccount, quotes: Quotes) -> DeskAccount:
        """Return the account after one pass; see the module. Never raises BrokerError: see `failure`."""
        while True:
            one = _Pass(self, account, quotes)
            one.try_again()
            one.ask()
            one.send()
            one.look_after()
            account = one.commit()
            if not one.is_urgent:
                return account

    def cancel(self, account: DeskAccount, quotes: Quotes, why: str) -> tuple[DeskAccount, bool]:
        """Ask for the end of all orders and wait a little; return the account and whether they have all ended.

        Recorded ones are not sent any more, but for sales that protect.
        """
        is_over = self.patience()
        while True:
            one = _Pass(self, account, quotes)
            one.ask()
            one.end_all(why)
            account = one.commit()
            left = orders.open_orders(self.ledger, account.key)
            if not left or is_over():
                return account, not left
            self.pause()

    def has_open(self, account: DeskAccount) -> bool:
        """Return whether orders are under way."""
        return bool(orders.open_orders(self.ledger, account.key))

    def is_unsure(self, account: DeskAccount) -> bool:
        """Return whether nobody knows what became of some order."""
        return any(order.state.is_unsure for order in orders.open_orders(self.ledger, account.key))

    def pause(self) -> None:
        self.beat()
        self.sleep(self.settings.step_s)
        self._paused_s += self.settings.step_s

    def patience(self) -> Callable[[], bool]:
        """Return what tells whether the time to settle is over, by the clock or by the pauses: clocks are set back."""
        until, most_s = (
            self.clock.now() + timedelta(seconds=self.limits.settle_s),
            self._paused_s + self.limits.settle_s,
        )
        return lambda: self.clock.now() >= until or self._paused_s >= most_s

    def denied(self, client_id: str) -> int:
        """Count one more time that the venue did not know an order; return how often."""
        self._denied_reads[client_id] += 1
        return self._denied_reads[client_id]

    def forget(self, client_id: str) -> None:
        self._denied_reads.pop(client_id, None)

    def asked_late(self, ended: Iterable[Order]) -> list[Order]:
        """Return which of the orders that have ended are asked for once more; the older the end, the more rarely."""
        now = self.clock.now()
        before = self._asked_late
        self._asked_late = {order.client_id: before.get(order.client_id, now) for order in ended}
        due = [order for order in ended if _is_due(order, before.get(order.client_id), now)]
        self._asked_late |= {order.client_id: now for order in due}
        return due


class _Pass:
    """One pass over an account's orders."""

    def __init__(self, dealer: Dealer, account: DeskAccount, quotes: Quotes) -> None:
        self.dealer, self.account, self.quotes = dealer, account, quotes
        self.stored: dict[str, Order] = {}
        """As the ledger has them."""
        self.latest: dict[str, Order] = {}
        """As we know them now."""
        self.notes: dict[str, str] = {}
        self.tried: set[str] = set()
        """Orders that were sent, or not taken for now, in this pass: each is tried once."""
        self.following: list[Order] = []
        """New orders for what others left unfilled."""
        dealer.begin()
        for order in orders.open_orders(dealer.ledger, account.key):
            self.stored[order.client_id] = self.latest[order.client_id] = order

    @property
    def now(self) -> datetime:
        return self.dealer.clock.now()

    @property
    def is_urgent(self) -> bool:
        """Whether a sale that protects goes on with another order."""
        return any(order.purpose is not Purpose.WISH for order in self.following)

    # Asking

    def ask(self) -> None:
        """Ask what became of everything that was sent."""
        if not self.account.is_virtual:
            ended = orders.ended_since(self.dealer.ledger, self.account.key, self.now - LATE_FILLS)
            for order in self.dealer.asked_late([order for order in ended if _may_be_filled(order)]):
                self.stored[order.client_id] = self.latest[order.client_id] = order
        self._ask(order for order in list(self.latest.values()) if order.state is not OrderState.RECORDED)

    def _ask(self, asked: Iterable[Order]) -> None:
        for order in asked:
            self.dealer.beat()
            try:
                report = self.dealer.broker.report(order.client_id, order.sent_at or order.recorded_at, order.venue_id)
            except BrokerError as error:
                self.dealer.failed("orders", str(error))
                if order.state is OrderState.SENDING:
                    self._tell(order, OrderEvent.LOST, f"nobody said what became of it: {error}")
                continue
            if report is None:
                self._unheard_of(order)
            else:
                self.dealer.forget(order.client_id)
                self._report(order, report)

    def _unheard_of(self, order: Order) -> None:
        """The venue does not know the order: too early to tell, or it never had it."""
        if order.state.is_final:
            return
        n_reads = self.dealer.denied(order.client_id)
        if self.account.is_virtual:  # it knows everything that it has taken
            self._tell(order, OrderEvent.ABSENT, "the process ended before it was taken")
            return
        if order.state is OrderState.SENDING:
            order = self._tell(order, OrderEvent.LOST, "the venue does not know it yet")
        age_s = (self.now - (order.sent_at or order.recorded_at)).total_seconds()
        patience_s = self.dealer.settings.unknown_after_s if order.state is OrderState.UNKNOWN else VANISHED_S
        if n_reads >= MIN_READS and age_s >= patience_s:
            words = f"the venue has not known it for {age_s:.0f} s, in {n_reads} reads"
            self._tell(order, OrderEvent.ABSENT, words)

    # Sending

    def try_again(self) -> None:
        """Send sales that protect and did not get through, before questions that fail make the venue rest again."""
        for order in list(self.latest.values()):
            is_recorded = order.state is OrderState.RECORDED and bool(order.reason)
            if is_recorded and order.purpose is not Purpose.WISH and self.dealer.instruments:
                self._send(order)

    def send(self) -> None:
        """Send what is recorded: sales, and when they have been filled, purchases.

        Nothing while the broker has not said what it accepts.
        """
        if not self.dealer.instruments:
            return
        recorded = [
            order
            for order in self.latest.values()
            if order.state is OrderState.RECORDED and order.client_id not in self.tried
        ]
        sales = [order for order in recorded if order.side is Side.SELL]
        for order in sales:
            self._send(order)
        self._settle(sales)
        waiting = [o for o in self.latest.values() if o.side is Side.SELL and not o.state.is_final]
        purchases = [order for order in recorded if order.side is Side.BUY]
        if waiting and not self._is_late(*purchases):
            return
        bought = [self._send(order) for order in self._within_funds(purchases)]
        self._settle(bought)

    def _is_late(self, *recorded: Order) -> bool:
        ages = ((self.now - order.recorded_at).total_seconds() for order in recorded)
        return any(age_s > self.dealer.limits.late_s / 2 for age_s in ages)

    def _send(self, order: Order) -> Order:
        """Send one order once; return it as it is then."""
        self.tried.add(order.client_id)
        dealer, order = self.dealer, self._fitted(order)
        denial = self._denial(order)
        if denial:
            return self._tell(order, OrderEvent.DENY, denial)
        order = replace(order.told(OrderEvent.SEND, self.now), sent_at=self.now)
        with dealer.ledger.write() as entry:
            orders.store(entry, order, "about to be sent")
        self.stored[order.client_id] = self.latest[order.client_id] = order
        if dealer.is_killed() and order.purpose is Purpose.WISH:
            return self._tell(self._tell(order, OrderEvent.UNSENT, ""), OrderEvent.DENY, "the kill switch is on")
        dealer.beat()
        try:
            answer = dealer.broker.submit(order.request())
        except BrokerError as error:  # nothing says that it was not taken
            dealer.failed("submit", str(error))
            return self._tell(order, OrderEvent.LOST, str(error))
        dealer.answered("submit")
        return self._refused(order, answer) if isinstance(answer, Refused) else self._report(order, answer)

    def _fitted(self, order: Order) -> Order:
        """Return the order on the venue's steps; a sale is never more than ours, whatever else is there."""
        instrument = self.dealer.instruments.get(order.symbol)
        units = order.units
        if order.side is Side.SELL:
            held = self._units_of(order.symbol)
            units = units if float(units) <= held * (1.0 + _ROUNDING) else exact(max(held, 0.0))
        return replace(order, units=instrument.rounded_units(units) if instrument else units)

    def _denial(self, order: Order) -> str:
        """Return why we do not send the order; empty when we do."""
        if self.dealer.is_killed() and order.purpose is Purpose.WISH:
            return "the kill switch is on"
        age_s = (self.now - order.recorded_at).total_seconds()
        if age_s > self.dealer.limits.late_s:
            return f"recorded {age_s:.0f} s ago, which is too late to send it"
        trouble = self.account.trouble or self.dealer.embargo
        if trouble and order.side is Side.BUY:
            return f"nothing is bought: {trouble}"
        instrument = self.dealer.instruments.get(order.symbol)
        why = barred(instrument, order.symbol, self.dealer.broker.name, rests=order.limit_usd is not None)
        if why or instrument is None:
            return why
        return instrument.too_small(order.side, order.units, order.expected_usd)

    def _refused(self, order: Order, refused: Refused) -> Order:
        dealer = self.dealer
        if refused.kind in (Refusal.RATE, Refusal.UNREACHED):
            dealer.failed("submit", refused.reason)
            return self._tell(order, OrderEvent.UNSENT, refused.reason)
        told = self._tell(order, OrderEvent.REFUSE, f"{refused.kind}: {refused.reason}")
        if order.purpose is not Purpose.WISH:
            dealer.refusals[order.symbol] = refused.reason
        elif refused.kind in (Refusal.CREDENTIALS, Refusal.NOT_TRADABLE, Refusal.FUNDS, Refusal.OTHER):
            dealer.failed("submit", refused.reason)
        if refused.kind in (Refusal.PRECISION, Refusal.TOO_SMALL, Refusal.NOT_TRADABLE):
            dealer.are_stale = True
        if refused.kind is Refusal.WOULD_CROSS:
            self._follow(told)
        if refused.kind is Refusal.FUNDS:
            self._trade_what_is_free(told)
        return told

    def _trade_what_is_free(self, order: Order) -> None:
        """The venue has less of ours than the book says, or wants more money than an order costs: trade less."""
        try:
            held = self.dealer.broker.holdings()
        except BrokerError as error:
            self.dealer.failed("orders", str(error))
            return
        most = self._most_sold(order, held) if order.side is Side.SELL else self._most_bought(order, held)
        units = self.dealer.instruments[order.symbol].rounded_units(most)
        if 0 < units < order.units:
            self._add(order, units, None)

    def _most_sold(self, order: Order, held: Holdings) -> Decimal:
        ours = held.free_units.get(order.symbol, _NOTHING) - self.account.foreign.get(order.symbol, _NOTHING)
        return min(ours, order.units)

    def _most_bought(self, order: Order, held: Holdings) -> Decimal:
        """Return somewhat less than before: a venue may hold back more for an order than it costs."""
        quote = self.quotes.get(order.symbol)
        if quote is None or order.attempt >= MAX_SMALLER:
            return _NOTHING
        free = float(held.free_cash_usd - self.account.foreign.get(CASH, _NOTHING))
        fee = 1.0 + self.dealer.rules.costs.fee_frac
        affordable = max(min(free, self._cash_usd()), 0.0) / (quote.ask_usd * fee)
        return exact(min(affordable, float(order.units)) * SMALLER)

    def _add(self, order: Order, units: Decimal, limit_usd: Decimal | None) -> None:
        """Make the next order for what `order` left; once, though its end may be told several times."""
        following = self._at_present(order.again(units, limit_usd, order.expected_usd, self.now))
        if orders.order_named(self.dealer.ledger, following.client_id) is None:
            self.following.append(following)

    def _at_present(self, order: Order) -> Order:
        """Return the order as the cost model expects it to be filled at the present quote; impact is left out."""
        quote = self.quotes.get(order.symbol)
        if quote is None:
            return order
        expected = exact(quote.mid_usd * (1.0 + order.side * self.dealer.rules.costs.slippage_frac))
        return replace(order, expected_usd=expected, bid_usd=quote.bid_usd, ask_usd=quote.ask_usd)

    def _within_funds(self, purchases: list[Order]) -> list[Order]:
        """Return purchases of what the cash allows now that sales have been filled; resting ones at their limit."""
        if not purchases:
            return []
        fee = 1.0 + self.dealer.rules.costs.fee_frac
        cost = sum(float(order.units * order.expected_usd) for order in purchases) * fee
        funds = self._cash_usd()
        scale = 1.0 if cost <= funds * (1.0 + _ROUNDING) + _ROUNDING else max(funds, 0.0) / cost
        sized = []
        for order in purchases:
            if scale < 1.0:
                order = self._resized(order, scale)
            sized.append(self._rested(order))
        return sized

    def _resized(self, order: Order, scale: float) -> Order:
        instrument = self.dealer.instruments.get(order.symbol)
        units = exact(float(order.units) * scale)
        return replace(order, units=instrument.rounded_units(units) if instrument else units)

    def _cash_usd(self) -> float:
        """Return the book's cash with what this pass has heard of."""
        cash = float(self.account.state.cash_usd[0])
        for change in self._changes():
            if change.units > 0:
                cash -= change.after.side * change.units * change.price_usd + float(
                    change.after.fee_usd - change.before.fee_usd
                )
        return cash

    def _units_of(self, symbol: str) -> float:
        """Return the book's units with what this pass has heard of."""
        news = sum(change.credited for change in self._changes() if change.after.symbol == symbol)
        return self.account.units_of(symbol) + news

    def _settle(self, sent: list[Order]) -> None:
        """Wait a little for orders at the market: the venue takes them first and fills them then."""
        is_over = self.dealer.patience()
        while True:
            waited = [self.latest[order.client_id] for order in sent]
            waited = [o for o in waited if o.limit_usd is None and o.state in (OrderState.WORKING, OrderState.UNKNOWN)]
            if not waited or is_over():
                return
            self.dealer.pause()
            self._ask(waited)

    # Resting

    def _rested(self, order: Order) -> Order:
        """Return the order as it is sent first: as a post-only limit where that is the style, and has a chance."""
        if self.dealer.settings.style != "maker" or order.purpose is not Purpose.WISH or order.limit_usd is not None:
            return order
        if order.attempt > 0 or order.is_protective:
            return order
        limit = self._best(order)
        return order if limit is None else replace(order, limit_usd=limit)

    def _best(self, order: Order) -> Decimal | None:
        """Return the best price of the order's own side; None where resting there has too little of a chance."""
        quote, instrument = self.quotes.get(order.symbol), self.dealer.instruments.get(order.symbol)
        if quote is None or instrument is None or not instrument.takes_post_only:
            return None
        chance = fill_probability(quote, order.side, self.dealer.settings.maker_timeout_s)
        if chance < self.dealer.settings.min_fill_probability:
            return None
        return instrument.rounded_price(exact(quote.bid_usd if order.side is Side.BUY else quote.ask_usd))

    def look_after(self) -> None:
        """Ask for the end of orders that have rested too long, or not at the best price; follow up what has ended."""
        for order in list(self.latest.values()):
            if order.limit_usd is None:
                if self._is_cut_short(order):
                    self._sell_rest(order)
                continue
            if order.state is OrderState.WORKING:
                reason = self._reason_to_end(order)
                if reason:
                    self._cancel(order, reason)
                continue
            if order.state is OrderState.CANCELING and self._is_not_heard(order):
                self._cancel(order, order.reason)
                continue
            has_ended = order.state is OrderState.CANCELED and not self.stored[order.client_id].state.is_final
            if has_ended and order.reason in (REQUOTE, TIME_OUT):
                self._follow(order)

    def _is_cut_short(self, order: Order) -> bool:
        """Return whether the venue has just ended a sale that protects; what we ended is replaced by somebody else."""
        has_ended = order.state in (OrderState.CANCELED, OrderState.EXPIRED) and order.asked_at is None
        is_news = not self.stored[order.client_id].state.is_final
        return has_ended and is_news and order.purpose is not Purpose.WISH and order.attempt < MAX_RESTS

    def _reason_to_end(self, order: Order) -> str:
        if self._rested_s(order) >= self.dealer.settings.maker_timeout_s:
            return TIME_OUT
        age_s = (self.now - (order.sent_at or order.recorded_at)).total_seconds()
        if age_s < self.dealer.settings.requote_s:
            return ""
        best = self._best(order)
        return REQUOTE if best is not None and best != order.limit_usd else ""

    def _is_not_heard(self, order: Order) -> bool:
        """Return whether the venue seems to have passed over that we asked for the order's end."""
        since = self.now - (order.updated_at or order.recorded_at)
        return since.total_seconds() >= self.dealer.settings.requote_s

    def _rested_s(self, order: Order) -> float:
        """Return the seconds since the first order of the same decision for the symbol was made."""
        first = self.dealer.ledger.row(
            "select min(recorded_us) as us from orders where account = ? and decision = ? and symbol = ?",
            order.account,
            order.decision,
            order.symbol,
        )
        return (to_us(self.now) - first["us"]) / 1e6 if first else 0.0

    def _sell_rest(self, order: Order) -> None:
        """Make the next order for what the venue did not sell of `order`, unless that is too little for it."""
        instrument = self.dealer.instruments.get(order.symbol)
        if instrument is None:
            return
        units = instrument.rounded_units(order.rest)
        if not instrument.too_small(order.side, units, order.expected_usd):
            self._add(order, units, None)

    def _follow(self, order: Order) -> None:
        """Make the next order for what `order` left unfilled: resting again, or at the market when time is up."""
        instrument = self.dealer.instruments.get(order.symbol)
        units = instrument.rounded_units(order.rest) if instrument else order.rest
        if units <= 0 or self.dealer.is_killed():
            return
        is_over = self._rested_s(order) >= self.dealer.settings.maker_timeout_s or order.attempt >= 20
        limit = None if is_over else self._best(order)
        self._add(order, units, limit)

    # Ending

    def end_all(self, why: str) -> None:
        """Ask for the end of everything that is under way; of what was not sent, only sales that protect stay."""
        for order in list(self.latest.values()):
            if order.state is OrderState.RECORDED and order.purpose is Purpose.WISH:
                self._tell(order, OrderEvent.DENY, why)
            elif order.state in (OrderState.WORKING, OrderState.CANCELING):
                self._cancel(order, why)
        self.following.clear()

    def _cancel(self, order: Order, why: str) -> None:
        try:
            self.dealer.broker.cancel(_as_report(order))
        except BrokerError as error:
            self.dealer.failed("orders", str(error))
            return
        told = order.told(OrderEvent.ASK, self.now)
        self._keep(replace(told, reason=why, asked_at=order.asked_at or self.now), f"its end was asked for: {why}")

    # Keeping

    def _tell(self, order: Order, event: OrderEvent, reason: str) -> Order:
        return self._keep(order.told(event, self.now, reason), reason or event.value)

    def _report(self, order: Order, report: OrderReport) -> Order:
        told = order.reported(report, self.now)
        if order.state.is_unsure:
            self.dealer.answered("submit")
        if order.side is Side.SELL and not told.state.is_unsure and told.state is not OrderState.REJECTED:
            self.dealer.refusals.pop(order.symbol, None)
        if (told.state, told.filled_units, told.fee_usd, told.venue_id) == (
            order.state,
            order.filled_units,
            order.fee_usd,
            order.venue_id,
        ):
            return order
        filled = f", {told.filled_units} of {told.units} filled" if told.filled_units else ""
        return self._keep(
            told, f"the venue says {report.state}{filled}" + (f": {report.reason}" if report.reason else "")
        )

    def _keep(self, order: Order, note: str) -> Order:
        self.latest[order.client_id], self.notes[order.client_id] = order, note
        return order

    def _changes(self) -> list[booking.Change]:
        return [booking.Change(self.stored[key], latest) for key, latest in self.latest.items() if key in self.stored]

    def _marks_usd(self) -> dict[str, float]:
        """Return the market's prices; of a symbol without a quote what it was traded at, or its highest price known."""
        peaks = dict(zip(self.account.symbols, self.account.state.peak_price_usd[0].tolist(), strict=True))
        marks = {symbol: peak or 1.0 for symbol, peak in peaks.items()}
        marks |= {order.symbol: float(order.expected_usd) for order in self.latest.values()}
        return marks | mids_usd(self.quotes)

    def commit(self) -> DeskAccount:
        """Store all that this pass has learned in one transaction; return the account."""
        changes = [change for change in self._changes() if change.after != change.before]
        if not changes and not self.following:
            return self.account
        now = self.now
        mids = self._marks_usd()
        done = booking.book(self.account, changes, self.account.prices(mids), now, self.dealer.rules)
        with self.dealer.ledger.write() as entry:
            for change in changes:
                orders.store(entry, change.after, self.notes.get(change.after.client_id, change.after.state.value))
            for fill in done.fills:
                booking.store_fill(entry, fill, self.account, now)
            for order in self.following:
                orders.record(entry, order)
            if done.fills:
                store_account(entry, done.account)
                for row in position_rows(done.account, mids, now):
                    entry.upsert("positions", **row)
        return done.account


def barred(instrument: Instrument | None, symbol: str, broker: str, *, rests: bool = False) -> str:
    """Return why no order for `symbol` is taken, at the market unless it `rests`; empty when one is."""
    if instrument is None:
        return f"{broker} does not trade {symbol}"
    if instrument.halted:
        return f"{symbol} cannot be traded: {instrument.halted}"
    return "" if rests or instrument.takes_market else f"{broker} takes no orders at the market for {symbol} now"


def _may_be_filled(order: Order) -> bool:
    """Return whether fills of an order that has ended may still come: it was sent, and not refused at once."""
    was_refused = order.state is OrderState.REJECTED and not order.venue_id
    return order.rest > 0 and order.sent_at is not None and not was_refused


def _is_due(order: Order, asked_at: datetime | None, now: datetime) -> bool:
    has_just_ended = now - (order.updated_at or order.recorded_at) < LATE_EVERY
    return has_just_ended or asked_at is None or now - asked_at >= LATE_EVERY


def _as_report(order: Order) -> OrderReport:
    return OrderReport(
        order.client_id, order.venue_id, order.symbol, order.side, VenueState.OPEN, order.units, order.filled_units
    )
