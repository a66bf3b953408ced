"""With what: the settings, and clock, source and warehouse as they say. The only place that chooses."""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg

from assets.tables import schema
from cappuccino.clock import Clock
from cappuccino.market.sources import clock_of, source_of
from cappuccino.settings import Settings
from cappuccino.store.warehouse import Warehouse


def warehouse_of(settings: Settings) -> Warehouse:
    """Return the warehouse, its tables and views brought up to date."""
    warehouse = Warehouse(settings.database)
    warehouse.migrate(schema())
    return warehouse


def resources_of(settings: Settings, clock: Clock | None = None) -> Mapping[str, object]:
    """Return what the assets ask for; nothing is opened before a run needs it."""
    return {
        "settings": dg.ResourceDefinition.hardcoded_resource(settings),
        "source": dg.ResourceDefinition(lambda _: source_of(settings)),
        "clock": dg.ResourceDefinition(lambda _: clock or clock_of(settings.market, source_of(settings))),
        "warehouse": dg.ResourceDefinition(lambda _: warehouse_of(settings)),
        "pipes": dg.PipesSubprocessClient(),
    }
