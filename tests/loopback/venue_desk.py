"""A trader in virtual time whose account lies at a venue: the real broker and its SDK, over the loopback exchange.

The venue's quotes follow the virtual market. Tokens and answers carry the time of the wall, so that only pauses, polls
and patience are virtual; what an SDK waits for on the wire is real, and short.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cache
from math import sin
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, cast

import torch
from pydantic import SecretStr

from cappuccino.arena.candidate import Candidate
from cappuccino.brokers.alpaca import AlpacaBroker
from cappuccino.brokers.broker import Broker, Side
from cappuccino.brokers.coinbase import CoinbaseBroker
from cappuccino.brokers.sending import BrokerCalls
from cappuccino.clock import SystemClock
from cappuccino.credentials import Keys
from cappuccino.market.inputs import Inputs
from cappuccino.market.interval import Interval
from cappuccino.market.panel import BarPanel
from cappuccino.market.quotes import Quote
from cappuccino.market.simulated import SimulatedSource
from cappuccino.portfolio.account import Accounts
from cappuccino.registry.identity import ModelId
from cappuccino.rl.agent import Market
from cappuccino.settings import AlpacaSettings, CoinbaseSettings, Settings
from cappuccino.trading import orders, requests, switches
from cappuccino.trading.desk_account import CASH, DeskAccount
from cappuccino.trading.feed import Feed, Needed
from cappuccino.trading.floor import Venue
from cappuccino.trading.orders import Order, Purpose
from cappuccino.trading.roster import Models, Place
from cappuccino.trading.staff import Permitted
from cappuccino.trading.trader import Trader
from cappuccino.validation.evaluate import Policy
from tests.loopback import alpaca_trading, coinbase_trading
from tests.loopback.exchange import Exchange
from tests.loopback.handler import Fault
from tests.loopback.trading_exchange import TradingVenue
from tests.unit.trading.small_desk import START, SYMBOLS, CannedFeed, Desk, Prices, VirtualClock

Name = Literal["alpaca", "coinbase"]
BTC, ETH, LTC = SYMBOLS
FIRST, SECOND = ModelId("training-1", 3), ModelId("training-1", 4)
CAPITAL_USD = 1000.0
READ_TIMEOUT_S = 0.15
ROUNDING_UNITS, ROUNDING_USD = 2e-8, 0.01
"""What fees and floats round to."""
CALM: dict[str, Any] = {
    "protection": {"trailing_stop_frac": 0.0, "profit_take_frac": 0.0},
    "position": {"max_weight_frac": 1.0, "stop_loss_frac": 0.05},
    "limits": {"daily_loss_frac": 0.0, "drawdown_frac": 0.0, "losing_trades": 0, "max_order_frac": 0.0},
    "conviction": {"min_score": 0.0},
}
"""Rules that let the wishes through, and sell a position that has lost 5 %."""


@dataclass
class Wisher:
    """A candidate that wants what a test says: weights by symbol."""

    model: ModelId
    symbols: tuple[str, ...] = SYMBOLS
    wishes: dict[str, float] = field(default_factory=dict)
    interval: Interval = Interval.H1
    lookback: int = 2
    history_bars: int = 2
    recall_bars: int = 0
    members: tuple[()] = ()

    @property
    def manifest(self) -> Any:
        return SimpleNamespace(model=self.model)

    @property
    def market(self) -> Market:
        return Market(self.interval, self.symbols, Inputs())

    def policy(self, panel: BarPanel) -> Policy:
        def wanted(t: int, accounts: Accounts) -> torch.Tensor:
            return torch.tensor([[self.wishes.get(symbol, 0.0) for symbol in self.symbols]], dtype=torch.float64)

        return wanted


class Wishers(Models):
    """Candidates of a test instead of folders."""

    def __init__(self, known: dict[ModelId, Wisher]) -> None:
        super().__init__(Path())
        self._known = known

    def get(self, model: ModelId) -> Candidate | None:
        return cast(Candidate | None, self._known.get(model))


class NarrowFeed(CannedFeed):
    """The canned feed, with panels of the symbols that are asked for."""

    def panel(self, needed: Needed, closed_at: datetime, now: datetime) -> BarPanel:
        whole = super().panel(needed, closed_at, now)
        columns = [whole.symbols.index(symbol) for symbol in needed.market.symbols]
        names = ("open", "high", "low", "close", "volume", "is_filled")
        values = {name: getattr(whole, name)[:, columns] for name in names}
        return replace(whole, symbols=needed.market.symbols, **values)


class NarrowDesk(Desk):
    def _feed(self) -> Feed:
        return cast(Feed, NarrowFeed(self.source, self.prices, self.clock))


@cache
def _closes(source: SimulatedSource) -> list[tuple[datetime, dict[str, float]]]:
    bars = source.bars(SYMBOLS, Interval.M15, START - timedelta(hours=1), START + timedelta(days=4))
    by_time = bars.sort("opened_at_utc").partition_by("opened_at_utc", as_dict=True)
    return [
        (cast(datetime, at) + Interval.M15.duration, dict(rows.select("symbol", "close").iter_rows()))
        for (at,), rows in by_time.items()
    ]


@dataclass
class Followed(Prices):
    """Quotes beside the newest close, which a test may scale; the venue's own follow them."""

    venue: TradingVenue = field(default_factory=lambda: TradingVenue(False))
    scale: dict[str, float] = field(default_factory=dict)
    half_spread_frac: float = 1e-4
    is_still: bool = False
    """The venue's quotes stay where they are."""

    def quotes(self, symbols: tuple[str, ...]) -> dict[str, Quote]:
        now = self.clock.now()
        closes = [found for at, found in _closes(self.source) if at <= now][-1]
        wave = 1.0 if self.is_still else 1.0 + 2e-4 * sin(now.timestamp())
        for symbol in symbols:
            mid = closes[symbol] * wave * self.scale.get(symbol, 1.0)
            bid, ask = mid * (1.0 - self.half_spread_frac), mid * (1.0 + self.half_spread_frac)
            self.venue.move(symbol, f"{bid:.4f}", f"{ask:.4f}")
        pairs = {symbol: self.venue.pairs[symbol] for symbol in symbols}
        found = {symbol: Quote(symbol, float(pair.bid), float(pair.ask), now) for symbol, pair in pairs.items()}
        return dict(self.bend(found))

    def as_broker_sees(self) -> Any:
        """Return the quotes that Alpaca's broker asks for before it rests an order."""
        return SimpleNamespace(quotes=lambda symbols: {s: self._now(s) for s in symbols})

    def _now(self, symbol: str) -> Quote:
        pair = self.venue.pairs[symbol]
        return Quote(symbol, float(pair.bid), float(pair.ask), self.clock.now())


@dataclass
class VenueDesk:
    """A desk with an account at a venue, the trader that runs on it, and what must hold of both."""

    name: Name
    exchange: Exchange
    desk: Desk
    prices: Followed
    wishers: dict[ModelId, Wisher]
    running: ExitStack = field(default_factory=ExitStack)
    trader: Trader = field(init=False)

    @property
    def venue(self) -> TradingVenue:
        return self.exchange.at_alpaca if self.name == "alpaca" else self.exchange.at_coinbase

    @property
    def account(self) -> DeskAccount:
        return self.trader.floor.accounts[self.name]

    @property
    def wishes(self) -> dict[str, float]:
        return self.wishers[FIRST].wishes

    @property
    def folder(self) -> Path:
        return self.desk.settings.desk

    # Time

    def start(self) -> None:
        """Start a trader on what is there, with a broker that remembers nothing: a process after another."""
        self.running.close()
        stage = "production" if self.name == "alpaca" else "live"
        self.desk.venues = [Venue(self._broker(), stage)]
        self.trader = self.running.enter_context(self.desk.trader())
        self.trader.floor.models = Wishers(self.wishers)

    def minute(self, n: int = 1) -> None:
        """Poll, and follow what is under way until the next minute, as the loop does."""
        for _ in range(n):
            began = self.desk.clock.now()
            self.trader.poll()
            until = max(began.replace(second=0) + timedelta(minutes=1), self.desk.clock.now())
            while self.desk.clock.now() < until and self.trader.work():
                self.desk.clock.sleep(self.desk.settings.execution.step_s)
            self.desk.clock.at = max(until, self.desk.clock.now())

    def hour(self) -> None:
        """Go to the next full hour, and through its first minute."""
        now = self.desk.clock.now()
        begun = now.replace(minute=0, second=0, microsecond=0)
        self.desk.clock.at = now if now == begun else begun + timedelta(hours=1)
        self.minute()

    def minutes_until(self, is_so: Any, most: int = 15) -> None:
        """Let minutes pass until `is_so()`."""
        for _ in range(most):
            if is_so():
                return
            self.minute()
        assert is_so()

    # What there is

    def orders(self) -> list[Order]:
        """Return the account's orders, in the order in which they were made."""
        query = "select client_id from orders where account = ? order by recorded_us, rowid"
        rows = self.trader.floor.ledger.rows(query, self.name)
        found = [orders.order_named(self.trader.floor.ledger, row["client_id"]) for row in rows]
        return [order for order in found if order]

    def wished(self) -> list[Order]:
        return [order for order in self.orders() if order.purpose is Purpose.WISH]

    def states(self) -> list[str]:
        return [order.state.value for order in self.orders()]

    def decisions(self, kind: str = "bar") -> list[Any]:
        query = "select * from decisions where account = ? and kind = ? order by decided_us"
        return self.trader.floor.ledger.rows(query, self.name, kind)

    def worth_usd(self) -> float:
        """Return what the book is worth at the venue's bids."""
        bids = {symbol: float(pair.bid) for symbol, pair in self.venue.pairs.items()}
        return float(self.account.state.value(self.account.prices(bids))[0])

    def sales(self) -> list[Any]:
        """Return the sales that the venue has taken."""
        return [order for order in self.venue.orders.values() if order.side is Side.SELL]

    def units(self, symbol: str = BTC) -> float:
        return self.account.units_of(symbol)

    def value_usd(self, symbol: str = BTC) -> float:
        return self.units(symbol) * float(self.venue.pairs[symbol].bid)

    def held(self, symbol: str = BTC) -> float:
        """Return what the venue holds of a symbol."""
        return float(self.venue.balances.get(symbol.partition("/")[0], Decimal(0)))

    def posts(self) -> list[str]:
        """Return the client ids of the orders that were posted, each as often as it was."""
        bodies = [body for method, path, body in self.exchange.sent if method == "POST" and path.endswith("/orders")]
        return [body["client_order_id"] for body in bodies]

    def said(self, word: str) -> list[str]:
        """Return the alerts whose key has `word`, ends as well."""
        return [("over: " if a.is_resolved else "") + a.message for a in self.desk.said if word in a.key]

    def has_open(self) -> bool:
        return any(not order.state.is_final for order in self.orders())

    # What people do

    def hold(self, weight: float = 0.5) -> None:
        """Let the model want bitcoins, and get them."""
        self.wishes[BTC] = weight
        self.hour()
        self.minute()
        assert self.units() > 0

    def crash(self) -> None:
        """Let the price of bitcoins fall below every stop."""
        self.prices.scale[BTC] = 0.9

    def fail(self, fault: Fault) -> None:
        """Let the venue answer nothing but `fault`, until it is mended."""
        for method in ("GET ", "POST ", "DELETE "):
            self.exchange.on(method, fault, times=None)

    def mend(self) -> None:
        """Let the venue behave again."""
        self.exchange.injected.rules.clear()
        self.venue.lag = self.venue.ignored_cancels = self.venue.slow_cancels = 0

    def replace_model(self) -> None:
        """Let another model have the stage."""
        place = self.desk.places[0]
        self.desk.places[:] = [replace(place, model=SECOND, since=self.desk.clock.now())]
        self.desk.permitted = replace(self.desk.permitted, model=SECOND)

    def demote_model(self) -> None:
        """Let nobody have the stage."""
        self.desk.places.clear()
        self.desk.permitted = replace(self.desk.permitted, reasons=("the light is red",))

    def trade_by_hand(self, units: Decimal) -> None:
        """Let somebody sell so many bitcoins of the account."""
        with self.venue.lock:
            self.venue.balances["BTC"] -= units
            self.venue.balances["USD"] += units * self.venue.pairs[BTC].bid

    def kill(self, flatten: bool = False) -> None:
        now = self.desk.clock.now()
        switches.write_kill(self.folder, switches.Kill(now, "a test", "somebody", flatten=flatten))

    def resume(self) -> None:
        switches.clear_kill(self.folder, "a test", "somebody", self.desk.clock.now())

    def adopt(self) -> None:
        requests.ask(self.folder, requests.Request.ADOPT)

    # What must hold

    def check(self, *, resent: bool = False) -> None:
        """Nothing was sent twice, no more was traded than decided, and book and venue agree.

        `resent`: an order that the venue certainly did not take may have been posted again.
        """
        posts = self.posts()
        assert resent or len(posts) == len(set(posts)), "an order was sent twice"
        taken = [order.client_id for order in self.venue.orders.values()]
        assert len(taken) == len(set(taken))
        self._check_decided()
        self.check_book()

    def _check_decided(self) -> None:
        """No decision traded more of a symbol than it wanted."""
        ledger = self.trader.floor.ledger
        for decision in ledger.rows("select decision, wanted from decisions where account = ?", self.name):
            wanted = json.loads(decision["wanted"])
            own = [order for order in self.orders() if order.decision == decision["decision"]]
            for symbol in {order.symbol for order in own}:
                ids = {order.client_id for order in own if order.symbol == symbol}
                units = sum(float(o.filled_units) for o in self.venue.orders.values() if o.client_id in ids)
                assert units <= abs(wanted.get(symbol, 0.0)) * (1 + 1e-9) + ROUNDING_UNITS, (symbol, units, wanted)

    def check_book(self) -> None:
        """Book and venue agree, what is not ours counted."""
        account, balances = self.account, self.venue.balances
        for symbol in account.symbols:
            ours = account.units_of(symbol) + float(account.foreign.get(symbol, 0))
            assert abs(ours - self.held(symbol)) <= ROUNDING_UNITS, (symbol, ours, self.held(symbol))
        cash = float(account.state.cash_usd[0]) + float(account.foreign.get(CASH, 0))
        assert abs(cash - float(balances["USD"])) <= ROUNDING_USD, (cash, balances["USD"])

    def _broker(self) -> Broker:
        clock = self.desk.clock
        patience: dict[str, Any] = {"read_timeout_s": READ_TIMEOUT_S, "breaker_rest_s": 30.0, "max_attempts": 2}
        if self.name == "alpaca":
            alpaca = AlpacaSettings(trading_url=self.exchange.alpaca_url, requests_per_minute=1e6, **patience)
            keys = Keys(alpaca_trading.KEY, SecretStr(alpaca_trading.SECRET))
            calls = _calls("alpaca", alpaca, clock)
            return AlpacaBroker(alpaca, keys, SystemClock(), self.prices.as_broker_sees(), calls)
        coinbase = CoinbaseSettings(base_url=self.exchange.coinbase_host, requests_per_minute=1e6, **patience)
        keys = Keys(coinbase_trading.KEY, SecretStr(coinbase_trading.SECRET))
        return CoinbaseBroker(coinbase, keys, SystemClock(), _calls("coinbase", coinbase, clock))


def _calls(name: str, settings: AlpacaSettings | CoinbaseSettings, clock: VirtualClock) -> BrokerCalls:
    return BrokerCalls(
        name, settings, 1e6, sleep=clock.sleep, monotonic=lambda: clock.now().timestamp(), rng=random.Random(1)
    )


@contextmanager
def venue_desk(folder: Path, exchange: Exchange, name: Name, **groups: Any) -> Iterator[VenueDesk]:
    """Yield a desk with a model in production at Alpaca, or live at Coinbase; groups are of the settings."""
    usual: dict[str, Any] = {
        "profile": "paper",
        "warehouse": folder / "warehouse",
        "market": {"symbols": SYMBOLS, "base_interval": "15m"},
        "risk": CALM,
    }
    groups["trader"] = {"settle_s": 0.0, **groups.get("trader", {})}
    settings = Settings(**{**usual, **groups})
    clock, source = VirtualClock(START), SimulatedSource(1)
    venue = exchange.at_alpaca if name == "alpaca" else exchange.at_coinbase
    step = Decimal("1e-9") if name == "alpaca" else Decimal("1e-8")
    for pair in venue.pairs.values():
        pair.units_step, pair.price_step = step, Decimal("0.0001")
        pair.min_units, pair.min_buy_usd = Decimal("0.00001"), Decimal(10 if name == "alpaca" else 1)
        pair.min_sell_usd = Decimal(0 if name == "alpaca" else 1)
    prices = Followed(source, clock, venue=venue)
    stage = "production" if name == "alpaca" else "live"
    places, permitted = [Place(FIRST, stage, START)], Permitted(FIRST, CAPITAL_USD)
    desk = NarrowDesk(settings, clock, source, prices, places, permitted=permitted)
    wishers = {model: Wisher(model) for model in (FIRST, SECOND)}
    bench = VenueDesk(name, exchange, desk, prices, wishers)
    with bench.running:
        bench.start()
        yield bench
