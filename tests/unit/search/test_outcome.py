"""Which end an error means."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import torch

from cappuccino.errors import ArtifactError, DataError, TrainingDiverged, TrainingError
from cappuccino.rl.hyper import Hyper
from cappuccino.search.diary import Diary
from cappuccino.search.outcome import Outcome, Report, end_of, reporter
from cappuccino.search.tasks import task_of
from cappuccino.search.trial import TrialTask
from cappuccino.search.trial_result import TrialResult
from tests.unit.search.fakes import plan, settings_in, trial_result


@pytest.fixture
def task() -> TrialTask:
    settings = settings_in(Path("warehouse"))
    return task_of(plan(settings), settings, 0, Hyper())


def wrapped(error: Exception) -> Exception:
    """Return an error of ours that was raised because of `error`."""
    try:
        try:
            raise error
        except type(error) as cause:
            raise ArtifactError("the folder cannot be written") from cause
    except ArtifactError as outer:
        return outer


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "disk_full"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "disk_full"),
        (wrapped(OSError(errno.ENOSPC, "No space left on device")), "disk_full"),
        (OSError(errno.EACCES, "Permission denied"), "failed"),
        (MemoryError(), "out_of_memory"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "out_of_memory"),
        (torch.OutOfMemoryError("CUDA out of memory"), "out_of_memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "out_of_memory"),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), "failed"),
        (TrainingDiverged("policy loss nan"), "diverged"),
        (TrainingError("the checkpoint is damaged"), "failed"),
        (DataError("a price is 0"), "failed"),
        (ZeroDivisionError("float division by zero"), "failed"),
    ],
)
def test_an_error_means_an_end(task: TrialTask, error: Exception, outcome: Outcome) -> None:
    def run(task: TrialTask, report: Report, diary: Diary) -> TrialResult:
        raise error

    end = end_of(run, task, reporter(lambda fold, score: None), [])
    assert (end.outcome, end.result) == (outcome, None)
    assert str(error) in end.reason


def test_a_mistake_says_where_it_was_made(task: TrialTask, capsys: pytest.CaptureFixture[str]) -> None:
    def run(task: TrialTask, report: Report, diary: Diary) -> TrialResult:
        return [][1]

    end = end_of(run, task, reporter(lambda fold, score: None), [])
    assert end.reason.startswith("IndexError: list index out of range (test_outcome.py:")
    assert "Traceback" in capsys.readouterr().err


def test_a_reason_prunes_and_none_lets_go_on(task: TrialTask) -> None:
    asked: list[tuple[int, float]] = []

    def ask(fold: int, score: float) -> str | None:
        asked.append((fold, score))
        return "no hope" if score < 0 else None

    def run(task: TrialTask, report: Report, diary: Diary) -> TrialResult:
        for fold, score in enumerate((0.5, task.hyper.learning_rate)):
            report(fold, score)
        return trial_result(task, (0.5,))

    assert end_of(run, task, reporter(ask), []).outcome == "complete"
    hopeless = end_of(lambda task, report, diary: report(7, -1.0), task, reporter(ask), [])
    assert (hopeless.outcome, hopeless.reason) == ("pruned", "no hope")
    assert [fold for fold, _ in asked] == [0, 1, 7]
