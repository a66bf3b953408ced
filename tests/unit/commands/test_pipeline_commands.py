"""run, materialize, ui: what they pass on to Dagster, and how they refuse."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cappuccino.market.interval import Interval
from cappuccino.market.simulated import SimulatedSource
from cappuccino.settings import load
from dagster_project.commands.options import overrides_of
from dagster_project.commands.run import introduction
from dagster_project.commands.ui import environment_of
from dagster_project.pipeline import timetable

NOTHING = dict.fromkeys(["source", "path", "symbols", "start", "end", "trials", "timeframe_trials", "workers", "seed"])
END = datetime(2025, 7, 1, tzinfo=UTC)


def test_a_view_is_made_again(another_life, cappuccino):
    done = cappuccino("materialize", "lab.leaderboard", "arena/ladder", "--json", *another_life.options)
    assert done.exit_code == 0, done.stderr
    made = json.loads(done.stdout)
    assert made["assets"] == ["arena/ladder", "lab/leaderboard"]
    assert made["failed_checks"] == []
    assert made["run"]


def test_days_of_bars_are_replaced(another_life, cappuccino):
    warehouse = another_life.warehouse
    whole = warehouse.query("select * exclude ingested_at_utc from market.bars order by all")
    with warehouse.write() as writer:
        writer.execute("delete from market.bars where opened_at_utc::date between '2025-06-10' and '2025-06-11'")
    done = cappuccino("materialize", "market/bars", "--partitions", "2025-06-10..2025-06-11", *another_life.options)
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("materialised market/bars in run ")
    assert warehouse.query("select * exclude ingested_at_utc from market.bars order by all").equals(whole)


def test_tables_that_one_step_makes_come_together(another_life, cappuccino):
    done = cappuccino("materialize", "desk/fills", "--json", *another_life.options)
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["assets"] == ["desk/accounts", "desk/equity", "desk/fills", "desk/votes"]


def test_a_failed_contract_is_shown_on_stderr(another_life, cappuccino):
    with another_life.warehouse.write() as writer:
        writer.execute("update ops.data_quality set severity = 'perhaps' where n_bad = 0")
        writer.execute("update market.bars set low = high + 1 where opened_at_utc = '2025-06-10'")
    done = cappuccino("materialize", "market/bars_all", *another_life.options)
    assert done.exit_code == 0
    assert "check failed: market/bars_all:contract" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("lab/leaderbord",), "did you mean lab/leaderboard"),
        (("ops/syncs",), "no asset 'ops/syncs'"),
        (("market/bars",), "--partitions"),
        (("arena/ladder", "--partitions", "2025-06-01"), "no other has days"),
        (("market/bars", "--partitions", "2019-12-31"), "partition 2019-12-31 does not exist"),
        (("market/bars", "--partitions", "2025-06-11..2025-06-10"), "the end is before the start"),
        (("market/bars", "--partitions", "June"), "'June' is not a date"),
        ((), "Missing argument 'ASSET...'"),
    ],
)
def test_what_cannot_be_materialised_is_wrong_use(arguments, said, cappuccino, life):
    done = cappuccino("materialize", *arguments, *life.options)
    assert done.exit_code == 2
    assert said in done.stderr


def test_days_after_the_record_are_refused(cappuccino, another_life):
    done = cappuccino("materialize", "market/bars", "--partitions", "2025-07-02", *another_life.options)
    assert done.exit_code == 1
    assert "has closed at 2025-07-01 00:00" in done.stderr


def test_another_source_never_mixes_into_a_warehouse(cappuccino, another_life, tmp_path):
    bars = SimulatedSource(1).bars(("BTC/USD", "ETH/USD", "LTC/USD"), Interval.H1, END - timedelta(days=2), END)
    bars.write_parquet(tmp_path / "bars.parquet")
    before = another_life.warehouse.query("from market.bars order by all")
    files = {"CAPPUCCINO_MARKET__SOURCE": "files", "CAPPUCCINO_MARKET__PATH": str(tmp_path / "bars.parquet")}
    day = ("market/bars", "--partitions", "2025-06-30")
    done = cappuccino("materialize", *day, *another_life.options, **files)
    assert done.exit_code == 1
    assert "bars of two kinds never mix" in done.stderr
    assert another_life.warehouse.query("from market.bars order by all").equals(before)


def test_what_the_training_program_refuses_is_said_in_its_words(cappuccino, another_life):
    without_workers = {"CAPPUCCINO_TRAINING__WORKERS": "0"}
    done = cappuccino("materialize", "lab/timeframe_choices", *another_life.options, **without_workers)
    assert done.exit_code == 1
    assert done.stderr.startswith("error: timeframe_search: training.workers is 0, so nothing trains")


def test_options_of_run_become_settings():
    chosen = overrides_of(**{**NOTHING, "symbols": "BTC/USD, ETH/USD", "start": "2025-01-01", "trials": 5, "seed": 3})
    assert chosen == {
        "market": {"symbols": ("BTC/USD", "ETH/USD"), "start": datetime(2025, 1, 1, tzinfo=UTC)},
        "simulated": {"seed": 3},
        "training": {"trials": 5, "seed": 3},
    }
    assert overrides_of(**NOTHING) == {}


def test_a_path_means_files_with_all_their_symbols_in_their_interval(tmp_path):
    bars = SimulatedSource(1).bars(("ETH/USD", "LTC/USD"), Interval.H1, END - timedelta(days=2), END)
    file = tmp_path / "bars.parquet"
    bars.write_parquet(file)
    chosen = overrides_of(**{**NOTHING, "path": file})
    market = {"source": "files", "path": file, "symbols": ("ETH/USD", "LTC/USD"), "base_interval": Interval.H1}
    assert chosen == {"market": market}
    only_eth = overrides_of(**{**NOTHING, "path": file, "symbols": "ETH/USD"})
    assert only_eth == {"market": {**market, "symbols": ("ETH/USD",)}}
    assert any(str(file) in line for line in introduction(load(None, chosen)))


def test_the_introduction_says_what_is_simulated_and_what_is_smaller():
    lines = introduction(load())
    assert "SIMULATED" in lines[0]
    assert any(line.startswith("  arena.streak: 3 instead of 20") for line in lines)
    assert introduction(load(None, {"profile": "paper"}))[1:] == []


def test_the_run_decides_before_the_days_that_it_holds_back(life):
    settings = life.settings
    times = timetable(settings, SimulatedSource(settings.simulated.seed))
    assert times.decided_at == END - timedelta(days=4)
    assert times.steps == (END - timedelta(days=2), END)
    assert times.first_open == END - timedelta(days=100)


def test_the_ui_has_the_settings_of_the_command(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text('[arena]\nstreak = 3\n[market]\nsource = "files"\npath = "bars.csv"\n')
    wanted = load(Path("mine.toml"), {"warehouse": Path("here"), "profile": "paper"})
    for name, value in environment_of(wanted, Path("mine.toml")).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir("/")
    found = load()
    assert found.arena == wanted.arena
    assert found.profile == "paper"
    assert found.warehouse == tmp_path / "here"
    assert found.market.path == tmp_path / "bars.csv"
