"""The features table: features of every bar in the warehouse, as the agents will see them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from cappuccino.errors import DataError
from cappuccino.features.compute import compute
from cappuccino.features.spec import FeatureSpec
from cappuccino.market.interval import Interval
from cappuccino.market.panel import BarPanel, BoolArray, FloatArray, panel_from_frame
from cappuccino.market.sync import load_panel
from cappuccino.store.warehouse import Reader, Warehouse

TABLE = "features.features"


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
            panel = load_panel(reader, symbols, interval, now)
        values = compute(panel, spec)
        complete = np.array(np.isfinite(values).all(axis=(1, 2)), dtype=bool)
        if not complete.any():
            raise DataError(
                f"{len(panel)} {interval} bars are too few for features: {spec.warmup_bars(interval)} are needed "
                "before the first; load a longer history, or take a shorter interval or features with less warm-up"
            )
        frame = _frame(panel, values, spec.names, complete)
        with warehouse.write() as writer:
            writer.replace(TABLE, frame, "interval = $interval", interval=interval.value)
        built.append(FeaturesBuilt(interval, len(frame), int(np.argmax(complete))))
    return built


def load_features(
    reader: Reader, symbols: tuple[str, ...], interval: Interval, spec: FeatureSpec, now: datetime
) -> tuple[BarPanel, FloatArray]:
    """Return bars and features (T, A, F) of the bars known at `now` that have both.

    Raises DataError when the table lacks the interval, a symbol, a feature or a value.
    """
    columns = reader.query(f"from {TABLE} limit 0").columns
    absent = [name for name in spec.names if name not in columns]
    if absent:
        raise DataError(f"{TABLE} has no column {', '.join(absent)}; materialise features/features again")
    names = ", ".join(f'features.features."{name}"' for name in spec.names)
    frame = reader.query(
        f"""
        select symbol, opened_at_utc, open, high, low, close, volume, is_filled, {names}
        from market.bars_all
        inner join features.features using (interval, symbol, opened_at_utc)
        where interval = $interval and closed_at_utc <= $now and list_contains($symbols, symbol)
        order by opened_at_utc, symbol
        """,
        interval=interval.value,
        now=now,
        symbols=list(symbols),
    )
    panel = panel_from_frame(frame, symbols, interval)
    place = {symbol: a for a, symbol in enumerate(symbols)}
    rows = frame.filter(pl.col("opened_at_utc").is_between(*_ends(panel))).with_columns(
        pl.col("symbol").replace_strict(place, return_dtype=pl.Int64).alias("place")
    )
    ordered = rows.sort("opened_at_utc", "place").select(spec.names)
    empty = [column.name for column in ordered if column.null_count()]
    if empty:  # a column that another interval's build added
        raise DataError(f"{TABLE} has no {interval} {', '.join(empty)}; materialise features/features again")
    values = ordered.to_numpy().reshape(len(panel), len(symbols), len(spec.names))
    return panel, np.ascontiguousarray(values)


def _ends(panel: BarPanel) -> tuple[pl.Expr, pl.Expr]:
    first, last = (
        pl.lit(moment).dt.replace_time_zone("UTC") for moment in (panel.opened_at[0].item(), panel.opened_at[-1].item())
    )
    return first, last


def _frame(
    panel: BarPanel,
    values: FloatArray,
    names: tuple[str, ...],
    complete: BoolArray,
) -> pl.DataFrame:
    kept = values[complete]
    n_symbols = len(panel.symbols)
    opened = np.repeat(panel.opened_at[complete], n_symbols)
    flat = kept.reshape(-1, len(names))
    keys = pl.DataFrame(
        {
            "interval": [panel.interval.value] * len(opened),
            "symbol": list(panel.symbols) * len(kept),
            "opened_at_utc": pl.Series(opened).dt.cast_time_unit("us").dt.replace_time_zone("UTC"),
        }
    )
    return keys.hstack(pl.DataFrame({name: flat[:, f] for f, name in enumerate(names)}))
