"""The trader's ledger comes into the warehouse: by the jobs that judge, by a sensor, and never in a replay."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from assets import trader
from assets.tables import key_of, schema
from cappuccino.clock import FixedClock
from cappuccino.settings import Settings, load
from cappuccino.store.warehouse import Warehouse
from cappuccino.trading.ledger import Ledger
from dagster_project.definitions import build_definitions
from dagster_project.jobs import REPLAYED
from dagster_project.materialization import Materializer
from dagster_project.resources import resources_of
from dagster_project.sensors import trader_news
from tests.unit.trading.small_ledger import SYMBOLS, T0, account_row, ledger_with, live_an_hour

NOW = datetime(2025, 3, 26, 1, 30, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    market = {"symbols": SYMBOLS, "base_interval": "1h", "history_days": 5, "end": NOW}
    return load(None, {"warehouse": tmp_path / "warehouse", "market": market})


@pytest.fixture
def ledger(settings: Settings) -> Iterator[Ledger]:
    made = ledger_with(settings.desk, account_row("s/1"))
    live_an_hour(made, "s/1", T0)
    yield made
    made.close()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as one:
        yield one


def tick(settings: Settings, instance: dg.DagsterInstance):
    resources = dict(resources_of(settings, FixedClock(NOW)))
    return trader_news.evaluate_tick(dg.build_sensor_context(instance=instance, resources=resources))


def test_every_table_that_copies_the_ledger_is_made_by_the_asset() -> None:
    read_by_others = {"desk.accounts", "desk.equity", "desk.fills", "desk.votes"}
    copies = {name for name, file in schema().contracts.items() if "version" in file.columns and name[:5] == "desk."}
    assert copies | {"desk.drift"} == set(trader.TABLES)
    assert not read_by_others & set(trader.TABLES)


def test_without_a_trader_nothing_is_asked_for_and_the_jobs_go_on(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    assert tick(settings, instance).skip_message == "no trader has run on this warehouse"
    outcome = Materializer(settings, instance).run("trader", FixedClock(NOW))
    assert outcome.failed_checks == ()
    assert Warehouse(settings.database).query("select count(*) from desk.mirrors").item() == 0


def test_the_sensor_asks_for_what_is_not_copied_yet(
    settings: Settings, instance: dg.DagsterInstance, ledger: Ledger
) -> None:
    (first,) = tick(settings, instance).run_requests
    assert first.run_key == f"trader-{ledger.version}"
    Materializer(settings, instance).run("trader", FixedClock(NOW))
    orders = Warehouse(settings.database).query("select state, count(*) as n from desk.orders group by state")
    assert orders.rows() == [("filled", 1)]
    assert tick(settings, instance).skip_message == f"the ledger is copied up to its version {ledger.version}"
    live_an_hour(ledger, "s/1", NOW.replace(minute=0))
    (second,) = tick(settings, instance).run_requests
    assert second.run_key != first.run_key


def test_one_copy_at_a_time_is_asked_for(settings: Settings, instance: dg.DagsterInstance, ledger: Ledger) -> None:
    job = build_definitions(settings).resolve_job_def("trader")
    instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    assert tick(settings, instance).skip_message == "a copy is under way"


def test_verdicts_wait_for_the_copy_and_replays_know_nothing_of_it(settings: Settings) -> None:
    definitions = build_definitions(settings)
    graph = definitions.resolve_asset_graph()
    copies = {key_of(table) for table in trader.TABLES}
    assert key_of("desk.trader_accounts") in graph.get(key_of("desk.equity")).parent_keys
    assert key_of("desk.equity") in graph.get(key_of("promotion.decisions")).parent_keys
    for job in ("trading", "matches", "whole_life"):
        assert copies <= set(definitions.resolve_job_def(job).asset_layer.selected_asset_keys), job
    for job, selection in REPLAYED.items():
        assert not copies & selection.resolve(graph), job
