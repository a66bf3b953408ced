"""A row for what features were made from; ops.data_seen compares it with the bars as they are."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from cappuccino.errors import DataError
from cappuccino.features.spec import FeatureSpec
from cappuccino.market.fingerprint import bars_fingerprint
from cappuccino.market.interval import Interval
from cappuccino.market.panel import BarPanel, as_datetime
from cappuccino.store.warehouse import Reader

TABLE = "features.builds"
TIME = pl.Datetime("us", "UTC")


def build_row(reader: Reader, panel: BarPanel, spec: FeatureSpec, now: datetime) -> pl.DataFrame:
    """Return the row of features.builds for the features of all bars of `panel`, which `reader` loaded."""
    start, stop = as_datetime(panel.opened_at[0]), as_datetime(panel.closed_at[-1])
    row = {
        "interval": panel.interval.value,
        "symbols": list(panel.symbols),
        "features": list(spec.names),
        "from_utc": start,
        "to_utc": stop,
        "bars_fingerprint": bars_fingerprint(reader, panel.symbols, start, stop),
        "built_at_utc": now,
        "max_input_age_hours": _input_age(spec),
    }
    types: dict[str, pl.DataType] = {
        **dict.fromkeys(("from_utc", "to_utc", "built_at_utc"), TIME),
        "max_input_age_hours": pl.Float64(),
    }
    return pl.DataFrame([row], schema_overrides=types)


def require_built_as(reader: Reader, interval: Interval, spec: FeatureSpec) -> None:
    """Raise DataError when the stored features took inputs of another age than `spec` does; names do not tell."""
    built = reader.one(f"select max_input_age_hours from {TABLE} where interval = $interval", interval=interval.value)
    if built is not None and spec.inputs.names and built[0] != _input_age(spec):
        raise DataError(
            f"the {interval} features were made with inputs up to {built[0] or 0:g} h old, and "
            f"features.max_input_age_hours is {spec.inputs.max_age_hours:g}; materialise features/features again"
        )


def _input_age(spec: FeatureSpec) -> float | None:
    return spec.inputs.max_age_hours if spec.inputs.names else None
