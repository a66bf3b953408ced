"""Bars: from the source into the warehouse."""

import dagster as dg

from assets.partitions import daily
from assets.tables import described, table_spec
from cappuccino.clock import Clock
from cappuccino.market.source import BarSource
from cappuccino.market.sync import sync_bars
from cappuccino.settings import Settings
from cappuccino.store.warehouse import Warehouse


@dg.multi_asset(
    name="market_bars",
    specs=[table_spec("market.bars", partitions_def=daily)],
    backfill_policy=dg.BackfillPolicy.single_run(),
    pool="warehouse",
)
def market_bars(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    clock: dg.ResourceParam[Clock],
    source: dg.ResourceParam[BarSource],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.MaterializeResult[None]:
    """Bars of the chosen days, replaced by what the source says now."""
    window = context.partition_time_window
    synced = sync_bars(warehouse, source, settings.market, window.start, window.end, clock.now())
    return dg.MaterializeResult(
        metadata={
            "bars_synced": synced.n_bars,
            "from": synced.start.isoformat(),
            "to": synced.stop.isoformat(),
            "fingerprint": synced.fingerprint,
            "simulated": source.is_simulated,
            **described(warehouse, "market.bars"),
        }
    )


# Written beside the assets above and below it: the record of syncs, and of the checks in checks.py.
records = [
    table_spec("ops.syncs", deps=("market.bars",)),
    table_spec("ops.data_quality", deps=("market.bars",)),
]
