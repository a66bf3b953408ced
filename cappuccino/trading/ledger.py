"""The trader's ledger: one SQLite file, written before anything is sent, and its truth after a crash.

WAL and `synchronous = full`: what a transaction has stored survives a kill and a power cut. Only the trader writes;
others may read at any time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cappuccino.clock import require_utc
from cappuccino.errors import LedgerError
from cappuccino.trading.ledger_schema import TABLES, USER_VERSION

FILE = "ledger.sqlite"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Row = Mapping[str, Any]


def to_us(moment: datetime) -> int:
    """Return microseconds since 1970 UTC."""
    return (require_utc(moment) - _EPOCH) // timedelta(microseconds=1)


def from_us(us: int) -> datetime:
    """Return the aware UTC datetime of microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=us)


class Entry:
    """One transaction of the ledger under way."""

    def __init__(self, connection: sqlite3.Connection, version: int) -> None:
        self._connection, self.version = connection, version

    def insert(self, table: str, **values: Any) -> None:
        """Add a row; raises LedgerError for one that is there already."""
        self._put("insert", table, values)

    def upsert(self, table: str, **values: Any) -> None:
        """Add a row, or put it into the place of the one with its key."""
        self._put("insert or replace", table, values)

    def update(self, table: str, key: Mapping[str, Any], **values: Any) -> None:
        """Change columns of the row with `key`; raises LedgerError when there is none."""
        changed = {**values, "version": self.version}
        assignments = ", ".join(f"{name} = ?" for name in changed)
        where = " and ".join(f"{name} = ?" for name in key)
        done = self._connection.execute(
            f"update {table} set {assignments} where {where}", (*changed.values(), *key.values())
        )
        if done.rowcount != 1:
            raise LedgerError(f"{table} has {done.rowcount} rows of {dict(key)}, one was expected; nothing was changed")

    def delete_before(self, table: str, column: str, us: int) -> None:
        """Remove rows whose time in `column` lies before `us`."""
        self._connection.execute(f"delete from {table} where {column} < ?", (us,))

    def _put(self, verb: str, table: str, values: Mapping[str, Any]) -> None:
        names = (*values, "version")
        places = ", ".join("?" * len(names))
        try:
            self._connection.execute(
                f"{verb} into {table} ({', '.join(names)}) values ({places})", (*values.values(), self.version)
            )
        except sqlite3.IntegrityError as error:
            raise LedgerError(f"{table}: {error} in {dict(values)}; nothing was stored") from None


def _add_missing_columns(connection: sqlite3.Connection) -> None:
    """Bring a ledger of an earlier layout up to date: new columns have a default, or may be empty."""
    with closing(sqlite3.connect(":memory:")) as wanted:
        wanted.executescript(TABLES)
        for (table,) in wanted.execute("select name from sqlite_master where type = 'table'").fetchall():
            there = {row[1] for row in connection.execute(f"pragma table_info({table})")}
            for _, name, kind, is_required, default, _ in wanted.execute(f"pragma table_info({table})").fetchall():
                if name not in there:
                    how = f"not null default {default}" if is_required else ""
                    connection.execute(f"alter table {table} add column {name} {kind} {how}")


class Ledger:
    """The ledger in `folder`, which is made when it is not there.

    Raises LedgerError when the file is damaged or was written by a newer Cappuccino. `is_reader`: open what is there,
    and write nothing.
    """

    def __init__(self, folder: Path, *, is_reader: bool = False) -> None:
        self.file = folder / FILE
        if is_reader and not self.file.is_file():
            raise LedgerError(f"no ledger in {folder}; the trader makes one: `cappuccino trade`")
        folder.mkdir(parents=True, exist_ok=True)
        self._connection = self._opened(is_reader)

    def _opened(self, is_reader: bool) -> sqlite3.Connection:
        try:
            connection = sqlite3.connect(self.file, timeout=10.0, isolation_level=None, check_same_thread=False)
            try:
                connection.row_factory = sqlite3.Row
                self._prepare(connection, is_reader)
            except BaseException:
                connection.close()
                raise
        except sqlite3.Error as error:
            raise LedgerError(
                f"ledger {self.file} cannot be opened: {error}. Move it away, or restore it from a backup; until then "
                "nothing is traded"
            ) from None
        return connection

    def _prepare(self, connection: sqlite3.Connection, is_reader: bool) -> None:
        (found,) = connection.execute("pragma user_version").fetchone()
        if found > USER_VERSION:
            raise LedgerError(
                f"ledger {self.file} is of a newer Cappuccino (layout {found}, this one knows {USER_VERSION}); update"
            )
        if is_reader:
            connection.execute("pragma query_only = on")
            return
        connection.execute("pragma journal_mode = wal")
        connection.execute("pragma synchronous = full")
        connection.executescript(f"begin immediate; {TABLES} pragma user_version = {USER_VERSION}; commit;")
        _add_missing_columns(connection)

    @contextmanager
    def write(self) -> Iterator[Entry]:
        """Store all of the block, or nothing of it. Raises LedgerError when the file cannot be written."""
        connection = self._connection
        try:
            connection.execute("begin immediate")
            (version,) = connection.execute("update clock set version = version + 1 returning version").fetchone()
            yield Entry(connection, version)
            connection.execute("commit")
        except sqlite3.Error as error:
            self._roll_back()
            raise LedgerError(f"ledger {self.file} cannot be written: {error}; nothing was sent") from error
        except BaseException:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("rollback")

    def rows(self, query: str, *values: Any) -> list[sqlite3.Row]:
        """Return what `query` finds, columns by name; raises LedgerError when the file is damaged."""
        with self._reading():
            return self._connection.execute(query, values).fetchall()

    def row(self, query: str, *values: Any) -> sqlite3.Row | None:
        """Return the first row that `query` finds, None without one; raises LedgerError when the file is damaged."""
        with self._reading():
            found: sqlite3.Row | None = self._connection.execute(query, values).fetchone()
            return found

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise LedgerError(
                f"ledger {self.file} cannot be read: {error}. Move it away, or restore it from a backup"
            ) from error

    def since(self, table: str, version: int, limit: int) -> Sequence[sqlite3.Row]:
        """Return rows that were written after `version`, oldest first, whole transactions of about `limit` rows."""
        newest = self.row(
            f"select version from {table} where version > ? order by version limit 1 offset ?", version, limit
        )
        until = newest["version"] if newest else 2**62
        return self.rows(f"select * from {table} where version > ? and version <= ? order by version", version, until)

    @property
    def version(self) -> int:
        """Version of the newest transaction."""
        found = self.row("select version from clock")
        return int(found["version"]) if found else 0

    def close(self) -> None:
        self._connection.close()
