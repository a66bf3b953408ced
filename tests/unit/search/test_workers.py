"""Real processes: what they say, and how it is noticed when they cannot."""

from __future__ import annotations

import inspect
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cappuccino.rl.hyper import Hyper
from cappuccino.search.tasks import task_of
from cappuccino.search.trial import TrialTask
from cappuccino.search.workers import Ended, FoldScored, Pool
from tests.unit.search.fakes import behave, plan, settings_in


@pytest.fixture
def pool() -> Iterator[Pool]:
    with Pool(behave) as running:
        yield running


def task(trial: int, behaviour: str) -> TrialTask:
    settings = settings_in(Path("warehouse"))
    return replace(task_of(plan(settings), settings, trial, Hyper()), data_fingerprint=behaviour)


def ends(pool: Pool, prune: str | None = None) -> tuple[dict[int, Ended], list[FoldScored]]:
    """Let every trial go on, or prune it, until none runs."""
    ended: dict[int, Ended] = {}
    folds = []
    while len(pool):
        for event in pool.events(timeout_s=60):
            if isinstance(event, FoldScored):
                folds.append(event)
                pool.go_on(event.trial, prune)
            else:
                ended[event.trial] = event
    return ended, folds


def line_of_the_mistake() -> int:
    lines, first = inspect.getsourcelines(behave)
    return first + next(n for n, line in enumerate(lines) if "IndexError" in line)


def test_a_trial_reports_its_folds_and_hands_over_its_result(pool: Pool) -> None:
    pool.start(4, task(4, "well"))
    ended, folds = ends(pool)
    assert [(fold.trial, fold.fold, fold.score) for fold in folds] == [(4, 0, 0.5), (4, 1, 1.5)]
    assert ended[4].outcome == "complete"
    assert ended[4].result is not None and ended[4].result.fold_scores == (0.5, 1.5)
    assert ended[4].usage is not None and ended[4].usage.peak_memory_mb > 50
    assert ended[4].duration_s > 0


def test_a_pruned_trial_ends_with_the_reason(pool: Pool) -> None:
    pool.start(0, task(0, "well"))
    ended, folds = ends(pool, prune="no hope")
    assert len(folds) == 1
    assert (ended[0].outcome, ended[0].reason, ended[0].result) == ("pruned", "no hope", None)


def test_every_end_has_an_outcome_and_a_reason_and_harms_no_other_trial(pool: Pool) -> None:
    behaviours = ("memory", "torch memory", "diverge", "mistake", "kill", "exit", "well")
    for trial, behaviour in enumerate(behaviours):
        pool.start(trial, task(trial, behaviour))
    ended, _ = ends(pool)
    found = {behaviour: (ended[trial].outcome, ended[trial].reason) for trial, behaviour in enumerate(behaviours)}
    assert found == {
        "memory": ("out_of_memory", "memory: no room for an array"),
        "torch memory": (
            "out_of_memory",
            "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory",
        ),
        "diverge": ("diverged", "the loss is not a number"),
        "mistake": ("failed", f"IndexError: list index out of range (fakes.py:{line_of_the_mistake()})"),
        "kill": ("killed", "killed by SIGKILL, as the kernel does when memory ends"),
        "exit": ("killed", "process ended without a word, exit code 3"),
        "well": ("complete", ""),
    }


def test_leaving_the_pool_ends_what_runs() -> None:
    with Pool(behave) as pool:
        pool.start(0, task(0, "well"))
        process = pool._running[0].process
        (fold,) = pool.events(timeout_s=60)  # it waits for an answer that never comes
        assert isinstance(fold, FoldScored) and process.is_alive()
    assert not process.is_alive() and not len(pool)


@pytest.mark.parametrize("n_running", [0, 1])
def test_listening_ends_after_its_time_also_when_nothing_runs(pool: Pool, n_running: int) -> None:
    for trial in range(n_running):
        pool.start(trial, task(trial, "well"))
        (fold,) = pool.events(timeout_s=60)  # and now it waits for an answer
        assert isinstance(fold, FoldScored)
    started_s = time.monotonic()
    assert list(pool.events(timeout_s=0.05)) == []
    assert 0.04 < time.monotonic() - started_s < 5


def test_an_answer_to_a_trial_that_is_gone_is_not_an_error(pool: Pool) -> None:
    pool.start(0, task(0, "kill"))
    assert isinstance(next(iter(pool.events(timeout_s=60))), FoldScored)
    pool._running[0].process.kill()
    pool._running[0].process.join()
    pool.go_on(0, None)
    (ended,) = pool.events(timeout_s=60)
    assert isinstance(ended, Ended) and ended.outcome == "killed"
    pool.go_on(0, None)
