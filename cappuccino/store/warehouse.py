"""The warehouse: one DuckDB file, opened briefly, by many readers or one writer.

Compute outside, then write: whoever holds the file keeps everybody else waiting. The `flock` beside the file
orders all processes of Cappuccino; an outsider (a DuckDB shell) holds only DuckDB's own lock,
which opening retries.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from cappuccino.errors import WarehouseBusy, WarehouseError
from cappuccino.store import locks, migrate
from cappuccino.store.connection import Reader, Writer, damaged, translated
from cappuccino.store.schema import Schema

__all__ = ["Reader", "Warehouse", "Writer"]

# Files that DuckDB 1.5 can open as well as 2.0.
CREATED_AS = {"storage_compatibility_version": "v1.5.0"}
_open_here = threading.local()


class Warehouse:
    """Access to the DuckDB file `file`, which the first write creates; holds nothing open between calls.

    `timeout_s` is how long an opening waits for others before it raises WarehouseBusy.
    """

    def __init__(self, file: Path, *, timeout_s: float = 60.0) -> None:
        self.file = file.absolute()
        self.timeout_s = timeout_s

    @contextmanager
    def read(self) -> Iterator[Reader]:
        """Open the file read-only, together with other readers.

        Raises WarehouseBusy when a writer stays too long, WarehouseError when the file is missing or damaged.
        """
        self._require_file()
        with self._opened(read_only=True) as connection:
            yield Reader(connection, self.file)

    @contextmanager
    def write(self) -> Iterator[Writer]:
        """Open the file alone, in one transaction: all of the block is stored at its end, or nothing of it.

        Raises WarehouseBusy when others stay too long, WarehouseError for a damaged file or a full disk.
        """
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self._opened(read_only=False) as connection:
            connection.execute("begin transaction")
            try:
                yield Writer(connection, self.file)
                with translated(self.file, "commit"):
                    connection.execute("commit")
            except BaseException:
                # A failed commit has rolled back already, and a broken database cannot.
                with suppress(duckdb.Error):
                    connection.execute("rollback")
                raise

    def query(self, sql: str, /, **params: Any) -> pl.DataFrame:
        """Return the rows of one query, as `Reader.query` does."""
        with self.read() as reader:
            return reader.query(sql, **params)

    def migrate(self, schema: Schema) -> None:
        """Bring tables and views to `schema`; cheap when they are there already.

        Raises ContractError with the statement to run for a difference other than a new column, and
        WarehouseTooNew when a newer Cappuccino has migrated this file.
        """
        if self.file.exists():
            with self.read() as reader:
                if migrate.is_current(reader, schema):
                    return
        with self.write() as writer:
            migrate.migrate(writer, schema)

    def publish(self, to: Path) -> None:
        """Replace `to` by a copy of this file in one step, for people and notebooks to keep open.

        Raises WarehouseBusy or WarehouseError as `read` does.
        """
        self._require_file()
        part = to.with_name(to.name + ".part")
        to.parent.mkdir(parents=True, exist_ok=True)
        with locks.held(to, exclusive=True, timeout_s=self.timeout_s):
            self._copy(part)
            # The log of somebody who changed the old copy does not belong to the new one.
            to.with_name(to.name + ".wal").unlink(missing_ok=True)
            part.replace(to)
            _sync(to.parent)

    def _copy(self, part: Path) -> None:
        """Copy the file while no writer, not even an outsider, can change it."""
        while True:
            with self._opened(read_only=True):
                # A writer that was killed leaves its last transactions in the log, apart from the file.
                if not self._log.exists():
                    shutil.copyfile(self.file, part)
                    _sync(part)
                    return
            self._checkpoint()

    def _checkpoint(self) -> None:
        with self._opened(read_only=False) as connection, translated(self.file, "checkpoint"):
            connection.execute("checkpoint")

    @property
    def _log(self) -> Path:
        return self.file.with_name(self.file.name + ".wal")

    def _require_file(self) -> None:
        if not self.file.is_file():
            raise WarehouseError(
                f"no warehouse at {self.file}; create it with `cappuccino run`, or point to another folder"
            )

    @contextmanager
    def _opened(self, *, read_only: bool) -> Iterator[duckdb.DuckDBPyConnection]:
        deadline = time.monotonic() + self.timeout_s
        with (
            _once_a_thread(self.file),
            locks.held(self.file, exclusive=not read_only, timeout_s=self.timeout_s),
        ):
            connection = self._connect(read_only, deadline)
            try:
                connection.execute("set TimeZone = 'UTC'")
                # DuckDB would draw it into the output of any command that takes two seconds, JSON included.
                connection.execute("set enable_progress_bar = false")
                yield connection
            finally:
                connection.close()

    def _connect(self, read_only: bool, deadline: float) -> duckdb.DuckDBPyConnection:
        config: dict[str, Any] = {} if read_only else dict(CREATED_AS)
        holder = ""
        for pause_s in locks.pauses(deadline):
            try:
                return duckdb.connect(str(self.file), read_only=read_only, config=config)
            except duckdb.Error as error:
                if "Could not set lock" not in str(error):
                    raise damaged(self.file, error) from error
                holder = str(error)
            time.sleep(pause_s)
        raise WarehouseBusy(
            f"{self.file} is held by a program that is not Cappuccino: {holder}\n"
            "Close it, then try again; published.duckdb is the copy to keep open."
        )


@contextmanager
def _once_a_thread(file: Path) -> Iterator[None]:
    """Refuse at once what would wait for itself until the budget is spent: opening inside an opening."""
    files: set[Path] = _open_here.__dict__.setdefault("files", set())
    if file in files:
        raise WarehouseError(f"{file} is open in this thread already; use the reader or writer at hand")
    files.add(file)
    try:
        yield
    finally:
        files.remove(file)


def _sync(path: Path) -> None:
    """Wait until a file or folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
