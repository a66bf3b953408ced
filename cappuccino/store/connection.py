"""What one opening of the warehouse offers: queries to a reader, one transaction to a writer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from cappuccino.errors import ContractError, WarehouseError
from cappuccino.store import bookkeeping, rows, tables
from cappuccino.store.frames import aware_frame, aware_row, naive_frame, naive_params
from cappuccino.store.tables import Table, quote

_BROKEN = (duckdb.InternalException, duckdb.FatalException, duckdb.SerializationException)


@contextmanager
def translated(file: Path, sql: str) -> Iterator[None]:
    """Turn DuckDB's errors into ours, with the file and the statement."""
    try:
        yield
    except duckdb.ConstraintException as error:
        raise ContractError(f"{file}: {error}\nin: {sql.strip()}") from error
    except duckdb.Error as error:
        if isinstance(error, _BROKEN) or _concerns(file, error):
            raise damaged(file, error) from error
        raise WarehouseError(f"{file}: {error}\nin: {sql.strip()}") from error


def _concerns(file: Path, error: duckdb.Error) -> bool:
    """A query may also read other files, a Parquet file say, and fail on those."""
    return isinstance(error, duckdb.IOException) and (file.name in str(error) or "Corrupt" in str(error))


def damaged(file: Path, error: duckdb.Error) -> WarehouseError:
    """Return the error for a file that DuckDB cannot read."""
    return WarehouseError(
        f"{file} cannot be read: {error}\n"
        "If the disk is full, free some space. If the file is damaged, move it away and restore the newest "
        "backup, or copy published.duckdb into its place."
    )


class Reader:
    """Read-only view of the warehouse at one moment; valid inside its `with` block only."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, file: Path) -> None:
        self.connection = connection
        """The DuckDB connection itself, for what this class lacks; its times are naive UTC."""
        self.file = file

    def query(self, sql: str, /, **params: Any) -> pl.DataFrame:
        """Return the rows of `sql`; `$name` in it takes `params`.

        Times come as Datetime("us", "UTC"), DuckDB's INTERVAL as text.
        Raises WarehouseError with DuckDB's text when the query fails.
        """
        with translated(self.file, sql):
            relation = self._run(sql, params)
            return pl.DataFrame() if relation is None else aware_frame(_without_intervals(relation).pl())

    def one(self, sql: str, /, **params: Any) -> tuple[Any, ...] | None:
        """Return the only row of `sql`, None when there is none; times are aware UTC.

        Raises WarehouseError when there are several, because which one would be meant is left to chance.
        """
        with translated(self.file, sql):
            relation = self._run(sql, params)
            found = [] if relation is None else relation.limit(2).fetchall()
        if len(found) > 1:
            raise WarehouseError(f"expected at most one row, found more; add a condition or a limit\nin: {sql.strip()}")
        return aware_row(found[0]) if found else None

    def _run(self, sql: str, params: dict[str, Any]) -> duckdb.DuckDBPyRelation | None:
        relation: duckdb.DuckDBPyRelation | None = self.connection.sql(sql, params=naive_params(params))
        return relation


class Writer(Reader):
    """A reader inside one transaction: the end of its `with` block commits, any exception rolls back."""

    def execute(self, sql: str, /, **params: Any) -> None:
        """Run one statement; raises WarehouseError, or ContractError when it breaks a constraint."""
        with translated(self.file, sql):
            self.connection.execute(sql, naive_params(params))

    def append(self, table: str, frame: pl.DataFrame) -> int:
        """Add the rows of `frame` to `table` ("schema.name") and return their number.

        Raises ContractError when the rows break the table's contract or one of their keys is there already.
        """
        return self._insert("insert into", table, frame)

    def upsert(self, table: str, frame: pl.DataFrame) -> int:
        """Add the rows of `frame`, replacing those with the same primary key; return their number.

        Raises ContractError when the rows break the contract or the table has no primary key.
        """
        if not tables.require(self.connection, table).primary_key:
            raise ContractError(f"{table} has no primary key to replace rows by; use append or replace")
        return self._insert("insert or replace into", table, frame)

    def replace(self, table: str, frame: pl.DataFrame, where: str, /, **params: Any) -> int:
        """Delete the rows of `table` for which `where` is true, add those of `frame`; return how many.

        `where` is SQL over the table's columns with `$name` for `params`, such as "opened_at_utc >= $start".
        Raises ContractError when a row of `frame` breaks the contract or lies outside of `where`, because the
        next replacement would meet it again.
        """
        return self._insert("insert into", table, frame, instead_of=(where, params))

    def _insert(
        self, verb: str, table: str, frame: pl.DataFrame, instead_of: tuple[str, dict[str, Any]] | None = None
    ) -> int:
        frame = naive_frame(frame)
        self.connection.register("incoming", frame)
        shape = self._checked(frame, table)
        if instead_of:
            where, params = instead_of
            self._check_inside(table, where, params)
            self.execute(f"delete from {quote(table)} where {where}", **params)
        selected = ", ".join(_cast(name, frame, shape) for name in frame.columns)
        names = ", ".join(quote(name) for name in frame.columns)
        self._insert_rows(f"{verb} {quote(table)} ({names}) select {selected} from incoming")
        self.connection.unregister("incoming")
        return len(frame)

    def _insert_rows(self, sql: str) -> None:
        try:
            self.execute(sql)
        except WarehouseError as error:
            # A number too large for its column is the rows' fault, as a repeated key is.
            if isinstance(error.__cause__, duckdb.ConversionException | duckdb.OutOfRangeException):
                raise ContractError(str(error)) from error.__cause__
            raise

    def _checked(self, frame: pl.DataFrame, name: str) -> Table:
        table = tables.require(self.connection, name)
        own = bookkeeping.contract_columns(self.connection, name)
        new = [extra for extra in rows.extra_columns(frame, table) if frame.schema[extra] == pl.Float64]
        if own is not None and new:
            table = self._extend(name, new)
        types = [str(dtype) for dtype in self.connection.sql("from incoming").types]
        required = [c.name for c in table.columns if c.default is None and (own is None or c.name in own)]
        rows.check_columns(frame, types, table, required)
        rows.check_nulls(frame, table)
        rows.check_keys(frame, table)
        return table

    def _extend(self, name: str, new: list[str]) -> Table:
        """Add DOUBLE columns to a table whose contract is extensible."""
        for column in new:
            self.execute(f"alter table {quote(name)} add column {quote(column)} double")
        return tables.require(self.connection, name)

    def _check_inside(self, table: str, where: str, params: dict[str, Any]) -> None:
        outside = self.one(f"select count(*) from incoming where ({where}) is not true", **params)
        if outside and outside[0]:
            raise ContractError(
                f"{outside[0]} rows for {table} lie outside of the part to replace ({where}, {params}); "
                "hand in only rows of that part"
            )


def _without_intervals(relation: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """Polars cannot read DuckDB's INTERVAL (months, days and time); return such columns as text."""
    kinds = dict(zip(relation.columns, (str(dtype) for dtype in relation.types), strict=True))
    texts = [f"{quote(name)}::varchar as {quote(name)}" for name, kind in kinds.items() if kind == "INTERVAL"]
    return relation.project(f"* replace ({', '.join(texts)})") if texts else relation


def _cast(name: str, frame: pl.DataFrame, table: Table) -> str:
    column = table.column(name)
    assert column is not None
    # DuckDB 1.5 reads a column without any value as INTEGER, which it then cannot cast to a list.
    return "null" if frame.schema[name] == pl.Null else f"cast({quote(name)} as {column.type})"
