"""What the UI shows of the bars' checks: verdict, figures, and the worst days."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import dagster as dg
import polars as pl
import pytest

from assets.checks import result
from assets.tables import key_of, schema
from cappuccino.clock import FixedClock
from cappuccino.market.interval import Interval
from cappuccino.market.quality_catalogue import RESULT_SCHEMA
from cappuccino.market.simulated import SimulatedSource
from cappuccino.market.sync import sync_bars
from cappuccino.settings import Settings, load
from cappuccino.store.warehouse import Warehouse
from dagster_project.definitions import build_definitions

SYMBOLS = ("BTC/USD", "ETH/USD")
START = datetime(2025, 6, 26, tzinfo=UTC)
END = START + timedelta(days=4)


class Holed(SimulatedSource):
    """A market of which the source lost five hours of ETH on the second day."""

    def bars(self, symbols: tuple[str, ...], interval: Interval, start: datetime, stop: datetime) -> pl.DataFrame:
        lost = pl.col("opened_at_utc").is_between(START + timedelta(hours=30), START + timedelta(hours=34))
        return super().bars(symbols, interval, start, stop).filter(~(lost & (pl.col("symbol") == "ETH/USD")))


@pytest.fixture
def settings(tmp_path) -> Settings:
    market = {"symbols": SYMBOLS, "base_interval": "1h", "history_days": 4, "end": END, "max_filled_frac": 0.2}
    found = load(None, {"warehouse": tmp_path, "market": market})
    warehouse = Warehouse(found.database)
    warehouse.migrate(schema())
    sync_bars(warehouse, Holed(1), found.market, START, END, END)
    return found


def checks_of(settings: Settings) -> dict[str, dg.AssetCheckEvaluation]:
    selection = dg.AssetSelection.checks_for_assets(key_of("market.bars"))
    project = build_definitions(settings, FixedClock(END))
    job = dg.define_asset_job("look", selection)
    with dg.DagsterInstance.ephemeral() as instance:
        done = dg.Definitions.merge(project, dg.Definitions(jobs=[job])).resolve_job_def("look")
        outcome = done.execute_in_process(instance=instance, raise_on_error=False)
    return {found.check_name: found for found in outcome.get_asset_check_evaluations()}


def test_a_hole_is_shown_with_its_figures_and_its_worst_day(settings):
    found = checks_of(settings)
    gaps = found["gaps"]
    assert (gaps.passed, gaps.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert gaps.description == "ETH/USD: hole of 5 bars (5.0 h) after 2025-06-27 05:00 UTC"
    figures = {name: value.value for name, value in gaps.metadata.items()}
    assert (figures["n_bad"], figures["n_checked"], figures["symbols_failed"]) == (5, 2 * 96, 1)
    assert figures["worst_day"] == "2025-06-27"
    assert figures["worst_days"].splitlines() == [
        "| day | symbol | bad | checked | detail |",
        "| --- | --- | --- | --- | --- |",
        "| 2025-06-27 | ETH/USD | 5 | 24 | hole of 5 bars (5.0 h) after 2025-06-27 05:00 UTC |",
    ]
    assert {name for name, each in found.items() if not each.passed} == {"gaps"}
    assert set(found["jumps"].metadata) == {"n_bad", "n_checked", "symbols_failed"}


def test_under_refuse_the_same_hole_is_an_error(settings):
    refusing = settings.model_copy(update={"market": settings.market.model_copy(update={"gap_policy": "refuse"})})
    assert checks_of(refusing)["gaps"].severity == dg.AssetCheckSeverity.ERROR


def test_a_description_names_the_worst_symbols_only():
    rows = [("gaps", f"S{n}/USD", "warn", False, n, 100, n / 100, f"hole {n}") for n in range(1, 9)]
    found = result("gaps", pl.DataFrame(rows, RESULT_SCHEMA, orient="row"), pl.DataFrame())
    assert found.description == "; ".join(f"S{n}/USD: hole {n}" for n in (8, 7, 6, 5, 4))
    assert found.metadata["symbols_failed"].value == 8
