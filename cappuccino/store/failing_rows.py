"""Row tests of a header as SQL that selects the rows that fail."""

from __future__ import annotations

from dataclasses import dataclass

from cappuccino.store.header import RowTest
from cappuccino.store.tables import literal, quote


@dataclass(frozen=True)
class TableTest:
    """One test of a table; it passes when `failing_sql` selects no row."""

    name: str
    """Such as "not_null(symbol)"."""
    failing_sql: str


def table_tests(table: str, tests: tuple[RowTest, ...]) -> tuple[TableTest, ...]:
    """Return the tests of table "schema.name", one for each column where they name several apart."""
    return tuple(made for test in tests for made in _table_tests(quote(table), test))


def _table_tests(table: str, test: RowTest) -> list[TableTest]:
    if test.not_null is not None:
        return [_where(f"not_null({c})", table, f"{quote(c)} is null") for c in test.not_null]
    if test.unique is not None:
        return [_unique(table, test.unique)]
    if test.accepted is not None:
        return [_where(f"accepted({c})", table, _outside(c, values)) for c, values in test.accepted.items()]
    if test.positive is not None:
        return [_where(f"positive({c})", table, _not_positive(c)) for c in test.positive]
    if test.relationship is not None:
        return [_relationship(table, test.relationship.column, test.relationship.to)]
    assert test.expression is not None
    return [_where(f"expression({test.expression})", table, f"({test.expression}) is not true")]


def _where(name: str, table: str, condition: str) -> TableTest:
    return TableTest(name, f"select * from {table} where {condition}")


def _unique(table: str, columns: list[str]) -> TableTest:
    key = ", ".join(quote(c) for c in columns)
    sql = f"select {key}, count(*) as n_rows from {table} group by {key} having count(*) > 1"
    return TableTest(f"unique({', '.join(columns)})", sql)


def _outside(column: str, values: list[str | int | bool]) -> str:
    accepted = ", ".join(literal(value) if isinstance(value, str) else str(value).lower() for value in values)
    return f"{quote(column)} is not null and {quote(column)} not in ({accepted})"


def _not_positive(column: str) -> str:
    # DuckDB orders NaN above every number.
    return f"{quote(column)} <= 0 or isnan({quote(column)}::double)"


def _relationship(table: str, column: str, to: str) -> TableTest:
    other, _, other_column = to.rpartition(".")
    known = f"select {quote(other_column)} from {quote(other)} where {quote(other_column)} is not null"
    condition = f"{quote(column)} is not null and {quote(column)} not in ({known})"
    return _where(f"relationship({column} -> {to})", table, condition)
