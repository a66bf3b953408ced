"""What a trial's process may take, and what it says that it took; with real processes and real limits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cappuccino.rl.hyper import Hyper
from cappuccino.search.diary import Diary
from cappuccino.search.loop import Study
from cappuccino.search.outcome import Report
from cappuccino.search.tasks import task_of
from cappuccino.search.trial import TrialTask
from cappuccino.search.trial_result import TrialResult
from cappuccino.search.usage import MEMORY_SHARE, Meter, limit_memory, share_of_memory_mb
from cappuccino.search.workers import Pool
from tests.unit.search.fakes import MemoryBook, fold_score, plan, settings_in, trial_result
from tests.unit.search.pool_talk import end

needs_proc = pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="the kernel does not say")
BYTES_A_SAMPLE = 32 * 2**10
"""At the largest minibatch of 8192 this is 256 MB."""


def allocate(task: TrialTask, report: Report, diary: Diary) -> TrialResult:
    """Fill an array that grows with the minibatch, as a training does."""
    samples = torch.ones(task.hyper.batch_size * BYTES_A_SAMPLE // 4)
    scores = []
    for fold in range(len(task.folds)):
        scores.append(fold_score(task, fold) * float(samples[-1]))
        report(fold, scores[-1])
    return trial_result(task, tuple(scores))


def task(batch_size: int, trial: int = 0) -> TrialTask:
    settings = settings_in(Path("warehouse"))
    asked = task_of(plan(settings), settings, trial, Hyper(batch_size=batch_size))
    return replace(asked, folds=asked.folds[:1])


@needs_proc
def test_a_process_says_what_it_took_of_its_own_and_for_how_long() -> None:
    taken = {}
    with Pool(allocate) as pool:
        for batch_size in (256, 4096):
            pool.start(0, task(batch_size))
            taken[batch_size] = end(pool).usage
    small, large = taken[256], taken[4096]
    assert small is not None and large is not None
    assert small.private_memory_mb is not None and large.private_memory_mb is not None
    assert 100 < large.private_memory_mb - small.private_memory_mb < 140  # 3840 samples of 32 kB
    assert large.private_memory_mb < large.peak_memory_mb
    assert 0 < large.cpu_s < 30


@needs_proc
def test_memory_beyond_the_limit_is_refused_and_the_process_can_still_say_so() -> None:
    with Pool(allocate, memory_mb=100) as pool:
        pool.start(0, task(8192))
        large = end(pool)
        pool.start(1, replace(task(256), model=task(256, trial=1).model))
        small = end(pool)
    assert (large.outcome, small.outcome) == ("out_of_memory", "complete")
    assert "allocate" in large.reason and large.usage is not None


@needs_proc
def test_a_trial_that_asks_for_too_much_completes_with_a_smaller_batch(tmp_path: Path) -> None:
    """Real processes under a real limit: 8192 and 4096 do not fit into 100 MB, 2048 does."""
    settings, book = settings_in(tmp_path, trials=8, workers=2), MemoryBook()
    study = Study(plan(settings), book, settings, say=lambda line: None)
    with Pool(allocate, memory_mb=100) as pool:
        assert study.run(pool) == "complete"
    ends = {}
    for trial, _, outcome, batch_size in book.attempts:
        ends.setdefault(trial, []).append((outcome, batch_size))
    asked = {trial: attempts[0][1] for trial, attempts in ends.items()}
    assert max(asked.values()) == 8192
    for trial, batch_size in asked.items():
        too_large = [size for size in (8192, 4096) if size <= batch_size]
        assert ends[trial] == [("out_of_memory", size) for size in too_large] + [("complete", min(batch_size, 2048))]
    assert {row["state"] for row in book.read().values()} == {"complete"}


def test_workers_share_the_memory_of_the_machine() -> None:
    assert 2 * share_of_memory_mb(2) == pytest.approx(share_of_memory_mb(1), abs=2)
    assert 0 < MEMORY_SHARE < 1 and share_of_memory_mb(1) > 100


def test_no_limit_is_no_limit() -> None:
    limit_memory(0)
    assert Meter().look().peak_memory_mb > 10
