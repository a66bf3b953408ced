"""One file of bars, Parquet or CSV, in columns of BAR_SCHEMA: which is which, and what its times mean."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from cappuccino.errors import DataError
from cappuccino.market.source import BAR_SCHEMA, TIME

PARQUET, CSV = (".parquet", ".pq"), (".csv",)
_TIME_NAMES = ("ts", "timestamp", "opened_at", "open_time", "time", "datetime", "date")
TIME_NAMES = (*_TIME_NAMES, *(f"{name}_utc" for name in _TIME_NAMES))
NUMBERS = ("open", "high", "low", "close", "volume")

_PAIR = re.compile(r"([A-Za-z0-9]+)[-_]([A-Za-z0-9]+)")
_MOMENT = r"^\s*(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2})(:\d{2}(?:\.\d+)?)?)?\s*(Z|UTC|[+-]\d{2}:?\d{2})?\s*$"

# September 2001 in seconds, milliseconds and microseconds since 1970, with microseconds in each. Up to 2096,
# four times as far, the ranges are apart, so that the size of a number tells its unit.
_EPOCH_UNITS = {1_000_000_000: 1_000_000, 1_000_000_000_000: 1_000, 1_000_000_000_000_000: 1}
_EPOCH_REACH = 4


@contextmanager
def reading(file: Path) -> Iterator[None]:
    """Turn what the reader says about a damaged file into a DataError that names the file."""
    try:
        yield
    except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{file} cannot be read: {reason}; replace or remove the file") from error


def scan(file: Path) -> pl.LazyFrame:
    """Return the bars of one file in columns and types of BAR_SCHEMA, in the file's order, values unchecked.

    Raises DataError naming the file, and column or row, when a column is absent, ambiguous or unreadable.
    """
    with reading(file):
        raw = _open(file)
        names = _columns(raw.collect_schema().names(), file)
        frame = raw.select(pl.col(found).alias(name) for name, found in names.items())
        schema = frame.collect_schema()
        if any(schema[name] != wanted for name, wanted in BAR_SCHEMA.items() if name in schema):
            frame = _converted(frame.collect(), names["opened_at_utc"], file).lazy()
        if "symbol" not in names:
            frame = frame.with_columns(pl.lit(_symbol_of(file)).alias("symbol"))
        return frame.select(*BAR_SCHEMA)


def row_name(file: Path, row: int) -> str:
    """Return how to find the `row`-th bar (from 0) of a file: in a CSV the line, counting its header."""
    return f"{file} line {row + 2}" if file.suffix.lower() in CSV else f"{file} row {row}"


def _open(file: Path) -> pl.LazyFrame:
    if file.suffix.lower() in CSV:
        return pl.read_csv(file, infer_schema=False).lazy()
    return pl.scan_parquet(file)


def _columns(found: list[str], file: Path) -> dict[str, str]:
    """Return bar column -> column of the file. Capitals do not matter, other columns are left alone."""
    by_name: dict[str, str] = {}
    for name in found:
        plain = name.strip().lower()
        plain = "opened_at_utc" if plain in TIME_NAMES else plain
        if plain in BAR_SCHEMA and plain in by_name:
            raise DataError(f"{file}: columns {by_name[plain]} and {name} are both {plain}; remove one of them")
        by_name[plain] = name
    missing = [name for name in BAR_SCHEMA if name not in by_name and name != "symbol"]
    if missing:
        wanted = ", ".join("ts (or timestamp, time)" if name == "opened_at_utc" else name for name in missing)
        raise DataError(
            f"{file}: column {wanted} is missing, found {', '.join(found)}; "
            "rename the columns, or move a file that holds no bars elsewhere"
        )
    return {name: by_name[name] for name in BAR_SCHEMA if name in by_name}


def _symbol_of(file: Path) -> str:
    pair = _PAIR.fullmatch(file.stem)
    if pair is None:
        raise DataError(
            f"{file}: there is no column symbol, and the name is not BASE-QUOTE; "
            f"add the column, or rename the file like BTC-USD{file.suffix}"
        )
    return f"{pair[1]}/{pair[2]}"


def _converted(frame: pl.DataFrame, time_name: str, file: Path) -> pl.DataFrame:
    time = _times(frame["opened_at_utc"], time_name, file).alias("opened_at_utc")
    numbers = [_numbers(frame[name], file) for name in NUMBERS]
    symbol = [frame["symbol"].cast(pl.String)] if "symbol" in frame.columns else []
    return frame.with_columns(time, *numbers, *symbol)


def _numbers(column: pl.Series, file: Path) -> pl.Series:
    if not (column.dtype.is_numeric() or column.dtype in (pl.String, pl.Null)):
        raise DataError(f"{file}: column {column.name} is {column.dtype}, expected numbers; convert it")
    text = column.str.strip_chars() if column.dtype == pl.String else column
    numbers = text.cast(pl.Float64, strict=False)
    _refuse_new_nulls(column, numbers, f"{column.name} is not a number", file)
    return numbers


def _refuse_new_nulls(before: pl.Series, after: pl.Series, what: str, file: Path) -> None:
    rows = (after.is_null() & before.is_not_null()).arg_true()
    if len(rows):
        raise DataError(f"{row_name(file, rows[0])}: {what}, found {before[rows[0]]!r}; correct or remove the line")


def _times(column: pl.Series, name: str, file: Path) -> pl.Series:
    """Return times in UTC. What has no zone is taken as UTC only when the column's name says so."""
    is_utc_by_name = name.strip().lower().endswith("_utc")
    if isinstance(column.dtype, pl.Datetime) and column.dtype.time_zone is not None:
        return column.dt.convert_time_zone("UTC").dt.cast_time_unit("us")
    if column.dtype in (pl.Datetime, pl.Date):
        if not is_utc_by_name:
            raise _no_zone(name, column.drop_nulls().first(), file)
        return column.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    if column.dtype.is_integer():
        return _epoch_times(column, name, file)
    if column.dtype != pl.String:
        raise DataError(f"{file}: column {name} is {column.dtype}, expected times; convert it")
    if column.str.contains(r"^\s*\d+\s*$").all():
        return _epoch_times(column.str.strip_chars().cast(pl.Int64), name, file)
    return _text_times(column, name, is_utc_by_name, file)


def _epoch_times(column: pl.Series, name: str, file: Path) -> pl.Series:
    ticks = column.cast(pl.Int64).drop_nulls().to_numpy()
    if not len(ticks):
        return column.cast(TIME)
    smallest, largest = int(ticks.min()), int(ticks.max())
    for first, us in _EPOCH_UNITS.items():
        if first <= smallest and largest < _EPOCH_REACH * first:
            return (column.cast(pl.Int64) * us).cast(TIME)
    raise DataError(
        f"{file}: column {name} holds {smallest} to {largest}, which is neither seconds, milliseconds nor "
        "microseconds since 1970; convert it to times with a zone"
    )


def _text_times(column: pl.Series, name: str, is_utc_by_name: bool, file: Path) -> pl.Series:
    parts = column.str.extract_groups(_MOMENT).struct.unnest()
    day, minute, second, zone = (parts[group] for group in ("1", "2", "3", "4"))
    without = (zone.is_null() & day.is_not_null()).arg_true()
    if len(without) and not is_utc_by_name:
        raise _no_zone(name, column[without[0]], file)
    zone = zone.replace(["Z", "UTC"], ["+00:00", "+00:00"]).fill_null("+00:00")
    text = day + " " + minute.fill_null("00:00") + second.fill_null(":00") + zone
    times = text.str.strptime(TIME, "%Y-%m-%d %H:%M:%S%.f%z", strict=False)
    _refuse_new_nulls(column, times, f"{name} is not a time such as 2025-06-30T12:00Z", file)
    return times


def _no_zone(name: str, found: object, file: Path) -> DataError:
    return DataError(
        f"{file}: column {name} has no time zone, found {found}; "
        f"write times with a zone (2025-06-30T12:00Z), or name the column {name}_utc if they are UTC"
    )
