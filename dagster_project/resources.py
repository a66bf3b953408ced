"""With what: the settings, and clock, source and warehouse as they say. The only place that chooses."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import dagster as dg

from assets.tables import schema
from cappuccino.clock import Clock, FixedClock
from cappuccino.market.sources import clock_of, source_of
from cappuccino.market.sync import OnProgress
from cappuccino.settings import Settings
from cappuccino.store.warehouse import Warehouse


def warehouse_of(settings: Settings) -> Warehouse:
    """Return the warehouse, its tables and views brought up to date."""
    warehouse = Warehouse(settings.database)
    warehouse.migrate(schema())
    return warehouse


def resources_of(
    settings: Settings, clock: Clock | None = None, on_progress: OnProgress | None = None
) -> Mapping[str, object]:
    """Return what the assets ask for; nothing is opened before a run needs it. `on_progress` hears of long syncs."""
    return {
        "settings": dg.ResourceDefinition.hardcoded_resource(settings),
        "source": dg.ResourceDefinition(lambda _: source_of(settings)),
        "clock": dg.ResourceDefinition(lambda context: clock or _clock_of_run(settings, context)),
        "warehouse": dg.ResourceDefinition(lambda _: warehouse_of(settings)),
        "progress": dg.ResourceDefinition.hardcoded_resource(on_progress or (lambda _: None)),
        "pipes": dg.PipesSubprocessClient(),
    }


def _clock_of_run(settings: Settings, context: dg.InitResourceContext) -> Clock:
    """Return a clock that stands where the run began: all of a run is decided as of one moment, however long it takes.

    Otherwise the bars that were synced at its beginning would be stale by the time that a study is over.
    """
    clock = clock_of(settings.market, source_of(settings))
    record = context.instance.get_run_record_by_id(context.run.run_id) if context.run and context.instance else None
    if record is None:  # a sensor or schedule looks at the present
        return clock
    began = datetime.fromtimestamp(record.start_time, UTC) if record.start_time else record.create_timestamp
    return FixedClock(min(began, clock.now()))
