"""A trader on the simulated market in virtual time: real ledger, feed and engine, and clocks that cost no time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import polars as pl

from cappuccino.errors import DataError, SourceError
from cappuccino.market.interval import Interval
from cappuccino.market.panel import BarPanel, as_datetime64, panel_from_frame
from cappuccino.market.quotes import Quote
from cappuccino.market.simulated import SimulatedSource
from cappuccino.registry.identity import ModelId
from cappuccino.settings import Settings
from cappuccino.store.warehouse import Warehouse
from cappuccino.trading.feed import Feed, Needed
from cappuccino.trading.floor import Floor, Venue
from cappuccino.trading.ledger import Ledger
from cappuccino.trading.roster import Place, Roster
from cappuccino.trading.simulated_quotes import SimulatedQuotes
from cappuccino.trading.staff import Permitted
from cappuccino.trading.trader import Trader
from cappuccino.trading.voice import Voice
from cappuccino.watch.alerts import Alert
from tests.unit.small_lab import save_model

SYMBOLS = ("BTC/USD", "ETH/USD", "LTC/USD")
START = datetime(2025, 3, 3, tzinfo=UTC)
MODEL = ModelId("training-1", 3)
HOUR = timedelta(hours=1)
NOT_PERMITTED = Permitted(None, 0.0, ("switch: live.enabled is false",))


@dataclass
class VirtualClock:
    """Time that passes when somebody sleeps."""

    at: datetime

    def now(self) -> datetime:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@dataclass
class Prices:
    """Quotes of the simulated market, which a test may bend."""

    source: SimulatedSource
    clock: VirtualClock
    bend: Callable[[dict[str, Quote]], Mapping[str, Quote]] = field(default=lambda quotes: quotes)

    def quotes(self, symbols: tuple[str, ...]) -> Mapping[str, Quote]:
        return self.bend(dict(SimulatedQuotes(self.source, self.clock).quotes(symbols)))


class CannedFeed:
    """The feed's manners, without files: the bars of the simulated market that have closed."""

    def __init__(self, source: SimulatedSource, prices: Prices, clock: VirtualClock) -> None:
        self._source, self._prices, self._clock = source, prices, clock
        self.failure = ""
        self.late_bars: dict[str, int] = {}

    @property
    def symbols(self) -> tuple[str, ...]:
        return SYMBOLS

    @property
    def closes(self) -> Mapping[str, float]:
        bars = _bars(self._source, Interval.M15)
        known = bars.filter(pl.col("opened_at_utc") <= self._clock.now() - Interval.M15.duration)
        return dict(known.group_by("symbol").agg(pl.col("close").last()).iter_rows())

    def quotes(self) -> Mapping[str, Quote]:
        try:
            return self._prices.quotes(SYMBOLS)
        except SourceError as error:
            self.failure = str(error)
            return {}

    @property
    def closed_at(self) -> Mapping[str, datetime]:
        return {}

    def widen(self, symbols: Iterable[str]) -> None:
        """It knows three."""

    def update(self, needed: object, now: datetime) -> None:
        """Nothing to fetch."""

    def drain(self) -> pl.DataFrame:
        return pl.DataFrame()

    def panel(self, needed: Needed, closed_at: datetime, now: datetime) -> BarPanel:
        interval = needed.market.interval
        bars = _bars(self._source, interval).filter(
            pl.col("opened_at_utc").is_between(needed.start(closed_at), closed_at - interval.duration)
        )
        panel = panel_from_frame(bars.with_columns(pl.lit(False).alias("is_filled")), SYMBOLS, interval)
        if panel.closed_at[-1] != as_datetime64(closed_at):
            raise DataError("the newest bar is not there")
        return panel


@lru_cache
def _bars(source: SimulatedSource, interval: Interval) -> pl.DataFrame:
    return source.bars(SYMBOLS, interval, START - timedelta(days=70), START + timedelta(days=4))


@dataclass
class Desk:
    """Everything that outlives a trader: folder, clock, market, venues, stages."""

    settings: Settings
    clock: VirtualClock
    source: SimulatedSource
    prices: Prices
    places: list[Place]
    venues: list[Venue] = field(default_factory=list)
    permitted: Permitted = NOT_PERMITTED
    said: list[Alert] = field(default_factory=list)
    is_canned: bool = True
    """Whether the feed is a `CannedFeed`."""
    open_ledger: Callable[[Path], Ledger] = Ledger

    @contextmanager
    def trader(self) -> Iterator[Trader]:
        """Start a trader on what is there, as a process would."""
        ledger = self.open_ledger(self.settings.desk)
        try:
            voice = Voice(ledger, self.settings.alerts, self.clock, self.said.append)
            floor = Floor(
                self.settings, ledger, self._feed(), self.venues, clock=self.clock, voice=voice, sleep=self.clock.sleep
            )
            yield Trader(floor, lambda: Roster(tuple(self.places), (), {}), lambda account, now: self.permitted)
        finally:
            ledger.close()

    def _feed(self) -> Feed:
        if self.is_canned:
            return cast(Feed, CannedFeed(self.source, self.prices, self.clock))
        main, settings = Warehouse(self.settings.database), self.settings
        return Feed(settings.desk, main, self.source, self.prices, settings.market, settings.trader)


def make_desk(folder: Path, *, interval: Interval = Interval.H1, **groups: Any) -> Desk:
    """Return a desk with one untrained, restless model in production since `START`; groups are of the settings."""
    usual: dict[str, Any] = {
        "profile": "paper",
        "warehouse": folder / "warehouse",
        "market": {"symbols": SYMBOLS, "base_interval": "15m"},
    }
    groups["trader"] = {"settle_s": 0.0, **groups.get("trader", {})}
    settings = Settings(**usual, **groups)
    clock, source = VirtualClock(START), SimulatedSource(1)
    save_model(settings.artifacts, MODEL, START - timedelta(days=60), interval=interval, symbols=SYMBOLS)
    return Desk(settings, clock, source, Prices(source, clock), [Place(MODEL, "production", START)])
