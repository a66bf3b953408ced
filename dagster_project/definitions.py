"""Everything that Dagster loads: assets from assets/, with resources, jobs, schedules and sensors."""

import dagster as dg

from assets import (
    arena,
    checks,
    currency_checks,
    desk,
    ensembles,
    features,
    inputs,
    judgement,
    lab,
    market,
    promotion,
    records,
    report,
    sql_models,
    trader,
    trees,
)
from assets.freshness import with_freshness
from cappuccino.clock import Clock
from cappuccino.market.sync import OnProgress
from cappuccino.settings import Settings, load
from dagster_project.jobs import JOBS
from dagster_project.resources import resources_of
from dagster_project.schedules import SCHEDULES
from dagster_project.sensors import SENSORS


def build_definitions(
    settings: Settings, clock: Clock | None = None, on_progress: OnProgress | None = None
) -> dg.Definitions:
    """Return the project for `settings`; with `clock`, every decision is made as of its moment."""
    assets: list[dg.AssetsDefinition | dg.AssetSpec] = [
        market.market_bars,
        *records.records,
        *sql_models.sql_models(),
        inputs.market_books,
        features.features,
        lab.timeframe_search,
        lab.training,
        trees.trees,
        ensembles.ensembles,
        arena.arena,
        judgement.judgement,
        trader.trader_desk,
        desk.desk,
        desk.system,
        promotion.decisions,
        report.report,
    ]
    return dg.Definitions(
        assets=with_freshness(assets, settings),
        asset_checks=[checks.bar_quality, *checks.contract_checks(), *currency_checks.currency_checks()],
        jobs=JOBS,
        schedules=SCHEDULES,
        sensors=SENSORS,
        resources=resources_of(settings, clock, on_progress),
    )


@dg.definitions
def defs() -> dg.Definitions:
    """The project as configured by cappuccino.toml and the environment."""
    return build_definitions(load())
