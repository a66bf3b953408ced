"""Everything that Dagster loads: assets from assets/, with resources, jobs, schedules and sensors."""

import dagster as dg

from assets import arena, checks, desk, features, lab, market, promotion, report, sql_models
from cappuccino.clock import Clock
from cappuccino.settings import Settings, load
from dagster_project.jobs import JOBS
from dagster_project.resources import resources_of
from dagster_project.schedules import SCHEDULES
from dagster_project.sensors import SENSORS


def build_definitions(settings: Settings, clock: Clock | None = None) -> dg.Definitions:
    """Return the project for `settings`; with `clock`, every decision is made as of its moment."""
    return dg.Definitions(
        assets=[
            market.market_bars,
            *market.records,
            *sql_models.sql_models(),
            features.features,
            lab.timeframe_search,
            lab.training,
            arena.arena,
            desk.desk,
            promotion.decisions,
            report.report,
        ],
        asset_checks=[checks.bar_quality, *checks.contract_checks()],
        jobs=JOBS,
        schedules=SCHEDULES,
        sensors=SENSORS,
        resources=resources_of(settings, clock),
    )


@dg.definitions
def defs() -> dg.Definitions:
    """The project as configured by cappuccino.toml and the environment."""
    return build_definitions(load())
