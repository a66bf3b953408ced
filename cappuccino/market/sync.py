"""Bars from a source into the warehouse, and panels out of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from cappuccino.errors import DataError
from cappuccino.market.interval import EPOCH, Interval
from cappuccino.market.panel import BarPanel, panel_from_frame
from cappuccino.market.source import BarSource
from cappuccino.market.sources import record_end
from cappuccino.settings import MarketSettings
from cappuccino.store.warehouse import Reader, Warehouse, Writer


@dataclass(frozen=True)
class Synced:
    """What one sync stored."""

    start: datetime
    stop: datetime
    n_bars: int
    fingerprint: str


def sync_bars(
    warehouse: Warehouse,
    source: BarSource,
    market: MarketSettings,
    start: datetime,
    stop: datetime,
    now: datetime,
) -> Synced:
    """Replace the stored bars that opened in [start, stop) and had closed at `now` by those of `source`.

    Asks outside the lock, writes in one transaction. Symbols that the source says nothing about keep their bars.
    Raises DataError when the warehouse holds bars of another source or base interval, or when the source has nothing
    there at all.
    """
    interval = market.base_interval
    stop = min(stop, interval.floor(now))
    if stop <= start:
        raise DataError(
            f"no {interval} bar between {start:%F %R} and {stop:%F %R} UTC has closed at {now:%F %R}; "
            "choose an earlier range"
        )
    frame = source.bars(market.symbols, interval, start, stop)
    if frame.is_empty():
        raise DataError(
            f"source {source.name} has no bars of {', '.join(market.symbols)} from {start:%F} to {stop:%F}; "
            "nothing was changed"
        )
    rows = frame.with_columns(
        (pl.col("opened_at_utc") + interval.duration).alias("closed_at_utc"),
        pl.lit(source.name).alias("source"),
        pl.lit(now).dt.cast_time_unit("us").alias("ingested_at_utc"),
    )
    synced = Synced(start, stop, len(rows), fingerprint(frame))
    with warehouse.write() as writer:
        _refuse_a_mix(writer, source.name, interval)
        writer.replace(
            "market.bars",
            rows,
            "opened_at_utc >= $start and opened_at_utc < $stop and list_contains($symbols, symbol)",
            start=start,
            stop=stop,
            symbols=rows["symbol"].unique().to_list(),
        )
        writer.append("ops.syncs", _sync_row(synced, source, market, now))
    return synced


def first_open_to_load(market: MarketSettings, source: BarSource, now: datetime) -> datetime:
    """Return the midnight to load from: of `market.start`, or `history_days` ago, not before the source's first day."""
    start = Interval.D1.floor(market.start or now - market.history_days * Interval.D1.duration)
    span = source.span()
    return start if span is None else max(start, Interval.D1.floor(span[0]))


def load_panel(
    reader: Reader, symbols: tuple[str, ...], interval: Interval, now: datetime, start: datetime | None = None
) -> BarPanel:
    """Return the bars of `interval` that had closed at `now` and opened at or after `start`.

    Raises DataError when a symbol has none.
    """
    frame = reader.query(
        """
        select symbol, opened_at_utc, open, high, low, close, volume, is_filled
        from market.bars_all
        where interval = $interval and closed_at_utc <= $now and opened_at_utc >= $start
        """,
        interval=interval.value,
        now=now,
        start=start or EPOCH,
    )
    return panel_from_frame(frame, symbols, interval)


def fingerprint(frame: pl.DataFrame) -> str:
    """Return a hash of every value in `frame`, in its order of rows and columns."""
    digest = hashlib.blake2b(",".join(frame.columns).encode(), digest_size=12)
    for column in frame.iter_columns():
        values = column.to_physical()
        digest.update("\0".join(values).encode() if values.dtype == pl.String else values.to_numpy().tobytes())
    return digest.hexdigest()


def _refuse_a_mix(writer: Writer, source: str, interval: Interval) -> None:
    other = writer.one(
        """
        select source, epoch_us(closed_at_utc) - epoch_us(opened_at_utc) as length_us from market.bars
        where source <> $source or epoch_us(closed_at_utc) - epoch_us(opened_at_utc) <> $length_us limit 1
        """,
        source=source,
        length_us=interval.us,
    )
    if other:
        minutes = other[1] // 60_000_000
        raise DataError(
            f"this warehouse holds {minutes}-minute bars of source '{other[0]}', not {interval} bars of '{source}'; "
            "bars of two kinds never mix. Choose another folder with --warehouse, or delete this one"
        )


def _sync_row(synced: Synced, source: BarSource, market: MarketSettings, now: datetime) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "synced_at_utc": [now],
            "source": [source.name],
            "interval": [market.base_interval.value],
            "from_utc": [synced.start],
            "to_utc": [synced.stop],
            "symbols": [list(market.symbols)],
            "bars": [synced.n_bars],
            "fingerprint": [synced.fingerprint],
            "record_ends_utc": [record_end(market, source)],
        },
        schema_overrides={
            name: pl.Datetime("us", "UTC") for name in ("synced_at_utc", "from_utc", "to_utc", "record_ends_utc")
        },
    )
