"""The trader's ledger in the warehouse: every row that was written since the last time, once.

    ledger (SQLite)   version 1 ....... 812 | 813 ..... 845     the newest transaction
                                            ^
    desk.mirrors      table_name, 812       |  what is behind it is copied next, in whole transactions

A piece's rows and how far it reaches are stored in one transaction, so a kill loses nothing and doubles nothing. Rows
that change, as those of orders, come again with a new version and take the place of the old ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from cappuccino.clock import require_utc
from cappuccino.settings import Settings
from cappuccino.store.warehouse import Reader, Warehouse, Writer
from cappuccino.trading import model_rows
from cappuccino.trading.ledger import Ledger
from cappuccino.trading.ledger_frames import TIME, desk_table, frame_of, ledger_at
from cappuccino.trading.ledger_schema import MIRRORED

CHUNK_ROWS = 20_000
"""Rows that are stored in one transaction, about."""
KEYED = ("accounts", "decisions", "convictions", "orders", "fills", "equity", "looks", "positions")
"""Tables whose rows have a key. `votes` go to desk.votes only, the others are appended to."""


@dataclass(frozen=True)
class Mirrored:
    """What one call has copied."""

    version: int
    """Of the ledger."""
    n_rows: Mapping[str, int] = field(default_factory=dict)
    """Rows by table of the ledger, without those that had none."""


@dataclass(frozen=True)
class _Piece:
    """Rows of one table that were written by transactions (since, until]."""

    table: str
    since: int
    until: int
    rows: pl.DataFrame


def mirror(warehouse: Warehouse, settings: Settings, now: datetime, chunk_rows: int = CHUNK_ROWS) -> Mirrored | None:
    """Copy what is new in the ledger of `settings.desk`; None without a ledger.

    Raises LedgerError for a damaged ledger. What was copied before is kept.
    """
    with ledger_at(settings.desk) as ledger:
        if ledger is None:
            return None
        version, n_rows = ledger.version, Counter[str]()
        marks = _marks_of(warehouse, version)
        for batch in _batches(_pieces(ledger, marks, version, chunk_rows), chunk_rows):
            with warehouse.write() as writer:
                n_rows.update(_store(writer, batch, settings.execution.maker_share_target_frac, require_utc(now)))
    return Mirrored(version, dict(n_rows))


def is_behind(reader: Reader, ledger: Ledger) -> bool:
    """Return whether the ledger has something that is not copied yet."""
    marks = read_marks(reader)
    return any(marks.get(table, 0) != ledger.version for table in MIRRORED)


def read_marks(reader: Reader) -> dict[str, int]:
    """Return up to which version each table of the ledger is copied."""
    return dict(reader.query("select table_name, version from desk.mirrors").iter_rows())


def _marks_of(warehouse: Warehouse, version: int) -> dict[str, int]:
    """Return how far each table is copied; nothing of a ledger that is older than that, which is another one."""
    with warehouse.read() as reader:
        marks = read_marks(reader)
    if max(marks.values(), default=0) <= version:
        return marks
    with warehouse.write() as writer:
        writer.execute("delete from desk.mirrors")
    return {}


def _pieces(ledger: Ledger, marks: Mapping[str, int], version: int, chunk_rows: int) -> Iterator[_Piece]:
    """Yield what is new of each table, in the ledger's order: accounts and decisions before what refers to them."""
    for table in MIRRORED:
        since = marks.get(table, 0)
        while since < version:
            rows = ledger.since(table, since, chunk_rows)
            until = int(rows[-1]["version"]) if len(rows) > chunk_rows else version
            yield _Piece(table, since, until, frame_of(ledger, table, rows))
            since = until


def _batches(pieces: Iterable[_Piece], chunk_rows: int) -> Iterator[list[_Piece]]:
    """Yield pieces that are stored together: most have a few rows, and a transaction costs more than those."""
    batch: list[_Piece] = []
    for piece in pieces:
        batch.append(piece)
        if sum(len(one.rows) for one in batch) >= chunk_rows:
            yield batch
            batch = []
    if batch:
        yield batch


def _store(writer: Writer, batch: list[_Piece], maker_target_frac: float, now: datetime) -> dict[str, int]:
    """Store a batch; a piece that somebody else has copied meanwhile is left out."""
    marks = read_marks(writer)
    new = [piece for piece in batch if marks.get(piece.table, 0) == piece.since]
    for piece in new:
        if len(piece.rows):
            _store_rows(writer, piece.table, piece.rows, maker_target_frac)
    if new:
        writer.upsert("desk.mirrors", _mark_rows(new, now))
    return {piece.table: len(piece.rows) for piece in new if len(piece.rows)}


def _mark_rows(pieces: list[_Piece], now: datetime) -> pl.DataFrame:
    rows = [{"table_name": one.table, "version": one.until, "mirrored_at_utc": now} for one in pieces]
    return pl.DataFrame(rows, schema_overrides={"mirrored_at_utc": TIME})


def _store_rows(writer: Writer, table: str, rows: pl.DataFrame, maker_target_frac: float) -> None:
    if table == "fills":
        rows = rows.with_columns(pl.lit(maker_target_frac).alias("maker_target_frac"))
    if table in KEYED:
        writer.upsert(desk_table(table), rows)
    elif table != "votes":
        _append_new(writer, desk_table(table), rows)
    model_rows.store(writer, table, rows)


def _append_new(writer: Writer, table: str, rows: pl.DataFrame) -> None:
    """Append those of `rows` that are not there: a ledger that came back from a backup is read anew."""
    known = writer.query(
        f"from {table} where at_utc between $first and $last", first=rows["at_utc"].min(), last=rows["at_utc"].max()
    )
    writer.append(table, rows.join(known, on=rows.columns, how="anti", nulls_equal=True))
