"""What Dagster knows of the project: assets, checks, jobs, schedules, sensors, and that each of them works."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from assets.records import DEPS
from assets.tables import key_of, schema
from cappuccino.clock import FixedClock
from cappuccino.errors import DataError
from cappuccino.market.interval import Interval
from cappuccino.market.simulated import SimulatedSource
from cappuccino.settings import Settings, load
from cappuccino.store.warehouse import Warehouse
from dagster_project.definitions import build_definitions
from dagster_project.materialization import Materializer
from dagster_project.resources import resources_of
from dagster_project.schedules import hourly_trading
from dagster_project.sensors import stale_bars, stale_training

SYMBOLS = ("BTC/USD", "ETH/USD")
FIRST, END = datetime(2025, 6, 26, tzinfo=UTC), datetime(2025, 7, 1, tzinfo=UTC)
DAYS = ("2025-06-26", "2025-06-30")
BARS = dg.AssetSelection.assets(key_of("market.bars"))
RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


def settings_in(folder: Path, **market: object) -> Settings:
    chosen = {"symbols": SYMBOLS, "base_interval": "1h", "history_days": 5, "end": END, **market}
    return load(None, {"warehouse": folder / "warehouse", "market": chosen})


@pytest.fixture
def settings(tmp_path) -> Settings:
    return settings_in(tmp_path)


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as one:
        yield one


@pytest.fixture
def runs(settings, instance) -> Materializer:
    return Materializer(settings, instance)


@pytest.fixture(scope="module")
def definitions(tmp_path_factory) -> dg.Definitions:
    return build_definitions(settings_in(tmp_path_factory.mktemp("definitions")))


@pytest.fixture(scope="module")
def graph(definitions):
    return definitions.resolve_asset_graph()


def test_the_definitions_load_and_bind(definitions):
    dg.Definitions.validate_loadable(definitions)


def test_every_table_of_sql_is_an_asset_with_group_description_and_columns(graph):
    files = schema().contracts | schema().models
    assert {key_of(name) for name in files} | {dg.AssetKey(["ops", "report"])} == set(graph.get_all_asset_keys())
    for name, file in files.items():
        node = graph.get(key_of(name))
        assert node.group_name == file.schema
        assert file.description in node.description
        shown = node.metadata["dagster/column_schema"].columns
        assert {column.name: column.description for column in shown} == dict(file.columns), name


def test_every_table_is_made_by_something(graph):
    external = {key.to_user_string() for key in graph.get_all_asset_keys() - graph.materializable_asset_keys}
    assert external == {table.replace(".", "/") for table in DEPS}, "these are written beside others, or by commands"


def test_a_models_dependencies_are_the_tables_that_its_sql_reads(graph):
    for name, file in schema().models.items():
        assert graph.get(key_of(name)).parent_keys == {key_of(table) for table in file.depends_on}
    assert graph.get(key_of("market.bars_all")).parent_keys == {key_of("market.bars"), key_of("market.intervals")}


def test_everything_that_money_follows_from_comes_after_the_bars(graph):
    downstream = graph.get(key_of("market.bars")).child_keys
    reached = set()
    while downstream:
        reached |= downstream
        downstream = {child for key in downstream for child in graph.get(key).child_keys} - reached
    for table in ("features.features", "lab.trials", "arena.matches", "desk.equity", "promotion.decisions"):
        assert key_of(table) in reached


def test_every_check_of_bars_that_can_find_an_error_blocks(graph):
    checks = {
        key for key in graph.asset_check_keys if key.asset_key == key_of("market.bars") and key.name != "contract"
    }
    assert len(checks) == 11
    assert {key.name for key in checks if not graph.get(key).blocking} == {"halts", "zero_volume", "jumps"}


def test_every_table_with_tests_has_a_contract_check(graph):
    tested = {key_of(name) for name, file in (schema().contracts | schema().models).items() if file.tests}
    assert {key.asset_key for key in graph.asset_check_keys if key.name == "contract"} == tested


def test_all_but_the_long_searches_hold_the_pool_of_writers(graph):
    makers = {
        key: graph.get(key).pools for key in graph.materializable_asset_keys if key != dg.AssetKey(["ops", "report"])
    }
    searched = {
        "lab.timeframe_choices",
        "lab.trials",
        "lab.studies",
        "lab.attempts",
        "lab.evaluations",
        "lab.daily_returns",
        "lab.folds",
        "lab.tree_importances",
        "lab.updates",
        "lab.importances",
    }
    assert {key for key, pools in makers.items() if pools != {"warehouse"}} == {key_of(table) for table in searched}


def test_a_backfill_of_days_is_one_run_that_replaces_their_rows(settings, runs, instance):
    runs.materialize(BARS, DAYS)
    warehouse = Warehouse(settings.database)
    whole = warehouse.query("from market.bars order by all")
    assert len(whole) == 5 * 24 * len(SYMBOLS)
    with warehouse.write() as writer:
        writer.execute("update market.bars set volume = 999")
    runs.materialize(BARS, ("2025-06-27", "2025-06-29"))
    spoilt = warehouse.query("select distinct opened_at_utc::date as day from market.bars where volume = 999")
    assert {f"{day:%F}" for day in spoilt["day"]} == {DAYS[0], DAYS[1]}
    runs.materialize(BARS, DAYS)
    assert warehouse.query("from market.bars order by all").equals(whole)
    assert instance.get_runs_count() == 3
    days = instance.get_materialized_partitions(key_of("market.bars"))
    assert days == {f"{FIRST + timedelta(days=n):%F}" for n in range(5)}


def test_bars_are_backfilled_in_a_single_run_from_the_ui_too(graph):
    assert graph.get(key_of("market.bars")).backfill_policy == dg.BackfillPolicy.single_run()


def materialized(instance) -> set[str]:
    """Return what was made, but for order books, which are seen now or never and wait for no bars."""
    made = {key.to_user_string() for key in instance.all_asset_keys() if instance.get_latest_materialization_event(key)}
    return made - {"market/books"}


def test_a_repeated_bar_stops_everything_that_follows_in_the_same_run(settings, runs, instance):
    runs.materialize(BARS, DAYS)
    warehouse = Warehouse(settings.database)
    with warehouse.write() as writer:
        writer.execute("insert into market.bars from (from market.bars order by symbol, opened_at_utc limit 1)")
    with pytest.raises(DataError, match=r"market/bars:duplicates: BTC/USD: 1 repeated.*2025-06-26 00:00"):
        runs.run("trading", FixedClock(END), (DAYS[1], DAYS[1]))
    assert materialized(instance) == {"market/bars"}
    found = warehouse.query("select symbol, n_bad from ops.data_quality where not passed and severity = 'error'")
    assert found.rows() == [("BTC/USD", 1)]


def csv_of(folder: Path, bars: pl.DataFrame) -> Path:
    file = folder / "bars.csv"
    bars.with_columns(pl.col("opened_at_utc").dt.replace_time_zone(None)).write_csv(file)
    return file


def test_a_hole_above_the_limit_stops_the_whole_life(tmp_path, instance):
    bars = SimulatedSource(1).bars(SYMBOLS, Interval.H1, FIRST, END)
    is_hole = (pl.col("symbol") == "ETH/USD") & pl.col("opened_at_utc").is_between(
        FIRST + timedelta(days=2), FIRST + timedelta(days=2, hours=5)
    )
    file = csv_of(tmp_path, bars.filter(~is_hole))
    settings = settings_in(tmp_path, source="files", path=file)
    with pytest.raises(DataError, match="market/bars:filled_share: ETH/USD"):
        Materializer(settings, instance).run("whole_life", FixedClock(END), DAYS)
    views_of_commands = {"lab/audited", "lab/backtest_months"}  # they wait for no bars
    assert materialized(instance) - views_of_commands == {"market/bars", "market/intervals"}
    quality = Warehouse(settings.database).query("from ops.data_quality").filter(check="filled_share")
    assert dict(quality.select("symbol", "passed").rows()) == {"BTC/USD": True, "ETH/USD": False}
    assert quality.filter(symbol="ETH/USD")["figure"].item() == pytest.approx(6 / 120)
    assert Warehouse(settings.database).query("select count(*) from features.features").item() == 0


def test_a_file_with_a_wrong_bar_is_refused_before_a_row_is_written(tmp_path, instance):
    bars = SimulatedSource(1).bars(SYMBOLS, Interval.H1, FIRST, END)
    wrong = (pl.col("symbol") == "ETH/USD") & (pl.col("opened_at_utc") == FIRST)
    file = csv_of(tmp_path, bars.with_columns(high=pl.when(wrong).then(pl.col("low") / 2).otherwise("high")))
    settings = settings_in(tmp_path, source="files", path=file)
    with pytest.raises(DataError, match="ETH/USD"):
        Materializer(settings, instance).run("trading", FixedClock(END), DAYS)
    assert materialized(instance) == set()
    assert Warehouse(settings.database).query("select count(*) from market.bars").item() == 0


def test_an_unexpected_error_says_its_kind_and_where_its_log_is(tmp_path, instance, settings):
    runs = Materializer(settings, instance)
    runs.materialize(BARS | dg.AssetSelection.assets(key_of("market.bars_all")), DAYS)
    with Warehouse(settings.database).write() as writer:
        writer.execute(
            """
            insert into promotion.decisions values
            (1, 's', 0, null, 'arena', 'enter', 'test', 'no JSON', 'rule', timestamp '2025-06-30')
            """
        )
    with pytest.raises(Exception, match=r"decisions: JSONDecodeError: .*\n.*`cappuccino ui` has the log of run"):
        runs.materialize(dg.AssetSelection.assets(key_of("promotion.decisions")))


# Sensors and schedules, on warehouses without a file, fresh, stale


def tick(sensor: dg.SensorDefinition, settings: Settings, instance: dg.DagsterInstance, now: datetime):
    context = dg.build_sensor_context(instance=instance, resources=dict(resources_of(settings, FixedClock(now))))
    return sensor.evaluate_tick(context)


def executes(settings: Settings, instance: dg.DagsterInstance, now: datetime, request: dg.RunRequest) -> bool:
    job = build_definitions(settings, FixedClock(now)).resolve_job_def("trading")
    return job.execute_in_process(instance=instance, tags=request.tags, raise_on_error=False).success


def test_without_a_warehouse_the_sensor_asks_for_the_whole_history(settings, instance):
    ticked = tick(stale_bars, settings, instance, END)
    (request,) = ticked.run_requests
    assert (request.tags[RANGE_START], request.tags[RANGE_END]) == ("2025-06-26", "2025-07-01")
    assert executes(settings, instance, END, request)
    known = Warehouse(settings.database).query("select count(*), min(known_until_utc) from market.freshness")
    assert known.rows() == [(2, END)]
    assert tick(stale_bars, settings, instance, END).skip_message.startswith("bars are known until")


def test_bars_are_stale_after_two_intervals_and_the_grace_time(settings, runs, instance):
    runs.materialize(BARS, DAYS)
    # The newest bar opened an hour before END.
    patience = timedelta(hours=1, minutes=5)
    assert tick(stale_bars, settings, instance, END + patience).run_requests == []
    (request,) = tick(stale_bars, settings, instance, END + patience + timedelta(minutes=1)).run_requests
    assert (request.tags[RANGE_START], request.tags[RANGE_END]) == ("2025-07-01", "2025-07-01")


def test_one_state_of_the_data_is_one_request_an_interval(settings, runs, instance):
    runs.materialize(BARS, DAYS)
    later = END + timedelta(hours=5)
    (first,) = tick(stale_bars, settings, instance, later).run_requests
    (again,) = tick(stale_bars, settings, instance, later + timedelta(minutes=59)).run_requests
    (next_hour,) = tick(stale_bars, settings, instance, later + timedelta(hours=1)).run_requests
    assert first.run_key == again.run_key != next_hour.run_key


def test_training_waits_for_bars(settings, instance):
    assert "bars are stale" in tick(stale_training, settings, instance, END).skip_message


def test_without_a_study_training_data_are_stale_and_the_request_covers_closed_bars(settings, runs, instance):
    runs.materialize(BARS, DAYS)
    (request,) = tick(stale_training, settings, instance, END).run_requests
    assert (request.tags[RANGE_START], request.tags[RANGE_END]) == ("2025-06-30", "2025-07-01")
    assert executes(settings, instance, END, request), "at midnight the new day has no closed bar yet"


def test_there_are_never_two_studies_at_once(settings, runs, instance):
    runs.materialize(BARS, DAYS)
    job = build_definitions(settings).resolve_job_def("whole_life")
    run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    assert "under way" in tick(stale_training, settings, instance, END).skip_message
    instance.report_run_canceled(run)
    assert tick(stale_training, settings, instance, END).run_requests


def test_a_failed_study_is_tried_again_the_next_day_and_not_before(settings, runs, instance):
    runs.materialize(BARS, DAYS)
    (first,) = tick(stale_training, settings, instance, END).run_requests
    (again,) = tick(stale_training, settings, instance, END + timedelta(hours=1)).run_requests
    assert first.run_key == again.run_key
    with Warehouse(settings.database).write() as writer:
        writer.execute("update market.bars set closed_at_utc = closed_at_utc + interval 1 day")
    (tomorrow,) = tick(stale_training, settings, instance, END + timedelta(days=1)).run_requests
    assert tomorrow.run_key != first.run_key


def test_fresh_training_data_ask_for_nothing(life, instance):
    assert "training data reach until" in tick(stale_training, life.settings, instance, END).skip_message
    eight_days_old = END + timedelta(days=4, hours=1)
    assert "bars are stale" in tick(stale_training, life.settings, instance, eight_days_old).skip_message


def test_every_hour_trades_yesterdays_and_todays_bars(settings):
    context = dg.build_schedule_context(
        scheduled_execution_time=datetime(2025, 6, 28, 9, 5, tzinfo=UTC),
        resources=dict(resources_of(settings, FixedClock(END))),
    )
    request = hourly_trading(context)
    assert (request.tags[RANGE_START], request.tags[RANGE_END]) == ("2025-06-27", "2025-06-28")


def test_the_hours_after_the_end_of_a_record_are_one_run(settings, instance):
    asked = []
    for hour in (9, 10):
        context = dg.build_schedule_context(
            scheduled_execution_time=datetime(2026, 1, 2, hour, 5, tzinfo=UTC),
            resources=dict(resources_of(settings)),
        )
        asked.append(hourly_trading(context))
    assert asked[0].run_key == asked[1].run_key
    assert executes(settings, instance, END, asked[0])


def test_what_decides_is_off_until_somebody_turns_it_on_and_what_copies_is_not(definitions):
    running = {
        automation.name
        for automation in (*definitions.schedules, *definitions.sensors)
        if automation.default_status.value != "STOPPED"
    }
    assert running == {"trader_news"}
