"""Two simulated symbols on hourly bars: enough of a market for what is built on the warehouse."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl

from cappuccino.market.interval import Interval
from cappuccino.market.simulated import SimulatedSource
from cappuccino.market.source import BarSource
from cappuccino.market.sync import Synced, sync_bars
from cappuccino.settings import MarketSettings
from cappuccino.store.models import build
from cappuccino.store.schema import SQL_DIR, Schema
from cappuccino.store.warehouse import Warehouse

SCHEMA = Schema.load(SQL_DIR)
SYMBOLS = ("BTC/USD", "ETH/USD")
MARKET = MarketSettings(symbols=SYMBOLS, base_interval=Interval.H1)
SOURCE = SimulatedSource(5)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
START = datetime(2025, 3, 1, tzinfo=UTC)
END = START + 45 * DAY
"""The end of what `full_warehouse` holds; features begin within 21 days of START."""


@dataclass(frozen=True)
class Canned:
    """A source that hands over what it was given."""

    frame: pl.DataFrame
    name: str = "simulated"
    is_simulated: bool = True
    known: tuple[datetime, datetime] | None = None
    chunk_bars: int = 1_000_000

    def symbols(self) -> tuple[str, ...]:
        return tuple(self.frame["symbol"].unique().sort())

    def span(self) -> tuple[datetime, datetime] | None:
        return self.known

    def bars(self, symbols: tuple[str, ...], interval: Interval, start: datetime, stop: datetime) -> pl.DataFrame:
        inside = (pl.col("opened_at_utc") >= start) & (pl.col("opened_at_utc") < stop)
        return self.frame.filter(inside & pl.col("symbol").is_in(symbols))


def bars_between(start: datetime, stop: datetime) -> pl.DataFrame:
    return SOURCE.bars(SYMBOLS, MARKET.base_interval, start, stop)


def sync(
    warehouse: Warehouse,
    start: datetime,
    stop: datetime,
    *,
    source: BarSource = SOURCE,
    market: MarketSettings = MARKET,
    now: datetime | None = None,
) -> Synced:
    """Sync bars and derive the longer ones, as of `stop` unless told otherwise."""
    synced = sync_bars(warehouse, source, market, start, stop, now or stop)
    with warehouse.write() as writer:
        build(writer, SCHEMA.models["market.bars_all"])
    return synced
