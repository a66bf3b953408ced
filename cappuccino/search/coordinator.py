"""Runs a study, from its plan to its last row.

One coordinator at a time trains on a warehouse. Killed at any moment and started again, it goes on with the trials that
were running, under the same numbers, and ends with the same results.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cappuccino.errors import StudyFailed, TrainingBusy, TrainingError
from cappuccino.search.book import StudyBook
from cappuccino.search.disk import require_disk
from cappuccino.search.loop import Say, Study, StudySummary
from cappuccino.search.pools import pool_of
from cappuccino.search.request import StudyRequest
from cappuccino.search.study import StudyPlan, closed_if_opened, due_study, study_folder
from cappuccino.search.suggest import importances
from cappuccino.search.tasks import baseline_rows, write_study_arrays
from cappuccino.search.timeframe import choose_timeframe
from cappuccino.search.workers import warm_up
from cappuccino.settings import Settings
from cappuccino.store.warehouse import Warehouse
from cappuccino.watch.due import require_fresh


def run_study(request: StudyRequest, on_progress: Say) -> StudySummary:
    """Run the study of `request` to its cap or its stop rule, or take it up where it was left.

    Raises TrainingBusy when another process trains on this warehouse, TrainingError without a worker, without disk
    space or without one completed trial, StaleData when bars are too old, DataError when they do not suffice.
    """
    settings = request.settings
    if settings.training.workers == 0:
        raise TrainingError("training.workers is 0, so nothing trains; set it to at least 1")
    require_disk(settings.warehouse, settings.training.min_free_disk_mb)
    if settings.training.executor == "local":
        warm_up()
    warehouse = Warehouse(settings.database)
    with training_lock(settings.warehouse):
        with warehouse.read() as reader:
            require_fresh(reader, settings, request.now, "training")
            plan = closed_if_opened(reader, due_study(reader, settings, request.kind, request.now))
        book = StudyBook(warehouse, plan, settings)
        study, state = _worked_on(plan, book, settings, on_progress)
        if state != "failed" and plan.kind == "timeframe":
            choose_timeframe(warehouse, plan)
        n_complete = sum(told.score is not None for told in study.results)
        book.close(state, dict(importances(study.space, study.results)), n_complete)
        shutil.rmtree(study_folder(settings.warehouse, plan.study), ignore_errors=True)
    if state == "failed":
        raise StudyFailed(
            f"none of {len(study.results)} trials of {plan.study} completed; see `cappuccino sql "
            f"\"select * from lab.attempts where study = '{plan.study}'\"`. "
            "When the cause is gone, another training.seed makes a new study"
        )
    return study.summary(state)


def _worked_on(plan: StudyPlan, book: StudyBook, settings: Settings, say: Say) -> tuple[Study, str]:
    """Run the trials; returns the study and its state."""
    trial_pool = pool_of(settings.training)  # a cluster that cannot be is refused before anything is written
    book.open()
    _remove_left_behind(plan, settings)
    write_study_arrays(plan, settings)
    study = Study(plan, book, settings, say)
    say(f"{plan.study}: at most {plan.trial_cap} trials, {settings.training.workers} at a time")
    if plan.kind == "training" and study.next_trial == 0:
        book.evaluated(baseline_rows(plan, settings))
    with trial_pool as pool:
        return study, study.run(pool)


def _remove_left_behind(plan: StudyPlan, settings: Settings) -> None:
    """Remove the working files of studies that this one supersedes; nobody else trains, so nobody uses them."""
    own = study_folder(settings.warehouse, plan.study)
    for folder in own.parent.glob(f"{plan.kind}-*/"):
        if folder != own:
            shutil.rmtree(folder)


@contextmanager
def training_lock(folder: Path) -> Iterator[None]:
    """Hold the one right to train on this warehouse; the kernel gives it back however the process ends."""
    file = folder / "training.lock"
    with file.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            raise TrainingBusy(
                f"process {holder} trains on {folder} already; wait for it, or stop it (kill {holder})"
            ) from None
        lock.seek(0)
        lock.truncate()
        lock.write(str(os.getpid()))
        lock.flush()
        yield
