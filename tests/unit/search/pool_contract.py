"""What every pool of trials must do, here and on a cluster. A new pool inherits the tests and makes a `pool`."""

from __future__ import annotations

import inspect
import os
import signal
import time

import pytest

from cappuccino.search.diary import TrainingLog
from cappuccino.search.pools import TrialPool
from tests.unit.search.conftest import MakeTask
from tests.unit.search.fakes import behave, some_progress
from tests.unit.search.pool_talk import ends, first_fold, is_alive, told, until


def line_of_the_mistake() -> int:
    lines, first = inspect.getsourcelines(behave)
    return first + next(n for n, line in enumerate(lines) if "IndexError" in line)


ENDS = {
    "memory": ("out_of_memory", "memory: no room for an array"),
    "torch memory": ("out_of_memory", "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
    "diverge": ("diverged", "the loss is not a number"),
    "mistake": ("failed", f"IndexError: list index out of range (fakes.py:{line_of_the_mistake()})"),
    "kill": ("killed", "killed by SIGKILL, as the kernel does when memory ends"),
    "exit": ("killed", "process ended without a word, exit code 3"),
    "well": ("complete", ""),
}


class PoolContract:
    """Tests of `pool`, which runs `ray_fakes.act` and in which nothing runs before and after each of them."""

    def test_a_trial_reports_its_folds_and_hands_over_its_result(self, pool: TrialPool, make_task: MakeTask) -> None:
        pool.start(4, make_task(4, "well"))
        assert len(pool) == 1
        ended, folds = ends(pool)
        assert [(fold.trial, fold.fold, fold.score) for fold in folds] == [(4, 0, 0.5), (4, 1, 1.5)]
        assert ended[4].outcome == "complete"
        assert ended[4].result is not None and ended[4].result.fold_scores == (0.5, 1.5)
        assert ended[4].usage is not None and ended[4].usage.peak_memory_mb > 50
        assert ended[4].duration_s > 0

    def test_a_pruned_trial_ends_with_the_reason(self, pool: TrialPool, make_task: MakeTask) -> None:
        pool.start(0, make_task(0, "well"))
        ended, folds = ends(pool, prune="no hope")
        assert len(folds) == 1
        assert (ended[0].outcome, ended[0].reason, ended[0].result) == ("pruned", "no hope", None)

    def test_every_end_has_an_outcome_and_a_reason_and_harms_no_other_trial(
        self, pool: TrialPool, make_task: MakeTask
    ) -> None:
        """There are more trials than a cluster has CPUs: the others wait for theirs."""
        for trial, behaviour in enumerate(ENDS):
            pool.start(trial, make_task(trial, behaviour))
        assert len(pool) == len(ENDS)
        ended, _ = ends(pool)
        found = {behaviour: (ended[trial].outcome, ended[trial].reason) for trial, behaviour in enumerate(ENDS)}
        assert found == ENDS

    def test_what_a_trial_learned_comes_with_its_folds_and_its_end(self, pool: TrialPool, make_task: MakeTask) -> None:
        for trial, behaviour in enumerate(("mistake", "kill")):
            pool.start(trial, make_task(trial, behaviour))
        ended, folds = ends(pool)
        first = TrainingLog("fold-0", [some_progress()])
        assert [fold.diary for fold in folds] == [(first,)] * 2
        assert ended[0].diary == (first, TrainingLog("fold-1", [some_progress()]))
        assert ended[1].diary == ()

    @pytest.mark.parametrize("n_running", [0, 1])
    def test_listening_ends_after_its_time_also_when_nothing_runs(
        self, pool: TrialPool, make_task: MakeTask, n_running: int
    ) -> None:
        for trial in range(n_running):
            pool.start(trial, make_task(trial, "well"))
            first_fold(pool)  # and now it waits for an answer
        started_s = time.monotonic()
        assert list(pool.events(timeout_s=0.05)) == []
        assert time.monotonic() - started_s > 0.04
        for trial in range(n_running):
            pool.go_on(trial, None)
        ends(pool)

    def test_an_answer_to_a_trial_that_is_gone_is_not_an_error(self, pool: TrialPool, make_task: MakeTask) -> None:
        """It dies after it has asked; the first answer comes before its end is known, the second one after."""
        task = make_task(0, "tell")
        pool.start(0, task)
        first_fold(pool)
        pid = told(task)["pid"]
        assert pid != os.getpid()
        os.kill(pid, signal.SIGKILL)
        assert until(lambda: not is_alive(pid))
        pool.go_on(0, None)
        ended, _ = ends(pool)
        assert ended[0].outcome == "killed"
        pool.go_on(0, None)
        pool.go_on(7, "never heard of")
        assert list(pool.events(timeout_s=0.01)) == []
