"""How a table of sql/ looks in Dagster: key, group, description, column schema, row count."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

import dagster as dg

from cappuccino.store.schema import SQL_DIR, Schema, SqlFile
from cappuccino.store.warehouse import Warehouse


@cache
def schema() -> Schema:
    """Return the tables and models of sql/, read once a process."""
    return Schema.load(SQL_DIR)


def key_of(table: str) -> dg.AssetKey:
    """Return the asset key of `schema.table`."""
    return dg.AssetKey(table.split("."))


def sql_file(table: str) -> SqlFile:
    """Return the file of sql/ that defines `schema.table`."""
    return (schema().contracts | schema().models)[table]


def table_spec(table: str, deps: tuple[str, ...] = (), **more: object) -> dg.AssetSpec:
    """Return the asset of a contract table, described by its header."""
    file = sql_file(table)
    return dg.AssetSpec(
        key_of(table),
        deps=[key_of(dep) for dep in deps],
        description=f"{file.description}\n\nGrain: {file.grain}.",
        group_name=file.schema,
        kinds={"duckdb", "python"},
        metadata=column_metadata(file),
        **more,  # type: ignore[arg-type]
    )


def column_metadata(file: SqlFile) -> Metadata:
    """Return the column schema for the UI; types come with the first materialisation."""
    columns = [dg.TableColumn(name, description=text) for name, text in file.columns.items()]
    return {"dagster/column_schema": dg.TableSchema(columns)}


Metadata = Mapping[str, Any]


def described(warehouse: Warehouse, table: str) -> Metadata:
    """Return row count and column schema of a table as it stands now."""
    file = sql_file(table)
    with warehouse.read() as reader:
        count = reader.one(f"select count(*) from {table}")
        types = reader.query(
            """
            select column_name, data_type from information_schema.columns
            where table_schema = $schema and table_name = $name order by ordinal_position
            """,
            schema=file.schema,
            name=file.name,
        )
    columns = [dg.TableColumn(name, kind, file.columns.get(name)) for name, kind in types.iter_rows()]
    return {"dagster/row_count": count[0] if count else 0, "dagster/column_schema": dg.TableSchema(columns)}


def results(warehouse: Warehouse, tables: Iterable[str], figures: Metadata) -> Iterator[dg.MaterializeResult[None]]:
    """Yield the result of each table that was written, with the figures of the run and the table as it stands now."""
    for table in tables:
        yield dg.MaterializeResult(asset_key=key_of(table), metadata={**figures, **described(warehouse, table)})
