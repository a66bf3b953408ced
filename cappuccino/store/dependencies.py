"""Which tables a model reads, from DuckDB's own parser."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

import duckdb

from cappuccino.errors import ContractError


def tables_read(connection: duckdb.DuckDBPyConnection, sql: str, origin: str) -> tuple[str, ...]:
    """Return the tables ("schema.name") that the select `sql` reads, sorted.

    Raises ContractError naming `origin` when it is not a single select, or a table's schema is not written.
    """
    found = connection.sql("select json_serialize_sql($sql)", params={"sql": sql}).fetchall()
    tree = json.loads(found[0][0])
    if tree["error"]:
        raise ContractError(f"{origin} is neither `create table` nor a select: {tree['error_message']}")
    if len(tree["statements"]) != 1:
        raise ContractError(f"{origin} has {len(tree['statements'])} statements; keep one")
    nodes = list(_nodes(tree))
    ctes = {entry["key"] for node in nodes for entry in node.get("cte_map", {}).get("map", ())}
    read = {(n["schema_name"], n["table_name"]) for n in nodes if n.get("type") == "BASE_TABLE"}
    unknown = sorted(table for schema, table in read if not schema and table not in ctes)
    if unknown:
        raise ContractError(f"{origin} reads {', '.join(unknown)}; write schema.table")
    return tuple(sorted(f"{schema}.{table}" for schema, table in read if schema))


def in_order(depends_on: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Return the names so that each comes after those it depends on; equal inputs give equal orders.

    Raises ContractError naming the circle when there is one.
    """
    sorter = TopologicalSorter({name: sorted(depends_on[name]) for name in sorted(depends_on)})
    try:
        return tuple(sorter.static_order())
    except CycleError as error:
        raise ContractError(f"models depend on each other in a circle: {' -> '.join(error.args[1])}") from None


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    if isinstance(tree, dict):
        yield tree
        for value in tree.values():
            yield from _nodes(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _nodes(value)
