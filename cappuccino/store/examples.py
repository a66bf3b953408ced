"""Running the given/expect examples of a model's header on an empty database in memory."""

from __future__ import annotations

import math
from typing import Any

import duckdb

from cappuccino.errors import ContractError
from cappuccino.store.frames import aware_row
from cappuccino.store.header import Example, Rows
from cappuccino.store.schema import Schema, SqlFile
from cappuccino.store.tables import Table, quote

RELATIVE_TOLERANCE = 1e-9
Row = tuple[Any, ...]


def run_example(schema: Schema, model: SqlFile, example: Example) -> str | None:
    """Return None when `model` makes the expected rows, in any order, of the given ones, else what differs.

    A given model is taken as it is, others on the way are computed, contracts that are not given are empty.
    Raises ContractError when the example names a table or column that is not there, or a value does not fit.
    """
    with duckdb.connect(":memory:") as connection:
        connection.execute("set TimeZone = 'UTC'")
        try:
            _make_inputs(connection, schema, model, example)
            connection.execute(model.create_sql)
            return _difference(connection, model, example)
        except duckdb.Error as error:
            raise ContractError(f"example {example.name!r} of {model.full_name}: {error}") from None


def _make_inputs(connection: duckdb.DuckDBPyConnection, schema: Schema, model: SqlFile, example: Example) -> None:
    inputs = ancestors(schema, model)
    foreign = [name for name in example.given if name not in inputs]
    if foreign:
        raise ContractError(
            f"example {example.name!r} of {model.full_name} gives {', '.join(foreign)}, "
            f"but the model reads {', '.join(inputs) or 'nothing'}"
        )
    for namespace in {file.schema for file in schema.files}:
        connection.execute(f"create schema {quote(namespace)}")
    for file in schema.files:
        if file.full_name in example.given or (file.full_name in inputs and file.kind == "contract"):
            _fill(connection, file, example.given.get(file.full_name, []))
        elif file.full_name in inputs:
            connection.execute(f"create view {quote(file.full_name)} as\n{file.sql}")


def ancestors(schema: Schema, model: SqlFile) -> tuple[str, ...]:
    """Return the names of all that `model` reads, directly or through other models, sorted."""
    found: set[str] = set()
    waiting = list(model.depends_on)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += schema.models[name].depends_on if name in schema.models else ()
    return tuple(sorted(found))


def _fill(connection: duckdb.DuckDBPyConnection, file: SqlFile, rows: Rows) -> None:
    """Create the table of `file` without its constraints, since an example leaves columns out."""
    columns = {column.name: column.type for column in file.table.columns}
    if file.is_extensible:
        columns |= {name: "DOUBLE" for row in rows for name in row if name not in columns}
    _table_of(connection, file.full_name, columns, rows)


def _table_of(connection: duckdb.DuckDBPyConnection, name: str, columns: dict[str, str], rows: Rows) -> None:
    definition = ", ".join(f"{quote(column)} {kind}" for column, kind in columns.items())
    connection.execute(f"create table {quote(name)} ({definition})")
    for row in rows:
        names = ", ".join(quote(column) for column in row)
        places = ", ".join(f"${position}" for position in range(1, len(row) + 1))
        connection.execute(f"insert into {quote(name)} ({names}) values ({places})", list(row.values()))


def _difference(connection: duckdb.DuckDBPyConnection, model: SqlFile, example: Example) -> str | None:
    compared = list(dict.fromkeys(name for row in example.expect for name in row)) or list(model.table.names)
    unknown = [name for name in compared if model.table.column(name) is None]
    if unknown:
        raise ContractError(f"example {example.name!r} of {model.full_name} expects {', '.join(unknown)}")
    _table_of(connection, "expected", _types(model.table, compared), example.expect)
    selected = ", ".join(quote(name) for name in compared)
    expected = _rows(connection, f"select {selected} from expected")
    found = _rows(connection, f"select {selected} from {quote(model.full_name)} where {example.where}")
    if len(found) == len(expected) and all(map(_same_row, found, expected)):
        return None
    lines = [f"{model.full_name}, example {example.name!r}", f"columns  {', '.join(compared)}"]
    lines += [f"expected {_text(row)}" for row in expected] + [f"found    {_text(row)}" for row in found]
    return "\n".join(lines)


def _types(table: Table, names: list[str]) -> dict[str, str]:
    return {column.name: column.type for column in table.columns if column.name in names}


def _rows(connection: duckdb.DuckDBPyConnection, sql: str) -> list[Row]:
    return sorted((aware_row(row) for row in connection.sql(sql).fetchall()), key=_order)


def _order(row: Row) -> tuple[str, ...]:
    """Rounded numbers last, so that rows which differ in rounding only have the same place in both lists."""
    exact = [repr(value) for value in row if not isinstance(value, float)]
    return (*exact, *(f"{value:.6g}" for value in row if isinstance(value, float)))


def _same_row(found: Row, expected: Row) -> bool:
    return all(map(_same, found, expected))


def _same(found: Any, expected: Any) -> bool:
    if isinstance(found, float) and isinstance(expected, float):
        both_nan = math.isnan(found) and math.isnan(expected)
        return both_nan or math.isclose(found, expected, rel_tol=RELATIVE_TOLERANCE, abs_tol=1e-12)
    return bool(found == expected)


def _text(row: Row) -> str:
    return ", ".join(str(value) for value in row)
