"""What DuckDB knows about a table: columns, key, constraints."""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from cappuccino.errors import ContractError


@dataclass(frozen=True)
class Column:
    name: str
    type: str
    is_nullable: bool
    default: str | None


@dataclass(frozen=True)
class Table:
    """Shape of a table or view; views have columns only."""

    name: str
    """`schema.name`."""
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...] = ()
    constraints: frozenset[str] = frozenset()
    """Texts of CHECK, UNIQUE and FOREIGN KEY constraints."""

    def column(self, name: str) -> Column | None:
        return next((column for column in self.columns if column.name == name), None)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)


def quote(identifier: str) -> str:
    """Return a name, or `schema.name`, as quoted SQL."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in identifier.split("."))


def literal(text: str) -> str:
    """Return `text` as an SQL string."""
    return "'" + text.replace("'", "''") + "'"


def existing(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """Return "table" or "view" for each `schema.name` in the database."""
    rows = connection.sql(
        """
        select schema_name || '.' || table_name, 'table' from duckdb_tables() where not internal
        union all
        select schema_name || '.' || view_name, 'view' from duckdb_views() where not internal
        """
    ).fetchall()
    return dict(rows)


def find(connection: duckdb.DuckDBPyConnection, name: str) -> Table | None:
    """Return the shape of table or view `name` ("schema.name"), or None when the database has none."""
    schema, _, table = name.partition(".")
    where = {"schema": schema, "table": table}
    columns = connection.sql(
        """
        select column_name, data_type, is_nullable, column_default
        from duckdb_columns() where schema_name = $schema and table_name = $table order by column_index
        """,
        params=where,
    ).fetchall()
    if not columns:
        return None
    constraints = connection.sql(
        """
        select constraint_type, constraint_column_names, constraint_text
        from duckdb_constraints() where schema_name = $schema and table_name = $table
        """,
        params=where,
    ).fetchall()
    keys = [tuple(names) for kind, names, _ in constraints if kind == "PRIMARY KEY"]
    others = frozenset(text for kind, _, text in constraints if kind not in ("PRIMARY KEY", "NOT NULL"))
    return Table(name, tuple(Column(*column) for column in columns), keys[0] if keys else (), others)


def require(connection: duckdb.DuckDBPyConnection, name: str) -> Table:
    """Return the shape of `name`; raises ContractError listing what there is when the database has none."""
    table = find(connection, name)
    if table is None:
        found = ", ".join(sorted(existing(connection))) or "nothing"
        raise ContractError(f"no table {name} in the warehouse, which has {found}; migrate, or correct the name")
    return table
