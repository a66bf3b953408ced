"""Bars: from the source into the warehouse."""

from collections.abc import Callable

import dagster as dg

from assets.partitions import daily
from assets.tables import described, table_spec
from cappuccino.clock import Clock
from cappuccino.market.source import BarSource, RemoteSource
from cappuccino.market.sync import SyncProgress, sync_bars
from cappuccino.settings import Settings
from cappuccino.store.warehouse import Warehouse


class BarsConfig(dg.Config):
    """How to ask for the bars."""

    only_missing: bool = False
    """Ask a venue only for what was never synced, and for its newest bars; otherwise every bar is replaced."""


@dg.multi_asset(
    name="market_bars",
    specs=[table_spec("market.bars", partitions_def=daily)],
    backfill_policy=dg.BackfillPolicy.single_run(),
    pool="warehouse",
)
def market_bars(
    context: dg.AssetExecutionContext,
    config: BarsConfig,
    settings: dg.ResourceParam[Settings],
    clock: dg.ResourceParam[Clock],
    source: dg.ResourceParam[BarSource],
    warehouse: dg.ResourceParam[Warehouse],
    progress: dg.ResourceParam[Callable[[SyncProgress], None]],
) -> dg.MaterializeResult[None]:
    """Bars of the chosen days, replaced by what the source says now."""

    def tell(done: SyncProgress) -> None:
        context.log.info(str(done))
        progress(done)

    window = context.partition_time_window
    synced = sync_bars(
        warehouse,
        source,
        settings.market,
        window.start,
        window.end,
        clock.now(),
        # Files and the simulation cost nothing to ask, and a file may have been corrected anywhere.
        only_missing=config.only_missing and isinstance(source, RemoteSource),
        on_progress=tell,
    )
    return dg.MaterializeResult(
        metadata={
            "bars_synced": synced.n_bars,
            "new": synced.n_new,
            "changed": synced.n_changed,
            "from": synced.start.isoformat(),
            "to": synced.stop.isoformat(),
            "fingerprint": synced.fingerprint,
            "simulated": source.is_simulated,
            # Kept once for every day of the range: the columns stand in the asset's definition already.
            "dagster/row_count": described(warehouse, "market.bars")["dagster/row_count"],
        }
    )
