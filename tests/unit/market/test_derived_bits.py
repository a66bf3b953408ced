"""Longer bars come out bit for bit the same however many threads make them."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import polars as pl

from cappuccino.store import models
from cappuccino.store.warehouse import Warehouse
from tests.unit.small_market import SCHEMA

N_SYMBOLS, N_BARS = 3, 96 * 900
"""More rows than one thread of DuckDB takes at a time."""


def test_derived_volumes_are_added_up_in_the_order_of_time(new_warehouse: Warehouse) -> None:
    rng = np.random.default_rng(0)
    opened = pl.datetime_range(
        datetime(2023, 1, 1, tzinfo=UTC),
        interval="15m",
        end=datetime(2026, 1, 1, tzinfo=UTC),
        eager=True,
        time_unit="us",
    )[:N_BARS]
    rows = pl.concat(
        pl.DataFrame({"symbol": f"{name}/USD", "opened_at_utc": opened, "volume": rng.lognormal(3, 2, N_BARS)})
        for name in range(N_SYMBOLS)
    ).with_columns(
        pl.lit(1.0).alias("open"),
        pl.lit(1.0).alias("high"),
        pl.lit(1.0).alias("low"),
        pl.lit(1.0).alias("close"),
        closed_at_utc=pl.col("opened_at_utc") + pl.duration(minutes=15),
        source=pl.lit("test"),
        ingested_at_utc=pl.col("opened_at_utc"),
    )
    with new_warehouse.write() as writer:
        writer.append("market.bars", rows.sample(fraction=1.0, shuffle=True, seed=1))
    daily = "select symbol, opened_at_utc, volume from market.bars_all where interval = '1d' order by all"
    found = []
    for _ in range(3):
        with new_warehouse.write() as writer:
            models.build(writer, SCHEMA.models["market.bars_all"])
        found.append(new_warehouse.query(daily))
    assert found[0].equals(found[1]) and found[1].equals(found[2])
    day = rows.filter(pl.col("symbol") == "0/USD").sort("opened_at_utc")["volume"][:96]
    total = 0.0
    for volume in day:
        total += volume
    assert found[0]["volume"][0] == total
