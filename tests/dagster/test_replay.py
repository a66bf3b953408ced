"""`cappuccino replay` on a small simulated market: lived through once, and once more with kills."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from polars.testing import assert_frame_equal

from cappuccino.store.warehouse import Warehouse
from cappuccino.validation.baselines import BASELINES

DAY, N_DAYS = timedelta(days=1), 4
FROM = datetime(2025, 6, 8, tzinfo=UTC)
TO = FROM + N_DAYS * DAY
CONFIG = """\
[market]
symbols = ["BTC/USD", "ETH/USD", "LTC/USD"]
base_interval = "1h"
history_days = 60
[timeframe]
intervals = ["1h"]
lookbacks = [4]
trials = 2
updates = 1
[training]
trials = 4
n_folds = 1
updates = 2
n_groups = 2
n_accounts = 2
horizon = 8
max_width = 64
arena_days = 6
holdout_days = 3
checkpoint_every = 1
startup_trials = 4
[features]
indicators = ["rsi_14"]
extras = ["roc_12"]
[trees]
trials = 0
[ensembles]
members = 0
[arena]
min_sharpe = -1000
min_profit_factor = 0
streak = 1
windows = 1
window_days = 1
[sandbox]
days = 1
"""
ARGUMENTS = ("--from", f"{FROM:%F}", "--to", f"{TO:%F}", "--retrain-every", "2d")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("replay") / "replay.toml"
    file.write_text(CONFIG)
    return file


@pytest.fixture(scope="module")
def straight(config, cappuccino):
    """The folder of a replay that nobody disturbed, and what it printed."""
    folder = config.parent / "straight"
    done = cappuccino("replay", *ARGUMENTS, "--json", "--config", config, "--warehouse", folder)
    assert done.exit_code == 0, done.stderr
    return folder, json.loads(done.stdout), done.stderr


@pytest.fixture(scope="module")
def ask(straight):
    return Warehouse(straight[0] / "cappuccino.duckdb").query


def test_the_system_has_a_value_for_every_day_beside_every_baseline(ask):
    curves = ask("from replay.equity order by subject, closed_at_utc")
    assert set(curves["subject"]) == {"system", "buy_and_hold", *BASELINES}
    for (subject,), curve in curves.group_by("subject"):
        assert curve["closed_at_utc"].to_list() == [FROM + n * DAY for n in range(N_DAYS + 1)], subject
        assert curve["value_usd"][0] == 10_000, subject


def test_every_moment_did_what_was_due_and_said_why(ask):
    steps = ask("select * from replay.steps order by moment_utc, job")
    assert set(steps["state"]) == {"done"}
    assert steps.filter(job="trading")["moment_utc"].to_list() == [FROM + n * DAY for n in range(N_DAYS + 1)]
    studied = steps.filter(job="whole_life")
    # Training data of the eighth are two days old at the tenth, and older than that a day later.
    assert studied["moment_utc"].to_list() == [FROM, FROM + 3 * DAY]
    assert studied["reason"].to_list() == [
        "nothing was trained yet",
        f"training data reach until {FROM:%F %R} UTC",
    ]


def test_decisions_carry_the_replays_name_and_touch_no_real_model(straight, ask):
    _, outcome, _ = straight
    decisions = ask("from replay.decisions order by sequence")
    assert set(decisions["replay"]) == {outcome["replay"]}
    assert {"enter", "promote"} <= set(decisions["action"])
    assert decisions["decided_at_utc"].min() == FROM
    assert ask("from promotion.decisions").is_empty()
    assert ask("from desk.system_equity").is_empty()


def test_nobody_trades_before_a_model_was_promoted_on_what_was_known(ask):
    first = ask("select min(decided_at_utc) from replay.decisions where to_stage = 'production'").item()
    assert first is not None, "the settings of this test should bring a model to production"
    before = ask("from replay.equity where subject = 'system' and closed_at_utc <= $first", first=first)
    assert set(before["value_usd"]) == {10_000}
    after = ask("from replay.equity where subject = 'system' and closed_at_utc > $first", first=first)
    assert set(after["value_usd"]) != {10_000}


def test_no_study_saw_a_bar_of_its_future(straight, ask):
    _, outcome, _ = straight
    own = Warehouse(straight[0] / "replays" / outcome["replay"] / "cappuccino.duckdb")
    studies = own.query("select as_of_utc, data_start_utc, data_end_utc from lab.studies order by as_of_utc")
    assert studies["as_of_utc"].unique().sort().to_list() == [FROM, FROM + 3 * DAY]
    assert (studies["data_end_utc"] <= studies["as_of_utc"]).all()
    assert (studies["data_start_utc"] >= studies["as_of_utc"] - 60 * DAY).all()


def test_the_measures_are_those_of_the_stored_curve(straight, ask):
    measures = ask("from replay.measures where subject = 'system'").row(0, named=True)
    curve = ask("from replay.equity where subject = 'system' order by closed_at_utc")["value_usd"]
    assert measures["total_return_frac"] == pytest.approx(curve[-1] / curve[0] - 1)
    assert measures["max_drawdown_frac"] == pytest.approx((1 - curve / curve.cum_max()).max())
    hold = ask("from replay.equity where subject = 'buy_and_hold' order by closed_at_utc")["value_usd"]
    assert measures["alpha_frac"] == pytest.approx(measures["total_return_frac"] - (hold[-1] / hold[0] - 1))
    assert measures["n_days"] == N_DAYS


def test_it_ends_with_a_report_and_says_what_it_did(straight):
    folder, outcome, said = straight
    page = Path(outcome["report"]).read_text()
    assert page.lower().startswith("<!doctype html>")
    assert outcome["replay"] in page
    assert f"{TO:%F} 00:00" in said
    assert outcome["measures"][0]["subject"] == "system"
    assert (folder / "replays" / outcome["replay"] / "replay.html").is_file()


def test_the_same_command_again_finds_it_complete(config, straight, cappuccino):
    folder, outcome, _ = straight
    again = cappuccino("replay", *ARGUMENTS, "--json", "--config", config, "--warehouse", folder)
    assert json.loads(again.stdout)["measures"] == outcome["measures"]
    assert "production: " not in again.stderr, "it lived through a day"


def started(command: tuple[str, ...]) -> subprocess.Popen[bytes]:
    """Return a replay in a process, and a session, of its own."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("CAPPUCCINO_", "DAGSTER_"))}
    return subprocess.Popen(
        [sys.executable, "-m", "cappuccino.cli", "replay", *command],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def kill_when(command: tuple[str, ...], condition: Callable[[], bool]) -> None:
    """Start a replay and kill it with all its processes as soon as `condition` holds."""
    with started(command) as process:
        while not condition():
            assert process.poll() is None, "the replay ended before it could be killed"
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)


def test_killed_again_and_again_it_comes_out_the_same(config, straight, ask):
    """Once in the middle of its first study, once between the two."""
    folder = config.parent / "killed"
    command = (*ARGUMENTS, "--config", str(config), "--warehouse", str(folder))
    killed = Warehouse(folder / "cappuccino.duckdb").query
    traded = "select count(*) from replay.steps where job = 'trading' and state = 'done'"
    kill_when(command, lambda: any(folder.glob("replays/*/artifacts/*/*/policy.pt")))
    assert killed("select state from replay.steps where job = 'whole_life'").rows() == [("started",)]
    kill_when(command, lambda: killed(traded).item() >= 2)
    with started(command) as process:
        assert process.wait(600) == 0
    for question in (
        "from replay.equity order by subject, closed_at_utc",
        "from replay.decisions order by sequence",
        "from replay.measures order by subject",
        "select replay, moment_utc, job, state, detail from replay.steps order by moment_utc, job",
    ):
        assert_frame_equal(killed(question), ask(question), check_exact=True)
