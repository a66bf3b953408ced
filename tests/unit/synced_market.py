"""The market of a tiny study, in a warehouse as syncing and features leave it."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl

from cappuccino.features.spec import FeatureSpec
from cappuccino.features.table import build_features
from cappuccino.market.simulated import SimulatedSource
from cappuccino.market.sync import sync_bars
from cappuccino.settings import Settings
from cappuccino.store import models
from cappuccino.store.warehouse import Warehouse
from tests.unit.search.fakes import NOW
from tests.unit.small_market import SCHEMA


def synced_market(settings: Settings, until: datetime) -> Warehouse:
    """Return a warehouse of forty days of simulated hours before NOW and on, their features, and a chosen timeframe."""
    warehouse = Warehouse(settings.database)
    warehouse.migrate(SCHEMA)
    sync_bars(warehouse, SimulatedSource(1), settings.market, NOW - timedelta(days=40), until, until)
    choice = {"study": "timeframe-1", "interval": "1h", "lookback": 8, "score": 1.0, "n_trials": 1, "holding_bars": 24}
    with warehouse.write() as writer:
        models.build(writer, SCHEMA.models["market.bars_all"])
        decided = pl.lit(NOW - timedelta(hours=1)).dt.cast_time_unit("us").alias("decided_at_utc")
        writer.append("lab.timeframe_choices", pl.DataFrame([choice]).with_columns(decided))
    spec = FeatureSpec.from_settings(settings.features)
    build_features(warehouse, settings.market.symbols, settings.timeframe.intervals, spec, until)
    return warehouse
