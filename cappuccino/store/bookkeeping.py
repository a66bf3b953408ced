"""What the warehouse remembers about its own making: schema `meta`, written by migrations only."""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

_CREATE = """
create schema if not exists meta;
create table if not exists meta.schema_version (version integer not null, fingerprint varchar not null);
create table if not exists meta.tables (
    name varchar primary key, kind varchar not null, definition varchar not null, extensible_from varchar[]
);
"""


@dataclass(frozen=True)
class Made:
    """A table or view as the last migration made it."""

    name: str
    kind: str
    """"contract", "table" or "view"."""
    definition: str
    """Hash of the file's SQL and header."""
    extensible_from: tuple[str, ...] | None = None
    """The contract's own columns when Python may add others, else None."""


def is_there(connection: duckdb.DuckDBPyConnection) -> bool:
    found = connection.sql("select 1 from duckdb_tables() where schema_name = 'meta' and table_name = 'tables'")
    return bool(found.fetchall())


def prepare(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the schema `meta` where it is missing."""
    connection.execute(_CREATE)


def version(connection: duckdb.DuckDBPyConnection) -> tuple[int, str] | None:
    """Return (schema version, fingerprint of the schema) of the last migration, None before the first."""
    if not is_there(connection):
        return None
    found = connection.sql("select version, fingerprint from meta.schema_version").fetchall()
    return (found[0][0], found[0][1]) if found else None


def set_version(connection: duckdb.DuckDBPyConnection, number: int, fingerprint: str) -> None:
    connection.execute("delete from meta.schema_version")
    connection.execute(
        "insert into meta.schema_version values ($version, $fingerprint)",
        {"version": number, "fingerprint": fingerprint},
    )


def made(connection: duckdb.DuckDBPyConnection) -> dict[str, Made]:
    """Return what migrations made, by name."""
    found = connection.sql("select name, kind, definition, extensible_from from meta.tables").fetchall()
    return {name: Made(name, kind, definition, tuple(own) if own else None) for name, kind, definition, own in found}


def record(connection: duckdb.DuckDBPyConnection, entry: Made) -> None:
    connection.execute(
        "insert or replace into meta.tables values ($name, $kind, $definition, $own)",
        {
            "name": entry.name,
            "kind": entry.kind,
            "definition": entry.definition,
            "own": list(entry.extensible_from) if entry.extensible_from else None,
        },
    )


def forget(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    connection.execute("delete from meta.tables where name = $name", {"name": name})


def contract_columns(connection: duckdb.DuckDBPyConnection, name: str) -> tuple[str, ...] | None:
    """Return the contract's own columns of an extensible table, None when Python may not add any."""
    if not is_there(connection):
        return None
    found = connection.sql(
        "select extensible_from from meta.tables where name = $name", params={"name": name}
    ).fetchall()
    return tuple(found[0][0]) if found and found[0][0] else None
