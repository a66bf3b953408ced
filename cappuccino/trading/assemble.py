"""A trader as configured: its source, its brokers, its ledger."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

from cappuccino.brokers.broker import Broker
from cappuccino.clock import Clock, SystemClock
from cappuccino.errors import ConfigError
from cappuccino.market.quotes import QuoteSource
from cappuccino.market.source import BarSource
from cappuccino.registry.live_record import Permission, live_permission
from cappuccino.settings import CallSettings, Settings
from cappuccino.store.warehouse import Warehouse
from cappuccino.trading.feed import Feed
from cappuccino.trading.floor import Floor, Venue
from cappuccino.trading.ledger import Ledger
from cappuccino.trading.roster import BRIEFLY_S, Roster, read_roster
from cappuccino.trading.simulated_quotes import SimulatedQuotes
from cappuccino.trading.staff import Permitted
from cappuccino.trading.trader import Trader
from cappuccino.trading.voice import Voice
from cappuccino.watch.alerts import Alert

PATIENCE = {"max_attempts": 2, "read_timeout_s": 10.0, "max_pause_s": 5.0, "breaker_rest_s": 30.0}
"""How long a poll may wait for a venue, where a sync waits longer."""


Calls = TypeVar("Calls", bound=CallSettings)


@dataclass(frozen=True)
class Market:
    """Where bars and quotes come from."""

    source: BarSource
    quotes: QuoteSource


def market_of(settings: Settings, clock: Clock) -> Market:
    """Return the configured market; raises ConfigError for a record that has no present."""
    match settings.market.source:
        case "files":
            raise ConfigError(
                "market.source = 'files' is a record, which has no present to trade on; set market.source to alpaca, "
                "coinbase or simulated"
            )
        case "alpaca":
            from cappuccino.market.venues.alpaca import AlpacaSource

            alpaca = AlpacaSource(_hurried(settings.alpaca), clock)
            return Market(alpaca, alpaca)
        case "coinbase":
            from cappuccino.market.venues.coinbase import CoinbaseSource

            coinbase = CoinbaseSource(_hurried(settings.coinbase), clock)
            return Market(coinbase, coinbase)
        case "simulated":
            from cappuccino.market.simulated import SimulatedSource

            simulated = SimulatedSource(settings.simulated.seed)
            return Market(simulated, SimulatedQuotes(simulated, clock))


def venues_of(
    settings: Settings, clock: Clock, held: frozenset[str] = frozenset(), config: Path | None = None
) -> tuple[Venue, ...]:
    """Return the brokers that are switched on, and those of accounts that are open all the same (`held`).

    Real money needs its switch here, and every gate of `live_permission` later. Raises ConfigError without keys, and
    where a venue that is traded on would be judged by the prices of an invented market.
    """
    is_alpaca_on = settings.trader.production_broker == "alpaca"
    is_coinbase_on = settings.live.enabled and settings.profile == "live"
    venues = []
    if is_alpaca_on or "alpaca" in held:
        venues.append(Venue(_alpaca(settings, clock, config), "production", is_alpaca_on))
    if is_coinbase_on or "coinbase" in held:
        venues.append(Venue(_coinbase(settings, clock, config), "live", is_coinbase_on))
    if venues and settings.is_simulated:
        names = ", ".join(venue.broker.name for venue in venues)
        raise ConfigError(
            f"market.source is simulated, and orders would go to {names}: invented prices decide on no venue. Set "
            "market.source to alpaca or coinbase"
        )
    return tuple(venues)


def _alpaca(settings: Settings, clock: Clock, config: Path | None) -> Broker:
    from cappuccino.brokers.alpaca import AlpacaBroker
    from cappuccino.credentials import alpaca_keys
    from cappuccino.market.venues.alpaca import AlpacaSource

    hurried = _hurried(settings.alpaca)
    return AlpacaBroker(hurried, alpaca_keys(config), clock, AlpacaSource(hurried, clock))


def _coinbase(settings: Settings, clock: Clock, config: Path | None) -> Broker:
    from cappuccino.brokers.coinbase import CoinbaseBroker, quote_of
    from cappuccino.credentials import coinbase_keys

    return CoinbaseBroker(
        _hurried(settings.coinbase), coinbase_keys(config), clock, quote=quote_of(settings.market.symbols)
    )


def _hurried(settings: Calls) -> Calls:
    """Return how a venue is asked where nobody can wait."""
    return settings.model_copy(update=PATIENCE)


@contextmanager
def assembled(
    settings: Settings,
    *,
    config: Path | None = None,
    clock: Clock | None = None,
    sleep: Callable[[float], None] = time.sleep,
    beat: Callable[[str], None] = lambda phase: None,
    send: Callable[[Alert], None] = lambda alert: None,
    show: Callable[[str], None] = lambda text: None,
    is_emergency: bool = False,
) -> Iterator[Trader]:
    """Yield a trader, whose ledger is closed in the end; hold `presence.only_trader` meanwhile.

    `config` is the configuration file in use: keys may lie beside it. In an emergency nobody is asked who trades, and
    no model is loaded: the accounts of the ledger are looked after.
    """
    clock = clock or SystemClock()
    market = market_of(settings, clock)
    ledger = Ledger(settings.desk)
    try:
        voice = Voice(ledger, settings.alerts, clock, send, show)
        held = frozenset(
            row["broker"] for row in ledger.rows("select distinct broker from accounts where closed_us is null")
        )
        venues = venues_of(settings, clock, held, config)
        warehouse = Warehouse(settings.database, timeout_s=BRIEFLY_S)
        feed = Feed(settings.desk, warehouse, market.source, market.quotes, settings.market, settings.trader)
        feed.beat = partial(beat, "bars")
        floor = Floor(settings, ledger, feed, venues, clock=clock, voice=voice, sleep=sleep, beat=beat, say=show)

        def permit(account_id: str, now: datetime) -> Permitted:
            with warehouse.read() as reader:
                found = live_permission(reader, settings, now, account_id)
            if isinstance(found, Permission):
                return Permitted(found.model, found.capital_usd)
            return Permitted(None, 0.0, tuple(found))

        def roster() -> Roster:
            return read_roster(settings, {account.model for account in floor.accounts.values() if account.is_virtual})

        yield Trader(floor, None if is_emergency else roster, permit)
    finally:
        ledger.close()
