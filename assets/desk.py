"""Paper trading of sandbox and production, on the bars that nobody trained on."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from assets.pictures import picture
from assets.tables import described, table_spec
from cappuccino.clock import Clock
from cappuccino.settings import Settings
from cappuccino.store.warehouse import Warehouse
from cappuccino.trading.appraise import appraise_production
from cappuccino.trading.paper import trade_paper
from cappuccino.watch import plots

TABLES = ("desk.accounts", "desk.equity", "desk.fills")


@dg.multi_asset(
    name="desk",
    # Who trades is read from promotion.stages as it stood; declaring that would close a circle.
    specs=[table_spec(table, deps=("market.bars_all", "arena.matches")) for table in TABLES],
    pool="warehouse",
)
def desk(
    settings: dg.ResourceParam[Settings],
    clock: dg.ResourceParam[Clock],
    warehouse: dg.ResourceParam[Warehouse],
) -> Iterator[dg.MaterializeResult[None]]:
    """Every account of sandbox and production, traded up to now."""
    traded = trade_paper(warehouse, settings, clock.now())
    appraise_production(warehouse, settings, clock.now())
    figures: dict[str, Any] = {
        "accounts": len(traded),
        "bars": sum(len(one.equity) for one in traded),
        "fills": sum(len(one.fills) for one in traded),
        "simulated": settings.is_simulated,
        "equity": picture(plots.equity(warehouse.query("select * from desk.equity"), simulated=settings.is_simulated)),
    }
    for table in TABLES:
        yield dg.MaterializeResult(asset_key=table.split("."), metadata={**figures, **described(warehouse, table)})
