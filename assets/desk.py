"""Paper trading of sandbox and production, on the bars that nobody trained on."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from assets.pictures import picture
from assets.tables import results, table_spec
from cappuccino.clock import Clock
from cappuccino.settings import Settings
from cappuccino.store.warehouse import Warehouse
from cappuccino.trading.appraise import appraise_production
from cappuccino.trading.paper import trade_paper
from cappuccino.trading.system import trade_system
from cappuccino.trading.system_measures import system_measures
from cappuccino.watch import plots
from cappuccino.watch.due import require_fresh

TABLES = ("desk.accounts", "desk.equity", "desk.fills", "desk.votes")
DEPS = ("market.bars_all", "market.books", "arena.matches", "desk.trader_accounts")
"""The last one tells whom the trader trades: whose account it keeps is left alone here."""
SYSTEM = (
    "desk.system_account",
    "desk.system_equity",
    "desk.system_fills",
    "desk.system_baselines",
    "desk.system_measures",
)


@dg.multi_asset(
    name="desk",
    # Who trades is read from promotion.stages as it stood; declaring that would close a circle.
    specs=[table_spec(table, deps=DEPS) for table in TABLES],
    pool="warehouse",
)
def desk(
    settings: dg.ResourceParam[Settings],
    clock: dg.ResourceParam[Clock],
    warehouse: dg.ResourceParam[Warehouse],
) -> Iterator[dg.MaterializeResult[None]]:
    """Every account of sandbox and production, traded up to now."""
    with warehouse.read() as reader:
        require_fresh(reader, settings, clock.now(), "new orders")
    traded = trade_paper(warehouse, settings, clock.now())
    appraise_production(warehouse, settings, clock.now())
    figures: dict[str, Any] = {
        "accounts": len(traded),
        "bars": sum(len(one.equity) for one in traded),
        "fills": sum(len(one.fills) for one in traded),
        "simulated": settings.is_simulated,
        "equity": picture(plots.equity(warehouse.query("select * from desk.equity"), simulated=settings.is_simulated)),
    }
    yield from results(warehouse, TABLES, figures)


@dg.multi_asset(
    name="system",
    specs=[table_spec(table, deps=("market.bars_all", "market.books", "arena.matches")) for table in SYSTEM],
    pool="warehouse",
)
def system(
    settings: dg.ResourceParam[Settings],
    clock: dg.ResourceParam[Clock],
    warehouse: dg.ResourceParam[Warehouse],
) -> Iterator[dg.MaterializeResult[None]]:
    """The account that follows whoever is in production, traded up to now, beside the baselines."""
    with warehouse.read() as reader:
        require_fresh(reader, settings, clock.now(), "new orders")
    traded = trade_system(warehouse, settings, clock.now())
    system_measures(warehouse, settings, clock.now())
    figures = {"bars": len(traded.equity), "fills": len(traded.fills), "simulated": settings.is_simulated}
    yield from results(warehouse, SYSTEM, figures)
