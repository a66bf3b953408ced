"""Real trainings in real processes that are killed, find the disk full, or diverge."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cappuccino.features.compute import compute, first_row
from cappuccino.rl.hyper import Hyper
from cappuccino.rl.learning import Budget
from cappuccino.search.arrays import StudyArrays, write_arrays
from cappuccino.search.diary import Diary
from cappuccino.search.folds import walk_forward
from cappuccino.search.outcome import Report
from cappuccino.search.retry import hyper_after
from cappuccino.search.scaled import scaled_market
from cappuccino.search.tasks import task_of
from cappuccino.search.trial import TrialTask, run_trial
from cappuccino.search.trial_result import TrialResult
from cappuccino.search.workers import Ended, Pool
from tests.unit.search.fakes import plan, settings_in
from tests.unit.search.pool_talk import end
from tests.unit.search.test_trial import SPEC, market

LEARNERS = ("ppo", "apg")


@pytest.fixture
def short(tmp_path: Path) -> TrialTask:
    """A trial on a fortnight of hours."""
    whole = market(800)
    first = first_row(whole, SPEC)
    panel, features = whole.rows(first, first + 336), compute(whole, SPEC)[first : first + 336]
    write_arrays(tmp_path / "arrays", StudyArrays(panel, features, SPEC))
    settings = settings_in(tmp_path, n_folds=2)
    return replace(
        task_of(plan(settings), settings, 7, Hyper(width=16, batch_size=64, epochs=2)),
        arrays=tmp_path / "arrays",
        lookback=6,
        folds=walk_forward(336, 2, 10),
        budget=Budget(updates=3, n_groups=3, n_accounts=4, horizon=12, checkpoint_every=1),
        checkpoints=tmp_path / "checkpoints",
    )


def killed_once(task: TrialTask, report: Report, diary: Diary) -> TrialResult:
    """Train, and die as soon as the training that `code_version` names has a checkpoint; once."""
    marker = task.arrays / "killed"
    if not marker.exists():
        threading.Thread(target=_kill_at, args=(task.checkpoints / task.code_version, marker), daemon=True).start()
    return run_trial(replace(task, code_version="1"), report, diary)


def _kill_at(file: Path, marker: Path) -> None:
    while not file.exists():
        time.sleep(0.0005)
    marker.touch()
    os.kill(os.getpid(), signal.SIGKILL)


def ended(pool: Pool, task: TrialTask) -> Ended:
    pool.start(task.model.trial, task)
    return end(pool)


def sole_weights(found: Ended) -> tuple[float, str | None]:
    assert found.result is not None, found.reason
    return found.result.score, found.result.weight_sha256


@pytest.mark.parametrize("learner", LEARNERS)
def test_a_worker_killed_in_any_training_goes_on_and_ends_with_the_same_bits(
    short: TrialTask, learner: str, tmp_path: Path
) -> None:
    asked = replace(short, hyper=replace(short.hyper, learner=learner))
    with Pool() as pool:
        straight = ended(pool, asked)
    with Pool(killed_once) as pool:
        for stage in ("", "fold-0.pt", "fold-1.pt", "final.pt"):
            (short.arrays / "killed").unlink(missing_ok=True)
            mine = replace(asked, checkpoints=tmp_path / f"at-{stage}", code_version=stage)
            mine.checkpoints.mkdir()
            first, second = ended(pool, mine), ended(pool, mine)
            assert (first.outcome, first.result, second.outcome) == ("killed", None, "complete")
            assert sole_weights(second) == sole_weights(straight)
            assert not mine.checkpoints.exists()


def test_a_full_disk_ends_a_trial_with_a_reason_and_nothing_half_written(short: TrialTask) -> None:
    """Whatever is written to /dev/full finds no space left."""
    short.checkpoints.mkdir()
    (short.checkpoints / ".fold-1.pt.saving").symlink_to("/dev/full")
    with Pool() as pool:
        full = ended(pool, short)
        assert (full.outcome, full.reason) == ("disk_full", "[Errno 28] No space left on device")
        assert [file.name for file in short.checkpoints.iterdir()] == ["fold-0.pt"]
        second = ended(pool, short)
        straight = ended(pool, replace(short, checkpoints=short.checkpoints / "other"))
    assert sole_weights(second) == sole_weights(straight)


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 kB."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a disk needs the rights of root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_fills_up_keeps_no_half_model_and_no_half_arrays(short: TrialTask, tiny_disk: Path) -> None:
    models = tiny_disk / "artifacts"
    with Pool() as pool:
        full = ended(pool, replace(short, hyper=replace(short.hyper, width=128), artifacts=models))
    assert full.outcome == "disk_full"
    assert list((models / "study").iterdir()) == []
    own = tiny_disk / "arrays"
    own.mkdir()
    for file in short.arrays.glob("*.*"):
        (own / file.name).symlink_to(file)
    with pytest.raises(OSError, match="No space left"):
        (tiny_disk / "filler").write_bytes(b"0" * 2**17)
    with pytest.raises(OSError, match="No space left"):
        scaled_market(own, ((0, 300),))
    assert not list(own.glob("*scaled*"))


@pytest.mark.parametrize("learner", LEARNERS)
@pytest.mark.parametrize("learning_rate", [1e6, 1e30])
def test_a_policy_that_runs_away_is_called_diverged(short: TrialTask, learner: str, learning_rate: float) -> None:
    wild = replace(short.hyper, learner=learner, learning_rate=learning_rate)
    with Pool() as pool:
        found = ended(pool, replace(short, hyper=wild))
    assert found.outcome == "diverged", found.reason
    assert "diverged" in found.reason or "ran away" in found.reason
    assert not (short.artifacts / "study").exists()
    assert hyper_after(wild, ["diverged"]).learning_rate == learning_rate / 2
