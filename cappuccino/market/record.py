"""Quality of the bars that the warehouse holds, stored check by check."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from cappuccino.errors import DataError
from cappuccino.market.quality import check
from cappuccino.settings import MarketSettings
from cappuccino.store.warehouse import Warehouse


def check_record(warehouse: Warehouse, market: MarketSettings, now: datetime) -> pl.DataFrame:
    """Check every stored bar that had closed at `now`, append the outcome to ops.data_quality and return it.

    Raises DataError when there are no bars.
    """
    frame = warehouse.query(
        """
        select symbol, opened_at_utc, open, high, low, close, volume
        from market.bars
        where closed_at_utc <= $now and list_contains($symbols, symbol)
        order by symbol, opened_at_utc
        """,
        now=now,
        symbols=list(market.symbols),
    )
    if frame.is_empty():
        raise DataError(f"the warehouse has no bars of {', '.join(market.symbols)}; materialise market/bars first")
    start = frame["opened_at_utc"].min()
    stop = frame["opened_at_utc"].max()
    assert isinstance(start, datetime)
    assert isinstance(stop, datetime)
    interval = market.base_interval
    found = check(frame, market.symbols, interval, start, stop + interval.duration, now, market)
    rows = found.with_columns(
        pl.lit(now).dt.cast_time_unit("us").alias("checked_at_utc"), pl.lit(interval.value).alias("interval")
    )
    with warehouse.write() as writer:
        writer.append("ops.data_quality", rows)
    return found
