"""Order books into the warehouse: how much is wanted and offered, one row per symbol and moment."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol, runtime_checkable

import polars as pl

from cappuccino.errors import DataError
from cappuccino.market.source import TIME, RemoteSource, utc_text
from cappuccino.store.warehouse import Warehouse

TABLE = "market.books"
BOOK_SCHEMA: dict[str, pl.DataType] = {
    "symbol": pl.String(),
    "seen_at_utc": TIME,
    "bid_units": pl.Float64(),
    "ask_units": pl.Float64(),
}
"""Columns of a snapshot: base units on the best levels of each side."""


@runtime_checkable
class BookSource(Protocol):
    """Where order books come from."""

    @property
    def name(self) -> str:
        """Short name for tables and messages."""
        ...

    def books(self, symbols: tuple[str, ...]) -> pl.DataFrame:
        """Return what the source knows of the books of `symbols`, in columns of BOOK_SCHEMA.

        `seen_at_utc` is when it was known. A symbol without a book has no row. Raises SourceError or DataError.
        """
        ...


def record_books(warehouse: Warehouse, source: BookSource, symbols: tuple[str, ...], now: datetime) -> int:
    """Add what `source` says of the books of `symbols` to market.books and return the number of rows.

    A row of the same symbol, moment and source is replaced, so that a file may be read twice. `now` dates the calls of
    a source that is asked over a network. Raises DataError for a book that cannot be true, and what the source raises.
    """
    try:
        books = check_books(source.books(symbols), symbols, source.name)
    finally:
        if isinstance(source, RemoteSource):
            _keep_calls(warehouse, source, now)
    rows = books.with_columns(pl.lit(source.name).alias("source"))
    with warehouse.write() as writer:
        return writer.upsert(TABLE, rows)


def check_books(frame: pl.DataFrame, symbols: tuple[str, ...], origin: str) -> pl.DataFrame:
    """Return `frame` with exactly the columns of BOOK_SCHEMA, proven to be books of `symbols`.

    Raises DataError that names `origin`, symbol and time of the first row that has an unknown symbol, no time, a
    number that is not finite or below zero, nothing on either side, or a moment that another has.
    """
    if {name: frame.schema.get(name) for name in BOOK_SCHEMA} != BOOK_SCHEMA:
        found = ", ".join(f"{name} {kind}" for name, kind in frame.schema.items())
        wanted = ", ".join(f"{name} {kind}" for name, kind in BOOK_SCHEMA.items())
        raise DataError(f"{origin}: books have columns {found}; they need {wanted}")
    frame = frame.select(*BOOK_SCHEMA)
    for is_bad, text in _failures(symbols):
        bad = frame.filter(is_bad.fill_null(value=True))
        if len(bad):
            row = bad.row(0, named=True)
            where = f"{row['symbol']} at {utc_text(row['seen_at_utc'])}"
            raise DataError(f"{origin}: book of {where}: {text.format(**row)}; correct the row, or leave it out")
    return frame


def _failures(symbols: tuple[str, ...]) -> list[tuple[pl.Expr, str]]:
    sides = ("bid_units", "ask_units")
    return [
        (~pl.col("symbol").is_in(symbols), f"not one of {', '.join(symbols)}"),
        (pl.col("seen_at_utc").is_null(), "seen_at_utc is missing"),
        *((~(pl.col(side).is_finite() & (pl.col(side) >= 0)), f"{side} is {{{side}}}") for side in sides),
        ((pl.col("bid_units") == 0) & (pl.col("ask_units") == 0), "both sides are empty"),
        (pl.struct("symbol", "seen_at_utc").is_duplicated(), "it is there twice"),
    ]


def _keep_calls(warehouse: Warehouse, source: RemoteSource, now: datetime) -> None:
    calls = source.drain().with_columns(pl.lit(now).cast(TIME).alias("synced_at_utc"))
    if len(calls):
        with warehouse.write() as writer:
            writer.append("ops.api_errors", calls)
