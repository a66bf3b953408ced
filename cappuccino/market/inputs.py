"""Inputs beside bars, off by default: what somebody said of a symbol, and how its order book leaned.

The value at a bar is that of the newest row that was known at the bar's close. A row that is absent or too old is 0,
and the family's column `<input>_known` says so: 1.0 where there is a row, else 0.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from cappuccino.errors import ConfigError, DataError
from cappuccino.market.interval import Interval
from cappuccino.market.panel import BarPanel, FloatArray, as_datetime
from cappuccino.store.warehouse import Reader

DEFAULT_MAX_AGE_HOURS = 24.0

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "sentiment": ("sentiment_score", "sentiment_momentum", "sentiment_attention", "sentiment_disagreement"),
    "book_imbalance": ("book_imbalance",),
}
"""Columns of each input, without the one that says whether they are known."""

# Imbalance of the units on the best levels: Gould and Bonart, Queue Imbalance as a One-Tick-Ahead Price Predictor in a
# Limit Order Book, 2016 (arXiv 1512.03492), there of the best level alone. Not the order FLOW imbalance of Cont,
# Kukanov and Stoikov, The Price Impact of Order Book Events, 2014, which needs every event between two snapshots.
_QUERIES = {
    "sentiment": """
        select
            symbol,
            known_at_utc,
            score as sentiment_score,
            momentum as sentiment_momentum,
            attention as sentiment_attention,
            disagreement as sentiment_disagreement
        from features.sentiment
        where list_contains($symbols, symbol) and known_at_utc >= $oldest and known_at_utc <= $newest
        order by symbol, known_at_utc
        """,
    "book_imbalance": """
        select
            symbol,
            seen_at_utc as known_at_utc,
            (bid_units - ask_units) / (bid_units + ask_units) as book_imbalance
        from market.books
        where list_contains($symbols, symbol) and seen_at_utc >= $oldest and seen_at_utc <= $newest
        order by symbol, seen_at_utc, source
        """,
}


@dataclass(frozen=True)
class Inputs:
    """Which inputs a panel carries, and how old they may be; raises ConfigError for an unknown or repeated one."""

    names: tuple[str, ...] = ()
    max_age_hours: float = DEFAULT_MAX_AGE_HOURS

    def __post_init__(self) -> None:
        unknown = [name for name in self.names if name not in COLUMNS]
        if unknown or len(set(self.names)) < len(self.names):
            raise ConfigError(
                f"features.inputs: found {', '.join(self.names)}; name each of {', '.join(COLUMNS)} at most once"
            )


NO_INPUTS = Inputs()


def columns_of(name: str) -> tuple[str, ...]:
    """Return the columns of one input, `<input>_known` last."""
    return (*COLUMNS[name], f"{name}_known")


def with_inputs(reader: Reader, panel: BarPanel, inputs: Inputs) -> BarPanel:
    """Return the panel with the columns of `inputs`, as the warehouse has them.

    Raises DataError naming symbol, time and column of a value that is not a finite number.
    """
    if not inputs.names or not len(panel):
        empty = {column: np.zeros(panel.close.shape) for name in inputs.names for column in columns_of(name)}
        return replace(panel, inputs=empty)
    columns: dict[str, FloatArray] = {}
    for name in inputs.names:
        rows = reader.query(
            _QUERIES[name],
            symbols=list(panel.symbols),
            oldest=as_datetime(panel.closed_at[0] - _max_age(inputs)),
            newest=as_datetime(panel.closed_at[-1]),
        )
        columns |= columns_at_close(rows, panel, name, inputs)
    return replace(panel, inputs=columns)


def columns_at_close(rows: pl.DataFrame, panel: BarPanel, name: str, inputs: Inputs) -> dict[str, FloatArray]:
    """Return the columns of input `name` at each close, (T, A) each.

    `rows` has symbol, known_at_utc (of equal ones the last counts) and the columns of the input, sorted by both.
    """
    _require_finite(rows, name)
    columns = {column: np.zeros(panel.close.shape) for column in columns_of(name)}
    for a, symbol in enumerate(panel.symbols):
        own = rows.filter(pl.col("symbol") == symbol)
        known_at = own["known_at_utc"].dt.replace_time_zone(None).to_numpy().astype("datetime64[us]")
        newest = np.searchsorted(known_at, panel.closed_at, side="right") - 1
        is_known = newest >= 0
        is_known[is_known] = panel.closed_at[is_known] - known_at[newest[is_known]] <= _max_age(inputs)
        columns[f"{name}_known"][:, a] = is_known
        for column in COLUMNS[name]:
            columns[column][is_known, a] = own[column].to_numpy()[newest[is_known]]
    return columns


def _max_age(inputs: Inputs) -> np.timedelta64:
    return np.timedelta64(round(inputs.max_age_hours * Interval.H1.us), "us")


def _require_finite(rows: pl.DataFrame, name: str) -> None:
    for column in COLUMNS[name]:
        bad = rows.filter(~pl.col(column).is_finite().fill_null(value=False))
        if len(bad):
            row = bad.row(0, named=True)
            raise DataError(
                f"{column} of {row['symbol']}, known at {row['known_at_utc']:%F %T} UTC, is {row[column]}; "
                "correct or delete that row of "
                f"{'features.sentiment' if name == 'sentiment' else 'market.books'}"
            )
