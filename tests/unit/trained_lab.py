"""A tiny study that was really run, with its models: made once a process, for whoever looks at finished studies."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import torch

from cappuccino.search.book import StudyBook
from cappuccino.search.diary import Diary
from cappuccino.search.loop import Study
from cappuccino.search.outcome import RunTrial, end_of
from cappuccino.search.study import plan_study
from cappuccino.search.tasks import baseline_rows, write_study_arrays
from cappuccino.search.trial import TrialTask, run_trial
from cappuccino.search.workers import Ended, FoldScored
from cappuccino.settings import Settings
from cappuccino.store.warehouse import Warehouse
from tests.unit.search.fakes import NOW, settings_in
from tests.unit.synced_market import synced_market

N_TRIALS = 3
_made: list[tuple[Path, str]] = []
"""The folder that copies are taken from, and the name of its study."""


class PoolHere:
    """Trials that run in this process, one after the other, when somebody listens; it prunes none."""

    def __init__(self, run: RunTrial = run_trial) -> None:
        self._run = run
        self._waiting: dict[int, TrialTask] = {}

    def __enter__(self) -> PoolHere:
        return self

    def __exit__(self, *_: object) -> None:
        self._waiting.clear()

    def __len__(self) -> int:
        return len(self._waiting)

    def start(self, trial: int, task: TrialTask) -> None:
        self._waiting[trial] = task

    def go_on(self, trial: int, prune_reason: str | None) -> None:
        pass

    def events(self, timeout_s: float | None = None) -> Iterator[FoldScored | Ended]:
        for trial, task in sorted(self._waiting.items()):
            scores: list[float] = []
            diary: Diary = []
            n_threads = torch.get_num_threads()
            end = end_of(self._run, task, partial(_note, scores), diary)
            torch.set_num_threads(n_threads)
            yield from (FoldScored(trial, fold, score) for fold, score in enumerate(scores))
            del self._waiting[trial]
            yield Ended(trial, end.outcome, end.result, end.reason, 1.0, None, tuple(diary))


def _note(scores: list[float], fold: int, score: float) -> None:
    assert fold == len(scores)
    scores.append(score)


@dataclass(frozen=True)
class TrainedLab:
    """A copy of the lab, to do anything with."""

    settings: Settings
    config: Path
    """A file with the same settings."""
    study: str

    @property
    def warehouse(self) -> Warehouse:
        return Warehouse(self.settings.database)

    @property
    def options(self) -> tuple[str, ...]:
        """What leads every command here."""
        return ("--config", str(self.config), "--warehouse", str(self.settings.warehouse))


def trained_lab(factory: pytest.TempPathFactory) -> TrainedLab:
    """Return a copy of the warehouse folder after its study."""
    if not _made:
        _made.append(_make(factory.mktemp("trained")))
    (made, study), folder = _made[0], factory.mktemp("lab") / "warehouse"
    shutil.copytree(made, folder)
    settings = _settings(folder)
    config = folder.parent / "cappuccino.toml"
    config.write_text(_toml(settings))
    return TrainedLab(settings, config, study)


def _settings(folder: Path) -> Settings:
    return settings_in(folder, trials=N_TRIALS, workers=1, device="cpu", precision="float32")


def _make(folder: Path) -> tuple[Path, str]:
    settings = _settings(folder)
    warehouse = synced_market(settings, NOW)
    with warehouse.read() as reader:
        plan = plan_study(reader, settings, "training", NOW)
    book = StudyBook(warehouse, plan, settings)
    book.open()
    write_study_arrays(plan, settings)
    book.evaluated(baseline_rows(plan, settings))
    study = Study(plan, book, settings, lambda line: None)
    book.close(study.run(PoolHere()), {}, N_TRIALS)
    shutil.rmtree(settings.warehouse / "scratch")
    return folder, plan.study


def _toml(settings: Settings) -> str:
    from cappuccino.commands.look import _toml as text

    lines = text(settings).splitlines()
    return "\n".join(line for line in lines if not line.startswith("warehouse ="))
