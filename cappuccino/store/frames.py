"""Times at the border of DuckDB: aware UTC in Python, naive UTC in TIMESTAMP columns."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import polars as pl

from cappuccino.clock import require_utc
from cappuccino.errors import ContractError

AWARE = pl.Datetime("us", "UTC")
NAIVE = pl.Datetime("us")


def aware_frame(frame: pl.DataFrame) -> pl.DataFrame:
    """Return `frame` with every naive time, nested ones too, as Datetime("us", "UTC")."""
    wanted = {name: _with_time(dtype, AWARE) for name, dtype in frame.schema.items()}
    return frame.cast({name: dtype for name, dtype in wanted.items() if dtype != frame.schema[name]})


def naive_frame(frame: pl.DataFrame) -> pl.DataFrame:
    """Return `frame` with every UTC time as a naive Datetime("us").

    Raises ContractError naming the columns whose times have no zone, or another zone than UTC.
    """
    wrong = [f"{name} ({dtype})" for name, dtype in frame.schema.items() if not _is_utc(dtype)]
    if wrong:
        raise ContractError(
            f"times must be aware UTC, found {', '.join(wrong)}; "
            "use dt.replace_time_zone('UTC') or dt.convert_time_zone('UTC') first"
        )
    wanted = {name: _with_time(dtype, NAIVE) for name, dtype in frame.schema.items()}
    return frame.cast({name: dtype for name, dtype in wanted.items() if dtype != frame.schema[name]})


def aware_row(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return `row` with naive datetimes as aware UTC ones."""
    return tuple(_aware(value) for value in row)


def naive_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return query parameters with aware datetimes, also inside lists, as naive UTC ones.

    Raises ValueError for a datetime without a zone.
    """
    return {name: _naive(value) for name, value in params.items()}


def _aware(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    return [_aware(item) for item in value] if isinstance(value, list) else value


def _naive(value: Any) -> Any:
    if isinstance(value, datetime):
        return require_utc(value).replace(tzinfo=None)
    return [_naive(item) for item in value] if isinstance(value, list | tuple) else value


def _with_time(dtype: pl.DataType, time: pl.Datetime) -> pl.DataType:
    if isinstance(dtype, pl.Datetime):
        return time
    if isinstance(dtype, pl.List):
        return pl.List(_with_time(_inner(dtype), time))
    if isinstance(dtype, pl.Struct):
        return pl.Struct({field.name: _with_time(_instance(field.dtype), time) for field in dtype.fields})
    return dtype


def _is_utc(dtype: pl.DataType) -> bool:
    if isinstance(dtype, pl.Datetime):
        return dtype.time_zone == "UTC"
    if isinstance(dtype, pl.List):
        return _is_utc(_inner(dtype))
    if isinstance(dtype, pl.Struct):
        return all(_is_utc(_instance(field.dtype)) for field in dtype.fields)
    return True


def _inner(dtype: pl.List) -> pl.DataType:
    return _instance(dtype.inner)


def _instance(dtype: Any) -> pl.DataType:
    """Polars types the inner types of a column as class or instance; a column's schema holds instances."""
    assert isinstance(dtype, pl.DataType)
    return dtype
