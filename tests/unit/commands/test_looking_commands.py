"""Commands that only look: what they print, for people and for machines, and their exit codes."""

import csv
import io
import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from cappuccino.settings import load
from cappuccino.store.warehouse import Warehouse
from cappuccino.validation.baselines import BASELINES
from tests.conftest import weights_of


@pytest.fixture
def look(life, cappuccino):
    """Call a command on the whole life; it must succeed."""

    def call(*arguments):
        done = cappuccino(*arguments, *life.options)
        assert done.exit_code == 0, done.stderr
        return done.stdout

    return call


def test_stages_show_every_model_with_its_reason(look, life, production):
    assert "Stages" in look("stages")
    rows = json.loads(look("stages", "--json"))
    assert len(rows) == 11  # five networks, two forests, four ensembles
    assert {"model", "stage", "since_utc", "reason"} == set(rows[0])
    assert sum(row["stage"] == "production" for row in rows) == 1
    (only,) = json.loads(look("stages", "--stage", "production", "--json"))
    assert only["model"] == production
    assert production in look("stages", "--stage", "production")
    assert json.loads(look("stages", "--stage", "live", "--json")) == []


def test_production_stands_beside_the_baselines(look, production):
    text = look("production")
    assert "Production" in text
    assert "sixty_forty" in text
    shown = json.loads(look("production", "--json"))
    assert f"{shown['production']['study']}/{shown['production']['trial']}" == production
    assert shown["production"]["is_simulated"] is True
    assert shown["figures"][0]["subject"] == production
    assert {row["subject"] for row in shown["figures"]} == {production, *BASELINES}


def test_on_the_first_day_nothing_is_there_and_that_is_said(cappuccino, first_day):
    stages = cappuccino("stages", "--warehouse", first_day)
    assert (stages.exit_code, stages.stdout) == (0, "Stages: no model has entered the arena yet\n")
    assert json.loads(cappuccino("stages", "--json", "--warehouse", first_day).stdout) == []
    production = cappuccino("production", "--warehouse", first_day)
    assert production.stdout == "Production: no model is in production now\n"
    nothing = json.loads(cappuccino("production", "--json", "--warehouse", first_day).stdout)
    assert nothing == {"production": None, "figures": []}


def test_sql_answers_as_a_table_as_json_and_as_csv(look):
    query = "select 'a,b' as name, 1.5 as share_frac, null as nothing union all select 'c', 2.5, null order by name"
    table = look("sql", query)
    assert "2 rows" in table
    assert "a,b" in table
    assert json.loads(look("sql", query, "--json")) == [
        {"name": "a,b", "share_frac": 1.5, "nothing": None},
        {"name": "c", "share_frac": 2.5, "nothing": None},
    ]
    rows = list(csv.reader(io.StringIO(look("sql", query, "--csv"))))
    assert rows == [["name", "share_frac", "nothing"], ["a,b", "1.5", ""], ["c", "2.5", ""]]


def test_sql_prints_lists_structs_and_what_json_cannot_say(look):
    query = """
        select [1, 2] as list, {'a': date '2025-01-01'} as struct, 'nan'::double as nan, timestamp '2025-01-01' as t_utc
    """
    (row,) = json.loads(look("sql", query, "--json"))
    assert row == {"list": [1, 2], "struct": {"a": "2025-01-01"}, "nan": None, "t_utc": "2025-01-01T00:00:00+00:00"}
    (cells,) = list(csv.DictReader(io.StringIO(look("sql", query, "--csv"))))
    assert json.loads(cells["list"]) == [1, 2]
    assert json.loads(cells["struct"]) == {"a": "2025-01-01"}


def test_sql_without_rows_says_so(look):
    assert look("sql", "select 1 as a where false") == "0 rows: nothing there yet\n"
    assert json.loads(look("sql", "select 1 as a where false", "--json")) == []
    assert look("sql", "select 1 as a where false", "--csv") == "a\n"


def test_sql_sees_what_was_written_since_unless_told_not_to(another_life, cappuccino):
    count = ("sql", "select count(*) as n from promotion.decisions", "--json", *another_life.options)
    before = json.loads(cappuccino(*count).stdout)[0]["n"]
    with another_life.warehouse.write() as writer:
        writer.execute(
            "delete from promotion.decisions where sequence = (select max(sequence) from promotion.decisions)"
        )
    assert json.loads(cappuccino(*count, "--no-refresh").stdout)[0]["n"] == before
    assert json.loads(cappuccino(*count).stdout)[0]["n"] == before - 1


def test_a_wrong_query_is_answered_with_duckdbs_words(life, cappuccino):
    done = cappuccino("sql", "select * from lab.leaderbord", *life.options)
    assert done.exit_code == 1
    assert 'Did you mean "leaderboard"?' in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_the_published_copy_cannot_be_written(life, cappuccino):
    done = cappuccino("sql", "delete from promotion.decisions", *life.options)
    assert done.exit_code == 1
    assert "read-only" in done.stderr


def test_sql_gives_one_format_at_a_time(life, cappuccino):
    done = cappuccino("sql", "select 1", "--json", "--csv", *life.options)
    assert done.exit_code == 2
    assert "choose one" in done.stderr


def test_the_doctor_finds_a_whole_life_in_good_health(look, production):
    text = look("doctor")
    assert f"{production}: manifest and weights verified" in text
    findings = json.loads(look("doctor", "--json"))
    assert {finding["status"] for finding in findings} <= {"ok", "warn"}
    assert {"python", "disk", "source", "warehouse", "bars", "model"} <= {finding["subject"] for finding in findings}


def test_the_doctor_fails_when_the_model_in_production_is_damaged(another_life, cappuccino, production):
    weights = weights_of(another_life.folder, production)
    weights.write_bytes(weights.read_bytes()[:-1])
    done = cappuccino("doctor", *another_life.options)
    assert done.exit_code == 1
    assert "FAIL  model" in done.stdout
    assert f"cappuccino retire {production}" in done.stdout
    failed = cappuccino("doctor", "--json", *another_life.options)
    assert failed.exit_code == 1
    assert [f["subject"] for f in json.loads(failed.stdout) if f["status"] == "fail"] == ["model"]


def test_the_doctor_works_where_nothing_was_made_yet(tmp_path, cappuccino):
    done = cappuccino("doctor", "--warehouse", tmp_path / "none")
    assert done.exit_code == 0
    assert "cappuccino run" in done.stdout
    assert not (tmp_path / "none").exists()


def test_the_printed_configuration_is_a_file_that_gives_the_same(life, look, tmp_path):
    text = look("config")
    file = tmp_path / "printed.toml"
    file.write_text(text)
    assert tomllib.loads(text)["arena"]["streak"] == 1
    assert load(file) == life.settings
    assert json.loads(look("config", "--json")) == life.settings.model_dump(mode="json")


def test_the_printed_configuration_explains_its_keys(look):
    assert "# Share of the way from the present to the wanted position that one bar trades." in look("config")


def test_the_environment_is_stronger_than_the_file_and_an_option_stronger_than_both(life, cappuccino, tmp_path):
    chosen = cappuccino(
        "config", "--json", "--config", life.config, CAPPUCCINO_ARENA__STREAK="9", CAPPUCCINO_WAREHOUSE="x"
    )
    assert json.loads(chosen.stdout)["arena"]["streak"] == 9
    assert json.loads(chosen.stdout)["warehouse"] == "x"
    chosen = cappuccino("config", "--json", "--warehouse", tmp_path, "--config", life.config, CAPPUCCINO_WAREHOUSE="x")
    assert json.loads(chosen.stdout)["warehouse"] == str(tmp_path)


def test_shared_options_stand_before_or_after_the_command(life, cappuccino):
    before = cappuccino(*life.options, "stages", "--json")
    after = cappuccino("stages", "--json", *life.options)
    assert before.exit_code == after.exit_code == 0
    assert before.stdout == after.stdout


def test_assets_are_listed_with_group_and_partitions(look):
    rows = {row["asset"]: row for row in json.loads(look("assets", "--json"))}
    assert rows["market/bars"]["partitions"] == "day"
    assert rows["lab/leaderboard"] == {
        "asset": "lab/leaderboard",
        "group": "lab",
        "partitions": "",
        "description": rows["lab/leaderboard"]["description"],
    }
    assert all(row["description"] for row in rows.values())
    assert "ops/report" in rows
    assert "market/bars_all" in look("assets")


def test_the_report_is_written_again_and_its_path_printed(another_life, cappuccino, production):
    file = another_life.folder / "report.html"
    file.unlink()
    done = cappuccino("report", "--json", *another_life.options)
    assert json.loads(done.stdout) == {"report": str(file)}
    assert production in file.read_text()


def test_the_report_of_the_first_day_is_written_too(cappuccino, first_day, tmp_path):
    shutil.copytree(first_day, tmp_path / "new")
    done = cappuccino("report", "--warehouse", tmp_path / "new")
    assert (done.exit_code, done.stdout) == (0, f"{tmp_path / 'new' / 'report.html'}\n")


NEEDS_A_WAREHOUSE = [
    ("stages",),
    ("production",),
    ("sql", "select 1"),
    ("report",),
    ("rollback",),
    ("promote", "s/0", "--reason", "r"),
    ("demote", "s/0", "--reason", "r"),
    ("retire", "s/0", "--reason", "r"),
]


@pytest.mark.parametrize("command", NEEDS_A_WAREHOUSE, ids=lambda command: command[0])
def test_without_a_warehouse_a_command_says_how_to_make_one(command, cappuccino, tmp_path):
    done = cappuccino(*command, "--warehouse", tmp_path / "none")
    assert done.exit_code == 1
    assert done.stderr.startswith(f"error: no warehouse in {tmp_path / 'none'}")
    assert "cappuccino run" in done.stderr
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    "command", [*NEEDS_A_WAREHOUSE, ("materialize", "lab/leaderboard")], ids=lambda command: command[0]
)
def test_the_warehouse_of_a_newer_cappuccino_is_left_alone(command, cappuccino, first_day, tmp_path):
    shutil.copytree(first_day, tmp_path / "newer")
    warehouse = Warehouse(tmp_path / "newer" / "cappuccino.duckdb")
    with warehouse.write() as writer:
        writer.execute("update meta.schema_version set version = 99")
    before = warehouse.file.read_bytes()
    done = cappuccino(*command, "--warehouse", tmp_path / "newer")
    assert done.exit_code == 1
    assert "schema version 99" in done.stderr
    assert "update Cappuccino" in done.stderr
    assert warehouse.file.read_bytes() == before


def test_a_file_that_is_no_warehouse_is_named(cappuccino, tmp_path):
    (tmp_path / "cappuccino.duckdb").write_bytes(b"no database" * 1000)
    done = cappuccino("stages", "--warehouse", tmp_path)
    assert done.exit_code == 1
    assert str(tmp_path / "cappuccino.duckdb") in done.stderr


def wrong_use():
    return {
        "unknown command": (("brew",), {}, "brew"),
        "unknown option": (("stages", "--sugar"), {}, "--sugar"),
        "unknown stage": (("stages", "--stage", "heaven"), {}, "heaven"),
        "unknown profile": (("config", "--profile", "espresso"), {}, "espresso"),
        "missing configuration": (("config", "--config", "none.toml"), {}, "none.toml does not exist"),
        "unknown variable": (("config",), {"CAPPUCCINO_COSTS__FEES_BPS": "1"}, "CAPPUCCINO_COSTS__FEES_BPS"),
        "bad value": (("config",), {"CAPPUCCINO_COSTS__FEE_BPS": "-1"}, "costs.fee_bps"),
        "no number": (("config",), {"CAPPUCCINO_ARENA__STREAK": "many"}, "arena.streak"),
        "no list": (("config",), {"CAPPUCCINO_MARKET__SYMBOLS": "BTC/USD"}, "lists in the environment are JSON"),
        "too many trials": (("run", "--trials", "1001"), {}, "training.trials"),
        "no day": (("run", "--from", "yesterday"), {}, "'yesterday' is not a date"),
        "files without a path": (("run", "--source", "files"), {}, "--path"),
        "no pair": (("run", "--symbols", "BTC"), {}, "BASE/QUOTE"),
    }


@pytest.mark.parametrize("case", wrong_use())
def test_wrong_use_exits_with_2_and_names_what_is_wrong(case, cappuccino, tmp_path):
    arguments, environment, named = wrong_use()[case]
    done = cappuccino(*arguments, CAPPUCCINO_WAREHOUSE=str(tmp_path / "none"), **environment)
    assert done.exit_code == 2
    assert named in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("text", ["[arena]\nstreaks = 3\n", "[arena\n", '[market]\nsymbols = "BTC/USD"\n'])
def test_a_wrong_configuration_file_is_named_with_its_key(text, cappuccino, tmp_path):
    file = tmp_path / "wrong.toml"
    file.write_text(text)
    done = cappuccino("config", "--config", file)
    assert done.exit_code == 2
    assert "wrong.toml" in done.stderr
    assert "arena.streaks" in done.stderr or "symbols" in done.stderr or "line 1" in done.stderr


def test_the_command_is_installed_and_exits_with_its_code(tmp_path):
    program = Path(sys.executable).with_name("cappuccino")
    done = subprocess.run(
        [program, "stages", "--warehouse", tmp_path / "none"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: no warehouse")
