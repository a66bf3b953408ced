"""Bars from a source into the warehouse, and panels out of it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from cappuccino.errors import DataError
from cappuccino.market.covered import covered
from cappuccino.market.inputs import NO_INPUTS, Inputs, with_inputs
from cappuccino.market.interval import EPOCH, Interval
from cappuccino.market.panel import BarPanel, panel_from_frame
from cappuccino.market.ranges import Ask, missing, pieces
from cappuccino.market.source import BAR_SCHEMA, BarSource, RemoteSource
from cappuccino.market.sources import record_end
from cappuccino.settings import MarketSettings
from cappuccino.store.warehouse import Reader, Warehouse, Writer

TIME = pl.Datetime("us", "UTC")


@dataclass(frozen=True)
class Synced:
    """What one sync stored."""

    start: datetime
    stop: datetime
    n_bars: int
    """Bars that the source has there, of what was asked for."""
    n_new: int
    n_changed: int
    """Stored bars that the source has corrected or withdrawn."""
    fingerprint: str


@dataclass(frozen=True)
class SyncProgress:
    """How far a sync has come."""

    ask: Ask
    """The piece that was stored last."""
    n_bars: int
    """Bars that were answered so far."""
    done_frac: float
    elapsed_s: float

    @property
    def left_s(self) -> float:
        return self.elapsed_s * (1 - self.done_frac) / self.done_frac

    def __str__(self) -> str:
        n_others = len(self.ask.symbols) - 1
        symbols = self.ask.symbols[0] + (f" + {n_others}" if n_others else "")
        rate = self.n_bars / self.elapsed_s if self.elapsed_s else 0.0
        return (
            f"{symbols} until {self.ask.stop:%F %R}: {self.n_bars:,} bars, {self.done_frac:.0%}, "
            f"{rate:,.0f} bars/s, {self.left_s:.0f} s left"
        )


OnProgress = Callable[[SyncProgress], None]


def sync_bars(
    warehouse: Warehouse,
    source: BarSource,
    market: MarketSettings,
    start: datetime,
    stop: datetime,
    now: datetime,
    *,
    only_missing: bool = False,
    on_progress: OnProgress | None = None,
) -> Synced:
    """Replace the stored bars that opened in [start, stop) and had closed at `now` by those of `source`.

    Works piece by piece, oldest first, asks outside the lock and stores each piece in one transaction: killed at any
    moment, nothing is half-written. With `only_missing` it asks for what no sync has stored yet, for the newest bars
    again, and for days that lack bars a few times more; a stored bar that the answer leaves out then stays, as it does
    where the source handed over bars that cannot be true. Symbols that the source says nothing about keep their bars.
    Raises DataError when the warehouse holds bars of another source or base interval, or when the source has nothing
    there at all, SourceError when it fails.
    """
    interval = market.base_interval
    stop = min(stop, interval.floor(now))
    if stop <= start:
        raise DataError(
            f"no {interval} bar between {start:%F %R} and {stop:%F %R} UTC has closed at {now:%F %R}; "
            "choose an earlier range"
        )
    asks: tuple[Ask, ...] = (Ask(market.symbols, start, stop),)
    if warehouse.file.is_file():
        with warehouse.read() as reader:
            _refuse_a_mix(reader, source.name, interval)
            if only_missing:
                asks = missing(market.symbols, (start, stop), covered(reader, source.name, market, now))
    sync = _Sync(warehouse, source, market, now, on_progress or (lambda _: None), keeps=only_missing)
    done = sync.run(asks)
    is_late = only_missing and len(asks) > 0 and _has_bars(warehouse, market)
    if asks and not done.n_bars and not is_late:
        raise DataError(
            f"source {source.name} has no bars of {', '.join(market.symbols)} from {start:%F %R} to {stop:%F %R} UTC; "
            "nothing was changed"
        )
    return Synced(start, stop, done.n_bars, done.n_new, done.n_changed, done.fingerprint)


class _Sync:
    """One sync under way."""

    def __init__(
        self,
        warehouse: Warehouse,
        source: BarSource,
        market: MarketSettings,
        now: datetime,
        say: OnProgress,
        *,
        keeps: bool,
    ) -> None:
        self.warehouse, self.source, self.market, self.now, self.say = warehouse, source, market, now, say
        self.keeps = keeps
        self.n_bars = self.n_new = self.n_changed = 0
        self._fingerprints: list[str] = []
        self._before_first: list[pl.DataFrame] = []

    @property
    def fingerprint(self) -> str:
        if len(self._fingerprints) == 1:
            return self._fingerprints[0]
        return hashlib.blake2b("".join(self._fingerprints).encode(), digest_size=12).hexdigest()

    def run(self, asks: tuple[Ask, ...]) -> _Sync:
        interval, started_s = self.market.base_interval, time.monotonic()
        n_wanted, n_asked = sum(ask.n_bars(interval) for ask in asks), 0
        for ask in asks:
            for piece in pieces(ask, interval, self.source.chunk_bars):
                self._store(piece, *self._answer(piece))
                n_asked += piece.n_bars(interval)
                self.say(SyncProgress(piece, self.n_bars, n_asked / n_wanted, time.monotonic() - started_s))
        if self.keeps and self._before_first and _has_bars(self.warehouse, self.market):
            with self.warehouse.write() as writer:
                writer.append("ops.syncs", pl.concat(self._before_first))
        return self

    def _answer(self, ask: Ask) -> tuple[pl.DataFrame, bool]:
        """Return the bars of the source, and whether stored bars that are not among them stay.

        How the calls went is kept even when they fail.
        """
        n_bad = 0
        try:
            frame = self.source.bars(ask.symbols, self.market.base_interval, ask.start, ask.stop)
        finally:
            if isinstance(self.source, RemoteSource):
                calls = self.source.drain().with_columns(pl.lit(self.now).cast(TIME).alias("synced_at_utc"))
                n_bad = int(calls.filter(pl.col("outcome") == "bad_bar")["calls"].sum())
                if len(calls):
                    with self.warehouse.write() as writer:
                        writer.append("ops.api_errors", calls)
        return frame, self.keeps or n_bad > 0

    def _store(self, ask: Ask, frame: pl.DataFrame, keeps: bool) -> None:
        """Store what the answer has new or different in one transaction, and remove what it lacks unless `keeps`."""
        before = self._stored(ask, frame["symbol"].unique().to_list())
        known = frame.join(before, on=["symbol", "opened_at_utc"], how="semi")
        fresh = frame.join(before, on=list(BAR_SCHEMA), how="anti")
        n_new, n_other = len(frame) - len(known), len(fresh) - (len(frame) - len(known))
        n_withdrawn = 0 if keeps else len(before) - len(known)
        self._fingerprints.append(fingerprint(frame))
        row = self._sync_row(ask, len(frame), n_new, n_other + n_withdrawn)
        if not self.n_bars and frame.is_empty():
            # Before the market's first bar; worth remembering once it is clear that there are bars at all.
            self._before_first.append(row)
            return
        with self.warehouse.write() as writer:
            if len(fresh) or n_withdrawn:
                _refuse_a_mix(writer, self.source.name, self.market.base_interval)
                self._replace(writer, ask, fresh if keeps else frame, keeps)
            writer.append("ops.syncs", pl.concat([*self._before_first, row]))
        self._before_first.clear()
        self.n_bars += len(frame)
        self.n_new += n_new
        self.n_changed += n_other + n_withdrawn

    def _replace(self, writer: Writer, ask: Ask, frame: pl.DataFrame, keeps: bool) -> None:
        where = "opened_at_utc >= $start and opened_at_utc < $stop and list_contains($symbols, symbol)"
        if keeps:
            where += " and (symbol, opened_at_utc) in (select symbol, opened_at_utc from incoming)"
        symbols = frame["symbol"].unique().to_list()
        writer.replace("market.bars", self._rows(frame), where, start=ask.start, stop=ask.stop, symbols=symbols)

    def _stored(self, ask: Ask, symbols: list[str]) -> pl.DataFrame:
        return self.warehouse.query(
            """
            select symbol, opened_at_utc, open, high, low, close, volume from market.bars
            where opened_at_utc >= $start and opened_at_utc < $stop and list_contains($symbols, symbol)
            """,
            start=ask.start,
            stop=ask.stop,
            symbols=symbols,
        )

    def _rows(self, frame: pl.DataFrame) -> pl.DataFrame:
        return frame.with_columns(
            (pl.col("opened_at_utc") + self.market.base_interval.duration).alias("closed_at_utc"),
            pl.lit(self.source.name).alias("source"),
            pl.lit(self.now).dt.cast_time_unit("us").alias("ingested_at_utc"),
        )

    def _sync_row(self, ask: Ask, n_bars: int, n_new: int, n_changed: int) -> pl.DataFrame:
        row = {
            "synced_at_utc": self.now,
            "source": self.source.name,
            "interval": self.market.base_interval.value,
            "from_utc": ask.start,
            "to_utc": ask.stop,
            "symbols": list(ask.symbols),
            "bars": n_bars,
            "fingerprint": self._fingerprints[-1],
            "record_ends_utc": record_end(self.market, self.source),
            "new_bars": n_new,
            "changed_bars": n_changed,
            "stale_after_minutes": self.market.max_bar_age.total_seconds() / 60,
        }
        times = ("synced_at_utc", "from_utc", "to_utc", "record_ends_utc")
        return pl.DataFrame([row], schema_overrides=dict.fromkeys(times, TIME))


def first_open_to_load(market: MarketSettings, source: BarSource, now: datetime) -> datetime:
    """Return the midnight to load from: of `market.start`, or `history_days` ago, not before the source's first day."""
    start = Interval.D1.floor(market.start or now - market.history_days * Interval.D1.duration)
    span = source.span()
    return start if span is None else max(start, Interval.D1.floor(span[0]))


def load_panel(
    reader: Reader,
    symbols: tuple[str, ...],
    interval: Interval,
    now: datetime,
    start: datetime | None = None,
    inputs: Inputs = NO_INPUTS,
) -> BarPanel:
    """Return the bars of `interval` that had closed at `now` and opened at or after `start`, with `inputs`.

    Whoever computes features from it hands in the inputs of their spec. Raises DataError when a symbol has no bars,
    or a value of an input is no number.
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
    return with_inputs(reader, panel_from_frame(frame, symbols, interval), inputs)


def fingerprint(frame: pl.DataFrame) -> str:
    """Return a hash of every value in `frame`, in its order of rows and columns."""
    digest = hashlib.blake2b(",".join(frame.columns).encode(), digest_size=12)
    for column in frame.iter_columns():
        values = column.to_physical()
        digest.update(_text(values) if values.dtype == pl.String else values.to_numpy().tobytes())
    return digest.hexdigest()


def _text(values: pl.Series) -> bytes:
    joined: str = values.str.join("\0").item()
    return joined.encode()


def _has_bars(warehouse: Warehouse, market: MarketSettings) -> bool:
    """Return whether bars are stored: then a venue that has nothing to add is late, which the checks will say."""
    found = warehouse.query(
        "select 1 from market.bars where list_contains($symbols, symbol) limit 1", symbols=list(market.symbols)
    )
    return not found.is_empty()


def _refuse_a_mix(reader: Reader, source: str, interval: Interval) -> None:
    other = reader.one(
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
