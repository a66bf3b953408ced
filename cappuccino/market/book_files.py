"""Recorded depth in a Parquet file: a snapshot of every level and the changes after it, replayed into books.

Columns: symbol, ts_local (recorder's clock), ts_event (exchange's, empty in the snapshot), first_update_id,
last_update_id, side (bid, ask), price, qty (0 removes the level), kind (snapshot, update). A book counts as seen at the
later of the two clocks, because one of them may run behind.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from heapq import nlargest, nsmallest
from pathlib import Path

import polars as pl

from cappuccino.errors import DataError
from cappuccino.market.book import BOOK_SCHEMA
from cappuccino.market.interval import EPOCH
from cappuccino.market.source import TIME, utc_text

N_LEVELS = 10
_COLUMNS = ("symbol", "ts_local", "ts_event", "first_update_id", "last_update_id", "side", "price", "qty", "kind")
_Level = tuple[str, float, float]
_SIDES = ("bid", "ask")


@dataclass(frozen=True)
class _Message:
    seen_at: datetime
    first_id: int
    last_id: int
    levels: list[_Level]


@dataclass(frozen=True)
class DepthFile:
    """Books of a recording at every `step`, from its snapshot to its last whole step; a `BookSource`."""

    path: Path
    step: timedelta = timedelta(minutes=1)
    n_levels: int = N_LEVELS
    name = "files"

    def books(self, symbols: tuple[str, ...]) -> pl.DataFrame:
        """Return the units on the best levels at every step, in columns of BOOK_SCHEMA; `symbols` as in the file.

        Raises DataError naming file, symbol and time for a file that is absent or has other columns, a symbol without
        a snapshot, updates that are missing, and a book whose bid is not below its ask.
        """
        frame = self._read()
        rows = [row for symbol in sorted(set(symbols)) for row in self._books_of(symbol, frame)]
        return pl.DataFrame(rows, schema=BOOK_SCHEMA, orient="row")

    def _read(self) -> pl.DataFrame:
        if not self.path.is_file():
            raise DataError(f"no file {self.path}; name the Parquet file of a recorded order book")
        frame = pl.read_parquet(self.path)
        absent = [name for name in _COLUMNS if name not in frame.columns]
        if absent:
            raise DataError(f"{self.path}: column {', '.join(absent)} is missing; found {', '.join(frame.columns)}")
        clocks = pl.max_horizontal(pl.col("ts_local", "ts_event").dt.cast_time_unit("us"))
        return frame.with_columns(clocks.cast(TIME).alias("seen_at"))

    def _books_of(self, symbol: str, frame: pl.DataFrame) -> Iterator[tuple[str, datetime, float, float]]:
        own = frame.filter(pl.col("symbol") == symbol)
        where = f"{self.path}: {symbol}"
        snapshot = own.filter(pl.col("kind") == "snapshot")
        if snapshot.is_empty():
            raise DataError(f"{where} has no snapshot to begin with; choose among {_symbols(frame)}")
        last_id = snapshot["last_update_id"][0]
        book: dict[str, dict[float, float]] = {side: {} for side in _SIDES}
        _apply(book, snapshot.select("side", "price", "qty").iter_rows())
        due = _ceil(_known_from(snapshot, own), self.step)
        for message in _messages(own.filter((pl.col("kind") == "update") & (pl.col("last_update_id") > last_id))):
            if message.first_id > last_id + 1:
                raise DataError(
                    f"{where}: updates {last_id + 1} to {message.first_id - 1} are missing before "
                    f"{utc_text(message.seen_at)}; cut the file there, or record again"
                )
            while due < message.seen_at:
                yield symbol, due, *self._units(book, f"{where} at {utc_text(due)}")
                due += self.step
            _apply(book, message.levels)
            last_id = message.last_id

    def _units(self, book: dict[str, dict[float, float]], where: str) -> tuple[float, float]:
        """Return the units on the best levels of (bid, ask)."""
        bids, asks = nlargest(self.n_levels, book["bid"]), nsmallest(self.n_levels, book["ask"])
        if not bids or not asks or bids[0] >= asks[0]:
            best = [
                f"{prices[0] if prices else 'no'} {side}" for side, prices in zip(_SIDES, (bids, asks), strict=True)
            ]
            raise DataError(f"{where}: the book has {' and '.join(best)}, a bid below an ask is needed; record again")
        return sum(book["bid"][price] for price in bids), sum(book["ask"][price] for price in asks)


def _known_from(snapshot: pl.DataFrame, own: pl.DataFrame) -> datetime:
    """Return when the snapshot was seen; it has one clock only, which lags as in the updates."""
    lag = own.select((pl.col("seen_at") - pl.col("ts_local").dt.cast_time_unit("us")).max()).item()
    seen_at: datetime = snapshot["seen_at"].max() + lag
    return seen_at


def _messages(updates: pl.DataFrame) -> Iterator[_Message]:
    """Yield one message after the other: all rows of a `last_update_id`, which are there in the order they came."""
    grouped = updates.group_by("first_update_id", "last_update_id", maintain_order=True).agg(
        pl.col("seen_at").max(), pl.struct("side", "price", "qty").alias("levels")
    )
    for first_id, last_id, seen_at, levels in grouped.iter_rows():
        yield _Message(seen_at, first_id, last_id, [(one["side"], one["price"], one["qty"]) for one in levels])


def _apply(book: dict[str, dict[float, float]], levels: Iterable[_Level]) -> None:
    for side, price, units in levels:
        if units:
            book[side][price] = units
        else:
            book[side].pop(price, None)


def _ceil(moment: datetime, step: timedelta) -> datetime:
    return moment + (EPOCH - moment) % step


def _symbols(frame: pl.DataFrame) -> str:
    return ", ".join(frame.filter(pl.col("kind") == "snapshot")["symbol"].unique().sort()) or "none"
