"""The venue behind the loopback exchange's trading: one account, its orders and fills, and its ways to misbehave.

It speaks no language: `alpaca_trading` and `coinbase_trading` spell what it says. Time passes by requests: each one
works on the orders first (`tick`), so an order that was just taken is answered as pending and filled by the next look.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import ROUND_DOWN, Decimal
from itertools import count
from threading import RLock
from typing import Literal
from uuid import UUID

from cappuccino.brokers.broker import Side

State = Literal["pending", "open", "filled", "canceled", "expired", "rejected"]
Why = Literal["unknown_symbol", "halted", "too_small", "precision", "funds", "would_cross", "duplicate", "other"]
NINE_DECIMALS = Decimal("1e-9")


@dataclass
class Pair:
    """What the venue trades, and what it accepts of it."""

    symbol: str
    units_step: Decimal = NINE_DECIMALS
    price_step: Decimal = Decimal("0.01")
    min_units: Decimal = Decimal("0.0001")
    min_buy_usd: Decimal = Decimal(10)
    min_sell_usd: Decimal = Decimal(0)
    bid: Decimal = Decimal(100)
    ask: Decimal = Decimal("100.10")
    bid_units: Decimal = Decimal(5)
    ask_units: Decimal = Decimal(5)
    halted: bool = False
    flags: dict[str, object] = field(default_factory=dict)
    """More of it in the words of one language, as `{"limit_only": True}` of Coinbase."""

    @property
    def base(self) -> str:
        return self.symbol.partition("/")[0]

    def touch(self, side: Side) -> Decimal:
        """Return the price at which a taker of that side is filled."""
        return self.ask if side is Side.BUY else self.bid


@dataclass
class Fill:
    number: int
    units: Decimal
    price: Decimal
    fee_usd: Decimal
    fee_units: Decimal
    is_maker: bool
    at: datetime


@dataclass
class Order:
    venue_id: str
    client_id: str
    symbol: str
    side: Side
    units: Decimal
    limit: Decimal | None
    """None for a market order."""
    time_in_force: Literal["gtc", "ioc"]
    post_only: bool
    submitted_at: datetime
    updated_at: datetime
    state: State = "pending"
    reason: str = ""
    fills: list[Fill] = field(default_factory=list)
    shares: deque[Decimal] = field(default_factory=deque)
    """Shares of the order that are filled at each of the next ticks; all at once when it is empty from the start."""
    is_planned: bool = False
    is_taker: bool = True
    ticks_until_work: int = 0
    ticks_until_cancel: int | None = None

    @property
    def filled_units(self) -> Decimal:
        return sum((fill.units for fill in self.fills), Decimal(0))

    @property
    def left_units(self) -> Decimal:
        return self.units - self.filled_units

    @property
    def average(self) -> Decimal:
        notional = sum((fill.units * fill.price for fill in self.fills), Decimal(0))
        return notional / self.filled_units if self.fills else Decimal(0)

    @property
    def fee_usd(self) -> Decimal:
        return sum((fill.fee_usd for fill in self.fills), Decimal(0))

    @property
    def fee_units(self) -> Decimal:
        return sum((fill.fee_units for fill in self.fills), Decimal(0))

    @property
    def is_live(self) -> bool:
        return self.state in ("pending", "open")


class NotTakenError(Exception):
    """The venue refuses, and has no order; `order` is the earlier one of the same client id."""

    def __init__(self, why: Why, words: str, order: Order | None = None) -> None:
        super().__init__(words)
        self.why, self.words, self.order = why, words, order


@dataclass
class Seen:
    """What a read shows."""

    orders: dict[str, Order]
    balances: dict[str, Decimal]


def _pairs() -> dict[str, Pair]:
    return {
        "BTC/USD": Pair("BTC/USD", bid=Decimal(60_000), ask=Decimal(60_010)),
        "ETH/USD": Pair("ETH/USD", bid=Decimal(3_000), ask=Decimal(3_001)),
        "LTC/USD": Pair("LTC/USD", bid=Decimal(80), ask=Decimal("80.10")),
    }


@dataclass
class TradingVenue:
    """One account. Everything public may be changed by a test before or between requests."""

    fee_in_coin: bool
    """Fees of purchases are taken from the coins, as Alpaca does; otherwise all fees are USD."""
    maker_frac: Decimal = Decimal("0.0015")
    taker_frac: Decimal = Decimal("0.0025")
    pairs: dict[str, Pair] = field(default_factory=_pairs)
    balances: dict[str, Decimal] = field(default_factory=lambda: {"USD": Decimal(100_000)})
    """By currency, what open orders hold back included."""
    orders: dict[str, Order] = field(default_factory=dict)
    """By venue id, in the order of their coming; forgotten ones are gone."""
    volume_usd: Decimal = Decimal(0)
    ahead_s: float = 0.0
    """By how much the venue's clock is ahead of the wall clock."""
    lag: int = 0
    """Reads show what was so many requests ago."""
    patience: int = 0
    """Requests for which a new order stays pending before it is worked on."""
    empty_wallets: int = 0
    """So many currencies that nobody holds come first in a list of balances."""
    page_orders: int = 250
    """Orders of a page at most, where lists have pages."""
    plans: deque[tuple[Decimal, ...]] = field(default_factory=deque)
    """Of the next orders: shares filled at each of the following requests, see `plan_fills`."""
    refusals: deque[NotTakenError] = field(default_factory=deque)
    """The next orders are refused so, whatever they are."""
    ignored_cancels: int = 0
    """So many of the next cancels are answered as usual and do nothing."""
    slow_cancels: int = 0
    """Cancels happen so many requests after they were asked for; what is filled until then is filled."""
    lock: RLock = field(default_factory=RLock)
    _numbers: count[int] = field(default_factory=lambda: count(1))
    _seen: deque[Seen] = field(default_factory=lambda: deque(maxlen=50))
    _last: datetime = datetime(2000, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        """Return the venue's time; no two answers are the same."""
        wall = datetime.now(UTC) + timedelta(seconds=self.ahead_s)
        self._last = max(wall, self._last + timedelta(microseconds=1))
        return self._last

    def tick(self) -> None:
        """Let one request's time pass: work on the orders, and remember what a lagging read will show."""
        for order in list(self.orders.values()):
            if order.is_live:
                self._work(order)
        orders = {key: replace(order, fills=list(order.fills)) for key, order in self.orders.items()}
        self._seen.append(Seen(orders, dict(self.balances)))

    def seen(self) -> Seen:
        """Return what a read shows now."""
        if not self.lag:
            return Seen(self.orders, self.balances)
        return self._seen[max(len(self._seen) - 1 - self.lag, 0)]

    def plan_fills(self, *shares: str) -> None:
        """Fill the next order by these shares at its next requests; the rest of an IOC is then cancelled."""
        self.plans.append(tuple(Decimal(share) for share in shares))

    def move(self, symbol: str, bid: str, ask: str) -> None:
        """Set the quote; resting orders that it touches are filled at the next request."""
        self.pairs[symbol].bid, self.pairs[symbol].ask = Decimal(bid), Decimal(ask)

    def submit(
        self,
        client_id: str,
        symbol: str,
        side: Side,
        units: Decimal,
        limit: Decimal | None = None,
        time_in_force: Literal["gtc", "ioc"] = "gtc",
        post_only: bool = False,
    ) -> Order:
        """Take an order, pending; raises NotTakenError."""
        self._refuse(client_id, symbol, side, units, limit, post_only)
        now = self.now()
        plan = self.plans.popleft() if self.plans else ()
        order = Order(
            venue_id=str(UUID(int=next(self._numbers), version=4)),
            client_id=client_id,
            symbol=symbol,
            side=side,
            units=units,
            limit=limit,
            time_in_force=time_in_force,
            post_only=post_only,
            submitted_at=now,
            updated_at=now,
            shares=deque(plan),
            is_planned=bool(plan),
            is_taker=limit is None or self._touches(symbol, side, limit),
            ticks_until_work=self.patience,
        )
        self.orders[order.venue_id] = order
        return order

    def cancel(self, venue_id: str) -> bool:
        """Take note that an order shall end; False when it has ended, KeyError when there is none."""
        order = self.orders[venue_id]
        if not order.is_live:
            return False
        if self.ignored_cancels:
            self.ignored_cancels -= 1
        elif self.slow_cancels:
            order.ticks_until_cancel = self.slow_cancels
        else:
            self.end(order, "canceled")
        return True

    def fill(self, order: Order, units: Decimal, price: Decimal | None = None) -> None:
        """Fill so much of an order, whatever its state: fills can come late."""
        pair, is_maker = self.pairs[order.symbol], not order.is_taker
        if price is None:
            price = order.limit if is_maker and order.limit is not None else pair.touch(order.side)
        fee_frac = self.maker_frac if is_maker else self.taker_frac
        in_coin = self.fee_in_coin and order.side is Side.BUY
        fee_units = (units * fee_frac).quantize(NINE_DECIMALS, ROUND_DOWN) if in_coin else Decimal(0)
        fee_usd = Decimal(0) if in_coin else units * price * fee_frac
        order.fills.append(Fill(next(self._numbers), units, price, fee_usd, fee_units, is_maker, self.now()))
        self._add(pair.base, order.side * units - fee_units)
        self._add("USD", -order.side * units * price - fee_usd)
        self.volume_usd += units * price
        order.updated_at = self.now()
        if order.is_live:
            order.state = "filled" if order.left_units <= 0 else "open"

    def end(self, order: Order, state: State, reason: str = "") -> None:
        order.state, order.reason, order.updated_at = state, reason, self.now()

    def forget(self, venue_id: str) -> None:
        """Let an order vanish, as if it had never come."""
        del self.orders[venue_id]

    def held(self, currency: str, seen: Seen | None = None) -> Decimal:
        """Return what open orders hold back."""
        shown = seen or Seen(self.orders, self.balances)
        live = [order for order in shown.orders.values() if order.is_live]
        if currency == "USD":
            return sum((self._cost(order) for order in live if order.side is Side.BUY), Decimal(0))
        mine = (o for o in live if o.side is Side.SELL and self.pairs[o.symbol].base == currency)
        return sum((order.left_units for order in mine), Decimal(0))

    def by_client_id(self, client_id: str) -> Order | None:
        return next((order for order in self.orders.values() if order.client_id == client_id), None)

    def _cost(self, order: Order) -> Decimal:
        price = order.limit if order.limit is not None else self.pairs[order.symbol].ask
        return order.left_units * price * (1 if self.fee_in_coin else 1 + self.taker_frac)

    def _work(self, order: Order) -> None:
        if order.ticks_until_work > 0:
            order.ticks_until_work -= 1
            return
        order.state = "open"
        if order.is_planned:
            self._follow_plan(order)
        elif order.limit is None or self._touches(order.symbol, order.side, order.limit):
            self.fill(order, order.left_units)
        elif order.time_in_force == "ioc":
            self.end(order, "canceled")
        order.is_taker = order.limit is None
        self._cancel_when_due(order)

    def _follow_plan(self, order: Order) -> None:
        if order.shares:
            units = (order.units * order.shares.popleft()).quantize(NINE_DECIMALS, ROUND_DOWN)
            if units:
                self.fill(order, units)
        elif order.time_in_force == "ioc" and order.is_live:
            self.end(order, "canceled")

    def _cancel_when_due(self, order: Order) -> None:
        if order.ticks_until_cancel is None:
            return
        order.ticks_until_cancel -= 1
        if order.ticks_until_cancel <= 0 and order.is_live:
            self.end(order, "canceled")

    def _refuse(
        self, client_id: str, symbol: str, side: Side, units: Decimal, limit: Decimal | None, post_only: bool
    ) -> None:
        """Raise NotTakenError with the first reason there is."""
        if self.refusals:
            raise self.refusals.popleft()
        earlier = self.by_client_id(client_id)
        if earlier:
            raise NotTakenError("duplicate", "client order id must be unique", earlier)
        pair = self.pairs.get(symbol)
        if pair is None:
            raise NotTakenError("unknown_symbol", f"unknown symbol {symbol}")
        if pair.halted:
            raise NotTakenError("halted", f"{symbol} is not tradable")
        price = limit if limit is not None else pair.touch(side)
        self._refuse_size(pair, side, units, price, limit)
        if post_only and limit is not None and self._touches(symbol, side, limit):
            raise NotTakenError("would_cross", "the order would be filled at once")
        self._refuse_unfunded(pair, side, units, price)

    def _refuse_size(self, pair: Pair, side: Side, units: Decimal, price: Decimal, limit: Decimal | None) -> None:
        if units % pair.units_step or (limit is not None and limit % pair.price_step):
            raise NotTakenError("precision", f"{units} at {limit} is not on the increments")
        least_usd = pair.min_buy_usd if side is Side.BUY else pair.min_sell_usd
        if units < pair.min_units or units * price < least_usd:
            raise NotTakenError("too_small", f"cost basis must be >= minimal amount of order {least_usd}")

    def _refuse_unfunded(self, pair: Pair, side: Side, units: Decimal, price: Decimal) -> None:
        buys = side is Side.BUY
        currency = "USD" if buys else pair.base
        needed = units * price * (1 if self.fee_in_coin else 1 + self.taker_frac) if buys else units
        available = self.balances.get(currency, Decimal(0)) - self.held(currency)
        if needed > available:
            raise NotTakenError(
                "funds", f"insufficient balance for {currency} (requested: {needed}, available: {available})"
            )

    def _touches(self, symbol: str, side: Side, limit: Decimal) -> bool:
        pair = self.pairs[symbol]
        return pair.ask <= limit if side is Side.BUY else pair.bid >= limit

    def _add(self, currency: str, amount: Decimal) -> None:
        self.balances[currency] = self.balances.get(currency, Decimal(0)) + amount


Fault = Callable[..., None]


@dataclass
class Rule:
    """A fault for requests of one kind, so many times; None = always."""

    method: str
    word: str
    fault: Fault
    times: int | None = 1


@dataclass
class Faults:
    """What happens to requests of a kind instead of, or after, an answer."""

    rules: list[Rule] = field(default_factory=list)

    def on(self, kind: str, fault: Fault, times: int | None = 1) -> None:
        """Inject a fault into the next requests of a kind: method and a part of the path, as "POST orders"."""
        method, _, word = kind.partition(" ")
        self.rules.append(Rule(method, word, fault, times))

    def next(self, method: str, path: str) -> Fault | None:
        """Return the fault that this request meets, None for none."""
        for rule in self.rules:
            if rule.method == method and rule.word in path and rule.times != 0:
                if rule.times is not None:
                    rule.times -= 1
                return rule.fault
        return None
