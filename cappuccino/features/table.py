"""The features table: features of every bar in the warehouse, as the agents will see them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt
import polars as pl

from cappuccino.errors import DataError
from cappuccino.features.builds import TABLE as BUILDS
from cappuccino.features.builds import build_row, require_built_as
from cappuccino.features.compute import compute
from cappuccino.features.spec import FeatureSpec
from cappuccino.market.interval import Interval
from cappuccino.market.panel import BarPanel, FloatArray, as_datetime, panel_from_frame
from cappuccino.market.sync import load_panel
from cappuccino.store.warehouse import Reader, Warehouse

TABLE = "features.features"
ROWS_AT_ONCE = 500_000
"""Rows of the table on their way in or out; values do not depend on it, memory does."""

RowArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class FeaturesBuilt:
    """What one interval's build stored."""

    interval: Interval
    n_rows: int
    n_warmup_bars: int


def build_features(
    warehouse: Warehouse,
    symbols: tuple[str, ...],
    intervals: tuple[Interval, ...],
    spec: FeatureSpec,
    now: datetime,
) -> list[FeaturesBuilt]:
    """Replace the features of `intervals` by those of the bars known at `now`.

    Bars without a full warm-up get no row. Raises DataError when an interval has too few bars for any row.
    """
    built = []
    for interval in intervals:
        with warehouse.read() as reader:
            panel = load_panel(reader, symbols, interval, now, inputs=spec.inputs)
            made_from = build_row(reader, panel, spec, now)
        values = compute(panel, spec)
        complete = np.array(np.isfinite(values).all(axis=(1, 2)), dtype=bool)
        if not complete.any():
            raise DataError(
                f"{len(panel)} {interval} bars are too few for features: {spec.warmup_bars(interval)} are needed "
                "before the first; load a longer history, or take a shorter interval or features with less warm-up"
            )
        rows = np.flatnonzero(complete)
        with warehouse.write() as writer:
            writer.execute(f"delete from {TABLE} where interval = $interval", interval=interval.value)
            for some in _in_parts(rows, len(symbols)):
                writer.append(TABLE, _frame(panel, values, spec.names, some))
            writer.upsert(BUILDS, made_from)
        built.append(FeaturesBuilt(interval, len(rows) * len(symbols), int(rows[0])))
    return built


def load_features(
    reader: Reader, symbols: tuple[str, ...], interval: Interval, spec: FeatureSpec, now: datetime
) -> tuple[BarPanel, FloatArray]:
    """Return bars and features (T, A, F) of the bars known at `now` that have both.

    Raises DataError when the table lacks the interval, a symbol, a feature or a value, or was made with other inputs.
    """
    columns = reader.query(f"from {TABLE} limit 0").columns
    absent = [name for name in spec.names if name not in columns]
    if absent:
        raise DataError(f"{TABLE} has no column {', '.join(absent)}; materialise features/features again")
    require_built_as(reader, interval, spec)
    panel = _bars_with_features(reader, symbols, interval, now)
    values = np.empty((len(panel), len(symbols), len(spec.names)))
    for rows in _in_parts(np.arange(len(panel)), len(symbols)):
        values[rows] = _stored(reader, panel.rows(int(rows[0]), int(rows[-1]) + 1), spec.names)
    return panel, values


def _bars_with_features(reader: Reader, symbols: tuple[str, ...], interval: Interval, now: datetime) -> BarPanel:
    frame = reader.query(
        """
        with spans as (
            select symbol, min(opened_at_utc) as first_utc, max(opened_at_utc) as last_utc
            from features.features
            where interval = $interval and list_contains($symbols, symbol)
            group by symbol
        )

        select symbol, opened_at_utc, open, high, low, close, volume, is_filled
        from market.bars_all
        inner join spans using (symbol)
        where interval = $interval and closed_at_utc <= $now and opened_at_utc between first_utc and last_utc
        """,
        interval=interval.value,
        now=now,
        symbols=list(symbols),
    )
    return panel_from_frame(frame, symbols, interval)


def _stored(reader: Reader, panel: BarPanel, names: tuple[str, ...]) -> FloatArray:
    """Return the stored features of the bars of `panel`, (T, A, F)."""
    columns = ", ".join(f'features.features."{name}"' for name in names)
    frame = reader.query(
        f"""
        select {columns}
        from features.features
        where interval = $interval and opened_at_utc between $first and $last and list_contains($symbols, symbol)
        order by opened_at_utc, symbol
        """,
        interval=panel.interval.value,
        first=as_datetime(panel.opened_at[0]),
        last=as_datetime(panel.opened_at[-1]),
        symbols=list(panel.symbols),
    )
    empty = [column.name for column in frame if column.null_count()]
    if empty:  # a column that another interval's build added
        raise DataError(f"{TABLE} has no {panel.interval} {', '.join(empty)}; materialise features/features again")
    if len(frame) != panel.close.size:
        raise DataError(
            f"{TABLE} has {len(frame)} rows for {panel.close.size} {panel.interval} bars from {panel.opened_at[0]} to "
            f"{panel.opened_at[-1]} UTC; materialise features/features again"
        )
    in_order = sorted(panel.symbols)
    place = [in_order.index(symbol) for symbol in panel.symbols]
    stored: FloatArray = frame.to_numpy().reshape(*panel.close.shape, len(names))[:, place]
    return stored


def _in_parts(rows: RowArray, n_symbols: int) -> Iterator[RowArray]:
    """Yield `rows` in parts that make about ROWS_AT_ONCE rows of the table, in order."""
    step = max(ROWS_AT_ONCE // n_symbols, 1)
    for start in range(0, len(rows), step):
        yield rows[start : start + step]


def _frame(panel: BarPanel, values: FloatArray, names: tuple[str, ...], rows: RowArray) -> pl.DataFrame:
    """Return rows of the table: all symbols of the first bar, then of the next."""
    n_symbols = len(panel.symbols)
    flat = values[rows].reshape(-1, len(names))
    opened = np.repeat(panel.opened_at[rows], n_symbols)
    keys = {
        "interval": pl.repeat(panel.interval.value, len(flat), eager=True),
        "symbol": pl.Series(panel.symbols).gather(np.tile(np.arange(n_symbols), len(rows))),
        "opened_at_utc": pl.Series(opened).dt.cast_time_unit("us").dt.replace_time_zone("UTC"),
    }
    return pl.DataFrame(keys | {name: flat[:, f] for f, name in enumerate(names)})
