"""Is a frame fit for a table? Checked before a row is written, so that the message can say what is wrong."""

from __future__ import annotations

import re
from collections.abc import Sequence

import polars as pl

from cappuccino.errors import ContractError
from cappuccino.store.tables import Table

_FAMILIES = {
    "whole": [
        f"{sign}{size}" for sign in ("", "U") for size in ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")
    ],
    "real": ["FLOAT", "DOUBLE", "DECIMAL"],
    "text": ["VARCHAR", "ENUM", "JSON", "UUID"],
    "time": ["TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "TIMESTAMP WITH TIME ZONE"],
}
_FAMILY_OF = {member: family for family, members in _FAMILIES.items() for member in members}


def extra_columns(frame: pl.DataFrame, table: Table) -> tuple[str, ...]:
    """Return the columns of `frame` that `table` lacks."""
    return tuple(name for name in frame.columns if table.column(name) is None)


def check_columns(frame: pl.DataFrame, types: Sequence[str], table: Table, required: Sequence[str]) -> None:
    """Raise ContractError when a column of `frame` is unknown, missing or of another kind than the table's.

    `types` are DuckDB's types of the frame's columns; `required` must be there.
    """
    unknown = extra_columns(frame, table)
    missing = [name for name in required if name not in frame.columns]
    if unknown or missing:
        parts = [f"missing columns {', '.join(missing)}"] if missing else []
        parts += [f"unknown columns {', '.join(unknown)}"] if unknown else []
        raise ContractError(f"rows for {table.name} have {' and '.join(parts)}; it has {', '.join(table.names)}")
    for name, found in zip(frame.columns, types, strict=True):
        column = table.column(name)
        assert column is not None
        if frame.schema[name] != pl.Null and not _fits(found, column.type):
            raise ContractError(f"{table.name}.{name} is {column.type}, the rows bring {found}; cast the column first")


def check_nulls(frame: pl.DataFrame, table: Table) -> None:
    """Raise ContractError naming the columns that must not be null and where they first are."""
    bad = [
        c.name for c in table.columns if not c.is_nullable and c.name in frame.columns and frame[c.name].null_count()
    ]
    if bad:
        first = frame[bad[0]].is_null().arg_true()[0]
        raise ContractError(
            f"null in {', '.join(f'{table.name}.{name}' for name in bad)}, which must have a value; "
            f"first in row {first}: {_short(frame.row(first, named=True))}"
        )


def check_keys(frame: pl.DataFrame, table: Table) -> None:
    """Raise ContractError naming a primary key that comes twice in `frame`."""
    key = [name for name in table.primary_key if name in frame.columns]
    if not key:
        return
    repeated = frame.select(key).filter(frame.select(key).is_duplicated())
    if len(repeated):
        raise ContractError(
            f"duplicate key in the rows for {table.name}: {_short(repeated.row(0, named=True))}, "
            f"{len(repeated)} rows are concerned; keep one row per {', '.join(key)}"
        )


def _fits(found: str, wanted: str) -> bool:
    (kind, levels), (wanted_kind, wanted_levels) = _family(found), _family(wanted)
    return levels == wanted_levels and (kind in (wanted_kind, "NULL") or (kind, wanted_kind) == ("whole", "real"))


def _family(type_text: str) -> tuple[str, int]:
    """Return (family, number of list levels): 'DECIMAL(9,2)[]' -> ('real', 1)."""
    base = re.sub(r"(\[\d*\])+$", "", type_text)
    levels = type_text.count("[") - base.count("[")
    base = base.split("(")[0].strip('"')
    return _FAMILY_OF.get(base, base), levels


def _short(row: dict[str, object]) -> str:
    return ", ".join(f"{name}={value}" for name, value in list(row.items())[:6])
