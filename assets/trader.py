"""The trader's ledger, copied into the warehouse, and how far the trader is from its replay."""

from collections.abc import Iterator

import dagster as dg

from assets.tables import results, table_spec
from cappuccino.clock import Clock
from cappuccino.settings import Settings
from cappuccino.store.warehouse import Warehouse
from cappuccino.trading.drift import measure_drift
from cappuccino.trading.mirror import mirror

TABLES = (
    "desk.trader_accounts",
    "desk.decisions",
    "desk.conviction",
    "desk.orders",
    "desk.order_events",
    "desk.order_fills",
    "desk.trader_equity",
    "desk.looks",
    "desk.positions",
    "desk.events",
    "desk.alerts",
    "desk.calls",
    "desk.fee_tiers",
    "desk.heartbeats",
    "desk.mirrors",
    "desk.drift",
)


@dg.multi_asset(
    name="trader_desk",
    # It also writes the rows of the trader's models in desk.accounts, equity, fills and votes, which are of `desk`.
    specs=[table_spec(table, deps=("market.bars_all",)) for table in TABLES],
    pool="warehouse",
)
def trader_desk(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    clock: dg.ResourceParam[Clock],
    warehouse: dg.ResourceParam[Warehouse],
) -> Iterator[dg.MaterializeResult[None]]:
    """What the trader has written into its ledger since the last time; nothing where no trader runs."""
    copied = mirror(warehouse, settings, clock.now())
    drift = measure_drift(warehouse, settings, clock.now())
    for message in drift.filter(drift["message"] != "")["message"]:
        context.log.warning(message)
    figures = {
        "version": copied.version if copied else 0,
        "rows": sum(copied.n_rows.values()) if copied else 0,
        "days_replayed": len(drift),
        "drift": "\n".join(f"- {message}" for message in drift["message"] if message) or "none to speak of",
        "simulated": settings.is_simulated,
    }
    yield from results(warehouse, TABLES, figures)
