"""Rows of the ledger as frames of the warehouse: times are times, decimal texts numbers, 0 and 1 booleans.

A column keeps its name, but for times: `recorded_us` becomes `recorded_at_utc`, and `at_us` `at_utc`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from cappuccino.errors import LedgerError
from cappuccino.trading.ledger import FILE, Ledger

TIME = pl.Datetime("us", "UTC")
_TYPES = {"INTEGER": pl.Int64(), "REAL": pl.Float64(), "TEXT": pl.String()}
_EXACT = ("_usd", "_frac")
_UNITS = ("units", "filled_units", "fee_units", "venue_units")
_NAMES = {
    "accounts": "trader_accounts",
    "convictions": "conviction",
    "fills": "order_fills",
    "equity": "trader_equity",
}


def desk_table(table: str) -> str:
    """Return the table of the warehouse that is the copy of the ledger's `table`."""
    return f"desk.{_NAMES.get(table, table)}"


@contextmanager
def ledger_at(folder: Path) -> Iterator[Ledger | None]:
    """Open the ledger in `folder` to read it as it is now; None while the trader has not made one.

    All reads of the block see the same moment. Raises LedgerError when the file is damaged.
    """
    file = folder / FILE
    if not file.is_file() or not file.stat().st_size:
        yield None
        return
    ledger = Ledger(folder, is_reader=True)
    try:
        ledger.rows("begin")
        is_made = ledger.row("select 1 from sqlite_master where name = 'clock'") is not None
        yield ledger if is_made else None
    except sqlite3.DatabaseError as error:
        raise LedgerError(
            f"ledger {file} cannot be read: {error}. Move it away, or restore it from a backup; nothing was copied"
        ) from error
    finally:
        ledger.close()


def frame_of(ledger: Ledger, table: str, rows: Sequence[sqlite3.Row]) -> pl.DataFrame:
    """Return `rows`, each with all columns of the ledger's `table`, with the names and types of the warehouse."""
    columns = {row["name"]: row["type"].upper() for row in ledger.rows(f"pragma table_info({table})")}
    return pl.DataFrame([_series(name, kind, [row[name] for row in rows]) for name, kind in columns.items()])


def time_column(name: str) -> str:
    """Return the warehouse's name of a time: `at_us` -> `at_utc`, `closed_us` -> `closed_at_utc`."""
    return "at_utc" if name == "at_us" else name.removesuffix("us") + "at_utc"


def _series(name: str, kind: str, values: list[object]) -> pl.Series:
    if name.endswith("_us"):
        return pl.Series(time_column(name), values, pl.Int64).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    if name.startswith("is_") or name == "passed":
        return pl.Series(name, values, pl.Int64).cast(pl.Boolean)
    if kind == "TEXT" and (name.endswith(_EXACT) or name in _UNITS):
        return pl.Series(name, [None if value is None else float(str(value)) for value in values], pl.Float64)
    return pl.Series(name, values, _TYPES[kind])
