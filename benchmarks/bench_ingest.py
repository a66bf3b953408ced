"""Syncing bars against a plain DuckDB insert of the same rows into an empty table: rows/s, peak memory, ratio of times.

Run with `make bench` or `python benchmarks/bench_ingest.py`; `--full` adds 100 symbols x 730 days. The bars are made
before the clock starts and lie in memory for both; `again` is a second sync that finds nothing new. Sync also asks for
what is stored, compares, checks the contract, and keeps a fingerprint: that is what the ratio pays for.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import polars as pl
from apart import apart

from cappuccino.market.interval import Interval
from cappuccino.market.simulated import SimulatedSource
from cappuccino.market.source import LOCAL_CHUNK_BARS
from cappuccino.market.sync import sync_bars
from cappuccino.settings import MarketSettings
from cappuccino.store.schema import SQL_DIR, Schema
from cappuccino.store.warehouse import Warehouse

NOW = datetime(2025, 7, 1, tzinfo=UTC)
SIZES = ((10, 105), (50, 210))
"""(symbols, days of 15m bars): 1e5 and 1e6 rows."""
FULL = (*SIZES, (100, 730))
INTERVAL = Interval.M15


@dataclass(frozen=True)
class Recorded:
    """A source whose bars are in memory already."""

    frame: pl.DataFrame
    name: str = "simulated"
    is_simulated: bool = True
    chunk_bars: int = LOCAL_CHUNK_BARS

    def symbols(self) -> tuple[str, ...]:
        return tuple(self.frame["symbol"].unique().sort())

    def span(self) -> None:
        return

    def bars(self, symbols: tuple[str, ...], interval: Interval, start: datetime, stop: datetime) -> pl.DataFrame:
        return self.frame.filter((pl.col("opened_at_utc") >= start) & (pl.col("opened_at_utc") < stop))


@dataclass(frozen=True)
class Times:
    """Seconds of one way to store the rows, and of doing it once more."""

    n_rows: int
    once_s: float
    again_s: float | None = None


def simulated(symbols: tuple[str, ...], n_days: int) -> pl.DataFrame:
    return SimulatedSource(1).bars(symbols, INTERVAL, NOW - timedelta(days=n_days), NOW)


def names(n_symbols: int) -> tuple[str, ...]:
    return tuple(f"S{n:02}/USD" for n in range(n_symbols))


def only_bars(n_symbols: int, n_days: int) -> Times:
    """Return the time that the simulation takes."""
    started_s = time.perf_counter()
    frame = simulated(names(n_symbols), n_days)
    return Times(len(frame), time.perf_counter() - started_s)


def synced(n_symbols: int, n_days: int) -> Times:
    """Return the times of our sync into a fresh warehouse."""
    symbols = names(n_symbols)
    source = Recorded(simulated(symbols, n_days))
    market = MarketSettings(symbols=symbols, base_interval=INTERVAL)
    with tempfile.TemporaryDirectory() as folder:
        warehouse = Warehouse(Path(folder) / "bars.duckdb")
        warehouse.migrate(Schema.load(SQL_DIR))

        def sync() -> None:
            sync_bars(warehouse, source, market, NOW - timedelta(days=n_days), NOW, NOW)

        return Times(len(source.frame), seconds(sync), seconds(sync))


def inserted(n_symbols: int, n_days: int) -> Times:
    """Return the time of one insert of the same columns by hand."""
    frame = simulated(names(n_symbols), n_days).with_columns(
        pl.col("opened_at_utc").dt.replace_time_zone(None),
        closed_at_utc=pl.col("opened_at_utc").dt.replace_time_zone(None) + INTERVAL.duration,
        source=pl.lit("simulated"),
        ingested_at_utc=pl.lit(NOW.replace(tzinfo=None)),
    )
    with tempfile.TemporaryDirectory() as folder:
        with duckdb.connect(str(Path(folder) / "plain.duckdb")) as connection:
            connection.register("incoming", frame)
            connection.execute("create table bars as from incoming limit 0")

        def insert() -> None:
            with duckdb.connect(str(Path(folder) / "plain.duckdb")) as connection:
                connection.register("incoming", frame)
                connection.execute("insert into bars from incoming")

        return Times(len(frame), seconds(insert))


def seconds(work: Callable[[], None]) -> float:
    started_s = time.perf_counter()
    work()
    return time.perf_counter() - started_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="up to 100 symbols x 730 days")
    sizes = FULL if parser.parse_args().full else SIZES
    columns = ("rows", "way", "rows/s", "again rows/s", "peak MB", "x plain")
    print("{:>10} {:>12} {:>12} {:>14} {:>9} {:>8}".format(*columns))
    for size in sizes:
        spent = {work.__name__: apart(work, *size) for work in (inserted, synced, only_bars)}
        plain_s = spent["inserted"].result.once_s
        for name, one in spent.items():
            times = one.result
            again = f"{times.n_rows / times.again_s:,.0f}" if times.again_s else "-"
            print(
                f"{times.n_rows:10,} {name:>12} {times.n_rows / times.once_s:12,.0f} {again:>14} "
                f"{one.peak_mb or float('nan'):9,.0f} {times.once_s / plain_s:8.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
