"""Whole studies on a small warehouse: killed, continued, refused, failed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cappuccino.errors import TrainingBusy, TrainingError
from cappuccino.registry import artifacts
from cappuccino.registry.identity import ModelId
from cappuccino.search.coordinator import run_study, training_lock
from cappuccino.search.loop import StudySummary
from cappuccino.search.request import StudyRequest, write_request
from cappuccino.search.study import Kind
from cappuccino.settings import Settings
from cappuccino.store import models
from cappuccino.store.schema import Schema
from cappuccino.store.warehouse import Warehouse
from tests.unit.search.conftest import SQL
from tests.unit.search.fakes import NOW, settings_in
from tests.unit.search.pool_talk import descendants, is_alive, until

Lab = Callable[..., Settings]
PROJECT = SQL.parent
TRIALS = """
    select
        trial, state, interval, lookback, parameters, seed, score, fold_scores, env_steps, collapsed, action_spread,
        weight_sha256, reason
    from lab.trials order by trial
"""
FIGURES = "select * from lab.evaluations order by trial, subject, fold"


def run(settings: Settings, kind: Kind = "training", days_later: float = 0.0) -> StudySummary:
    return run_study(StudyRequest(settings, kind, NOW + timedelta(days=days_later)), lambda line: None)


def ask(settings: Settings, sql: str) -> list[tuple[Any, ...]]:
    return Warehouse(settings.database).query(sql).rows()


def sole(settings: Settings, sql: str) -> Any:
    ((found,),) = ask(settings, sql)
    return found


def outcome(settings: Settings) -> tuple[list[tuple[Any, ...]], ...]:
    """Return everything that a study found, without times and attempts."""
    return ask(settings, TRIALS), ask(settings, FIGURES), ask(settings, "from lab.importances order by parameter")


@dataclass(frozen=True)
class Killed:
    """A study that was killed in the middle and finished by another process, beside one that was not."""

    straight: Settings
    summary: StudySummary
    settings: Settings
    refusal: str
    pid: int
    trainers_left: list[int]
    states_at_kill: list[str]
    finish: StudySummary


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory, searched_market: Path) -> Killed:
    def lab(**training: Any) -> Settings:
        settings = settings_in(tmp_path_factory.mktemp("lab"), **training)
        shutil.copy(searched_market, settings.database)
        return settings

    settings = lab(workers=2)
    request = write_request(settings, "training", NOW)
    program = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "assets.training_program", str(request)],
        cwd=PROJECT,
        stderr=subprocess.DEVNULL,
    )
    _run_until(lambda: sole(settings, "select count(*) from lab.trials where state <> 'running'") >= 2, program)
    with pytest.raises(TrainingBusy) as refused:
        run(settings)
    trainers = descendants(program.pid)
    assert len(trainers) >= 2 or not Path("/proc").exists()
    program.send_signal(signal.SIGKILL)
    program.wait()
    states = [state for (state,) in ask(settings, "select state from lab.trials")]
    until(lambda: not any(map(is_alive, trainers)))
    left = [pid for pid in trainers if is_alive(pid)]
    straight = lab(workers=1)
    summary = run(straight)
    # A day later by the clock: the study goes on under its own moment.
    finish = run(settings, days_later=1)
    return Killed(straight, summary, settings, str(refused.value), program.pid, left, states, finish)


def _run_until(condition: Callable[[], bool], program: subprocess.Popen[bytes]) -> None:
    while not condition():
        assert program.poll() is None, "the study ended before it could be killed"
        time.sleep(0.02)


def test_a_killed_study_finds_what_an_uninterrupted_one_finds(killed: Killed) -> None:
    """Two workers, killed with SIGKILL, finished by another process: parameters, scores and weights of one worker."""
    assert "running" in killed.states_at_kill
    assert outcome(killed.settings) == outcome(killed.straight)
    assert killed.finish.study == killed.summary.study
    assert killed.finish.best_score == killed.summary.best_score
    assert len({sha for *_, sha, _ in ask(killed.straight, TRIALS) if sha}) > 3


def test_no_trainer_outlives_its_study(killed: Killed) -> None:
    """A second process on a trial would write the same checkpoints."""
    assert killed.trainers_left == []


def test_a_second_study_on_a_warehouse_is_refused_with_the_process_that_trains(killed: Killed) -> None:
    assert f"process {killed.pid} trains on {killed.settings.warehouse}" in killed.refusal
    assert f"kill {killed.pid}" in killed.refusal


def test_the_cap_holds_over_restarts_and_workers(killed: Killed) -> None:
    for settings, summary in ((killed.straight, killed.summary), (killed.settings, killed.finish)):
        assert (summary.state, summary.n_started, summary.n_failed) == ("complete", 10, 0)
        assert ask(settings, "select trial from lab.trials order by trial") == [(n,) for n in range(10)]
        assert sole(settings, "select state from lab.studies") == "complete"


def test_every_attempt_of_a_killed_study_is_recorded_once(killed: Killed) -> None:
    n_running = killed.states_at_kill.count("running")
    counts = dict(ask(killed.settings, "select outcome, count(*) from lab.attempts group by outcome"))
    assert counts.pop("interrupted") == n_running > 0
    assert sum(counts.values()) == 10 and set(counts) <= {"complete", "pruned"}
    assert sole(killed.settings, "select max(attempt) from lab.attempts") == 2


def test_each_update_of_a_killed_study_is_a_row_once_and_the_same(killed: Killed) -> None:
    figures = "select * exclude (duration_s, steps_per_s) from lab.updates order by trial, training, update"
    assert ask(killed.settings, figures) == ask(killed.straight, figures)
    counts = "select state, count(*) from lab.trial_figures where n_updates = {} group by state"
    n_complete = sole(killed.settings, "select count(*) from lab.trials where state = 'complete'")
    assert ask(killed.settings, counts.format(3 * 2)) == [("complete", n_complete)]
    assert sole(killed.settings, "select count(*) from lab.trial_figures") == 10
    assert sole(killed.settings, "select count(*) from lab.trials where action_spread is null") == 0


def test_models_of_a_killed_study_load_and_its_working_files_are_gone(killed: Killed) -> None:
    for study, trial, sha in ask(
        killed.settings, "select study, trial, weight_sha256 from lab.trials where artifact > ''"
    ):
        model = ModelId(study, trial)
        found = artifacts.load(artifacts.folder_of(killed.settings.artifacts, model), model)
        assert found.manifest.weight_sha256 == sha
    assert [file.suffix for file in (killed.settings.warehouse / "scratch").iterdir()] == [".json"]


def test_rows_of_a_study_pass_the_tests_of_their_tables(killed: Killed) -> None:
    schema = Schema.load(SQL)
    with Warehouse(killed.settings.database).read() as reader:
        for name, table in {**schema.contracts, **schema.models}.items():
            if name.startswith("lab."):
                assert [result for result in models.run_tests(reader, table) if not result.passed] == []


def test_a_finished_study_called_again_changes_nothing(killed: Killed) -> None:
    before, attempts = outcome(killed.straight), ask(killed.straight, "from lab.attempts order by all")
    assert run(killed.straight).n_started == 10
    assert outcome(killed.straight) == before
    assert ask(killed.straight, "from lab.attempts order by all") == attempts
    assert sole(killed.straight, "select state from lab.studies") == "complete"


def test_a_timeframe_search_records_its_winner_and_keeps_no_models(lab: Lab) -> None:
    settings = lab(workers=2)
    assert run(settings, "timeframe").n_complete == 4
    ((study, lookback, score),) = ask(
        settings, "select study, lookback, score from lab.timeframe_choices where study <> 'timeframe-1'"
    )
    pairs = dict(ask(settings, f"select lookback, mean_score from lab.timeframes where study = '{study}'"))
    assert set(pairs) == {4, 8}
    assert (lookback, score) == max(pairs.items(), key=lambda pair: (pair[1], -pair[0]))
    assert not settings.artifacts.exists()
    trials = Schema.load(SQL).contracts["lab.trials"]
    with Warehouse(settings.database).read() as reader:
        assert all(result.passed for result in models.run_tests(reader, trials))


def test_zero_workers_train_nothing(lab: Lab) -> None:
    settings = lab(workers=0)
    with pytest.raises(TrainingError, match=r"training\.workers is 0"):
        run(settings)
    assert ask(settings, "from lab.studies") == [] == ask(settings, "from lab.trials")
    assert sorted(file.name for file in settings.warehouse.iterdir() if ".duckdb" not in file.name) == []


def test_a_full_disk_is_noticed_before_anything_starts(lab: Lab) -> None:
    settings = lab(min_free_disk_mb=10**9)
    with pytest.raises(TrainingError, match="free some disk space"):
        run(settings)
    assert ask(settings, "from lab.studies") == []


def test_a_study_without_a_completed_trial_fails_and_the_next_one_is_new(lab: Lab) -> None:
    settings = lab(trials=2, workers=2, updates=1)
    settings.artifacts.write_text("in the way")
    left_behind = [settings.warehouse / "scratch" / name for name in ("training-old", "timeframe-old")]
    for folder in left_behind:
        folder.mkdir(parents=True)
    for days, n_studies in ((0, 1), (1, 2)):
        with pytest.raises(TrainingError, match=r"none of 2 trials of training-.* completed; .*another training\.seed"):
            run(settings, days_later=days)
        assert ask(settings, "select state, count(*) from lab.studies group by state") == [("failed", n_studies)]
    reasons = [reason for (reason,) in ask(settings, "select distinct reason from lab.trials")]
    assert all("artifacts" in reason and reason.endswith(")") for reason in reasons)
    assert [folder.exists() for folder in left_behind] == [False, True]


def test_the_right_to_train_is_given_back_and_names_its_holder(tmp_path: Path) -> None:
    for _ in range(2):
        with training_lock(tmp_path):
            with pytest.raises(TrainingBusy, match=f"process {os.getpid()} trains"), training_lock(tmp_path):
                pass
            assert (tmp_path / "training.lock").read_text() == str(os.getpid())
