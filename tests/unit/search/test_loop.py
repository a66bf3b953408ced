"""The loop over a study's trials, with scripted trials and rows in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from cappuccino.errors import TrainingError
from cappuccino.search.diary import TrainingLog
from cappuccino.search.disk import require_disk
from cappuccino.search.loop import Study
from cappuccino.search.outcome import Outcome
from cappuccino.search.retry import MAX_RETRIES
from cappuccino.search.suggest import LAG
from cappuccino.search.trial import TrialTask
from cappuccino.search.workers import Ended, FoldScored
from cappuccino.validation.conduct import Conduct
from tests.unit.search.fakes import FakePool, MemoryBook, StudyKilled, plan, settings_in, some_progress


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("warehouse")


def study(folder: Path, book: MemoryBook, kind: str = "training", **training: Any) -> Study:
    settings = settings_in(folder, **training)
    return Study(plan(settings, kind), book, settings, say=lambda line: None)


def finished(folder: Path, pool: FakePool | None = None, **training: Any) -> MemoryBook:
    """Return the rows of a study that nothing disturbed."""
    book = MemoryBook()
    study(folder, book, **training).run(FakePool() if pool is None else pool)
    return book


def test_a_study_stops_at_its_cap(folder: Path) -> None:
    book, pool = MemoryBook(), FakePool()
    assert study(folder, book, trials=13, workers=3).run(pool) == "complete"
    assert list(book.read()) == list(range(13))
    assert {row["state"] for row in book.read().values()} <= {"complete", "pruned"}
    assert pool.most_at_once == 3
    assert Counter(outcome for _, _, outcome, _ in book.attempts).total() == 13


def test_a_cap_of_none_starts_nothing(folder: Path) -> None:
    book, pool = MemoryBook(), FakePool()
    assert study(folder, book, trials=0).run(pool) == "complete"
    assert not pool.tasks and not book.read()


def test_a_finished_study_called_again_starts_nothing(folder: Path) -> None:
    book, pool = finished(folder), FakePool()
    again = study(folder, book)
    assert again.run(pool) == "complete"
    assert not pool.tasks
    summary = again.summary("complete")
    assert (summary.n_started, summary.n_complete + summary.n_pruned, summary.n_failed) == (10, 10, 0)
    assert summary.best_score == max(row["score"] for row in book.read().values() if row["score"] is not None)


def test_a_study_goes_on_under_a_larger_cap_as_if_it_had_always_been_there(folder: Path) -> None:
    book = finished(folder, trials=5)
    study(folder, book, trials=14).run(FakePool())
    assert book.results() == finished(folder, trials=14).results()


def test_a_smaller_cap_starts_nothing_more_and_loses_nothing(folder: Path) -> None:
    book, pool = finished(folder, trials=9), FakePool()
    assert study(folder, book, trials=4).run(pool) == "complete"
    assert len(book.read()) == 9 and not pool.tasks


def test_workers_beyond_the_lag_have_nothing_to_do(folder: Path) -> None:
    pool = FakePool()
    finished(folder, pool, workers=50, trials=30)
    assert pool.most_at_once == LAG


@hypothesis_settings(derandomize=True, deadline=None, max_examples=30)
@given(st.data())
def test_workers_order_and_kills_change_nothing(folder: Path, data: st.DataObject) -> None:
    """The study of one worker, and that of any number in any order, killed anywhere, have the same rows."""
    trials = data.draw(st.integers(1, 16), "trials")
    book = MemoryBook()
    order = data.draw(st.randoms(use_true_random=False), "order")
    for killed_after in data.draw(st.lists(st.integers(0, 25), max_size=4), "kills"):
        workers = data.draw(st.integers(1, 9), "workers")
        pool = FakePool(choose=order.randrange, killed_after=killed_after)
        try:
            study(folder, book, trials=trials, workers=workers).run(pool)
        except StudyKilled:
            assert len(book.read()) <= trials
    study(folder, book, trials=trials, workers=data.draw(st.integers(1, 9), "last workers")).run(
        FakePool(choose=order.randrange)
    )
    assert book.results() == finished(folder, trials=trials, workers=1).results()
    ends = Counter(trial for trial, _, outcome, _ in book.attempts if outcome != "interrupted")
    assert ends == Counter(range(trials))


@hypothesis_settings(derandomize=True, deadline=None, max_examples=30)
@given(st.data())
def test_whatever_happens_to_processes_a_study_ends_within_its_cap(folder: Path, data: st.DataObject) -> None:
    bad: list[Outcome] = ["out_of_memory", "killed", "failed", "diverged", "disk_full"]
    outcomes: list[Outcome] = ["complete"] * len(bad) + bad
    order = data.draw(st.randoms(use_true_random=False), "order")
    book = MemoryBook()
    fates: dict[tuple[int, int], Outcome] = {}

    def fate(task: TrialTask, attempt: int) -> Outcome:
        return fates.setdefault((task.model.trial, attempt), order.choice(outcomes))

    pool = FakePool(fate, order.randrange)
    state = study(folder, book, trials=15, workers=data.draw(st.integers(1, 9))).run(pool)
    rows = book.read()
    assert state == "failed" or len(rows) == 15
    assert all(row["state"] in ("complete", "pruned", "failed") for row in rows.values())
    assert len(book.attempts) == len(pool.tasks) <= len(rows) * (1 + 3 * MAX_RETRIES)
    for trial in rows:
        assert [attempt for t, attempt, _, _ in book.attempts if t == trial] == list(
            range(1, pool.n_attempts[trial] + 1)
        )


def test_memory_that_runs_out_is_answered_with_smaller_batches_three_times(folder: Path) -> None:
    pool = FakePool(lambda task, attempt: "out_of_memory" if task.model.trial == 2 else "complete")
    book = finished(folder, pool)
    asked = pool.tasks[2].hyper.batch_size
    sizes = [(attempt, batch) for trial, attempt, _, batch in book.attempts if trial == 2]
    assert sizes == [(n + 1, max(256, asked >> n)) for n in range(4)]
    assert book.read()[2]["state"] == "failed"
    assert book.read()[2]["reason"] == "it was out_of_memory"
    assert sum(row["state"] == "failed" for row in book.read().values()) == 1


def test_a_batch_that_fitted_is_recorded_with_the_attempt_and_the_sampler_hears_what_it_asked_for(folder: Path) -> None:
    """512 is no batch size of the search space, but the sampler has to take the trial's score."""
    pool = FakePool(lambda task, attempt: "out_of_memory" if attempt == 1 else "complete")
    book = finished(folder, pool, trials=12)
    whole = finished(folder, trials=12)
    assert [row[:5] for row in book.results()] == [row[:5] for row in whole.results()]
    assert 512 in {batch for _, _, outcome, batch in book.attempts if outcome == "complete"}


def test_a_kill_between_two_attempts_keeps_the_smaller_batch(folder: Path) -> None:
    book, pool = MemoryBook(), FakePool(lambda task, attempt: "out_of_memory", killed_after=2)
    with pytest.raises(StudyKilled):
        study(folder, book, trials=1).run(pool)
    second = FakePool()
    study(folder, book, trials=1).run(second)
    asked = pool.tasks[0].hyper.batch_size
    assert second.tasks[0].hyper.batch_size == max(256, asked >> 2)
    assert [row[2] for row in book.attempts] == ["out_of_memory", "out_of_memory", "interrupted", "complete"]


def test_a_killed_trial_is_tried_again_with_the_same_task_to_go_on_from_its_checkpoint(folder: Path) -> None:
    pool = FakePool(lambda task, attempt: "killed" if attempt == 1 and task.model.trial == 1 else "complete")
    book = finished(folder, pool)
    first, second = (task for task in pool.tasks if task.model.trial == 1)
    assert first == second
    assert [row[2] for row in book.attempts if row[0] == 1] == ["killed", "complete"]
    assert book.results() == finished(folder).results()


class TellingPool(FakePool):
    """Trials tell of their first fold; the odd ones never trade on it, and every third one is killed after it."""

    def __init__(self) -> None:
        super().__init__(lambda task, attempt: "killed" if self._is_doomed(task) else "complete")

    def events(self, timeout_s: float | None = None) -> Iterator[FoldScored | Ended]:
        for event in super().events(timeout_s):
            yield replace(event, diary=self._diary(event.trial)) if isinstance(event, FoldScored) else event

    def _diary(self, trial: int) -> tuple[TrainingLog, ...]:
        return (TrainingLog("fold-0", [some_progress()], Conduct(0.3, n_trading_bars=0 if trial % 2 else 9)),)

    def _is_doomed(self, task: TrialTask) -> bool:
        return task.model.trial % 3 == 0 and bool(self.running[task.model.trial][1])


def test_what_a_trial_told_at_a_fold_is_kept_when_it_dies_without_a_word(folder: Path) -> None:
    book = finished(folder, TellingPool(), trials=6)
    assert {trial for trial, row in book.read().items() if row["state"] == "failed"} == {0, 3}
    assert {trial: len(diary) for trial, diary in book.diaries.items()} == dict.fromkeys(range(6), 1)


def test_a_collapsed_policy_is_named_in_its_row_and_in_the_progress_of_the_study(folder: Path) -> None:
    said: list[str] = []
    book, settings = MemoryBook(), settings_in(folder, trials=4)
    Study(plan(settings), book, settings, said.append).run(TellingPool())
    assert [row["collapsed"] for row in book.read().values()] == [None, "cash", None, "cash"]
    assert {row["action_spread"] for row in book.read().values()} == {0.3}
    assert [line.split(":")[0][-1] for line in said if "collapsed: cash |" in line] == [")", ")"]


def test_being_interrupted_often_does_not_use_up_the_retries(folder: Path) -> None:
    book = MemoryBook()
    for _ in range(6):
        with pytest.raises(StudyKilled):
            study(folder, book, trials=1).run(FakePool(killed_after=0))
    study(folder, book, trials=1).run(FakePool(lambda task, attempt: "killed" if attempt < 4 else "complete"))
    assert book.read()[0]["state"] == "complete"
    assert [row[1] for row in book.attempts] == list(range(1, 11))


def test_a_failed_trial_is_not_tried_again_and_the_study_goes_on(folder: Path) -> None:
    pool = FakePool(lambda task, attempt: "failed" if task.model.trial % 2 else "complete")
    book = finished(folder, pool)
    assert len(pool.tasks) == 10
    assert [row["state"] == "failed" for row in book.read().values()] == [False, True] * 5


def test_a_study_of_which_everything_fails_gives_up_early(folder: Path) -> None:
    book, pool = MemoryBook(), FakePool(lambda task, attempt: "failed")
    assert study(folder, book, trials=500).run(pool) == "failed"
    assert LAG <= len(book.read()) <= 2 * LAG


def test_what_a_trial_leaves_behind_is_removed_however_it_ends(folder: Path) -> None:
    def fate(task: TrialTask, attempt: int) -> Outcome:
        task.checkpoints.mkdir(parents=True, exist_ok=True)
        return "failed" if task.model.trial == 3 else "complete"

    pool = FakePool(fate)
    book = finished(folder, pool, trials=16)
    states = {row["state"] for row in book.read().values()}
    assert states == {"complete", "pruned", "failed"}
    assert not any(task.checkpoints.exists() for task in pool.tasks)


def test_hopeless_trials_are_pruned_at_a_fold_that_is_not_their_last(folder: Path) -> None:
    book = finished(folder, trials=30)
    pruned = [row for row in book.read().values() if row["state"] == "pruned"]
    assert pruned and all(len(row["fold_scores"]) == 1 for row in pruned)
    assert all(row["trial"] >= LAG and "below the median" in row["reason"] for row in pruned)
    assert all(row["score"] is None for row in pruned)


def test_a_study_converges_and_stays_so(folder: Path) -> None:
    book = MemoryBook()
    rule: dict[str, Any] = {"trials": 400, "patience": 6, "min_improvement": 0.5, "startup_trials": 1000}
    assert study(folder, book, **rule).run(FakePool()) == "converged"
    n_trials = len(book.read())
    assert 6 < n_trials < 60
    pool = FakePool()
    assert study(folder, book, **rule, workers=8).run(pool) == "converged"
    assert not pool.tasks
    patient = {**rule, "patience": 20}
    study(folder, book, **patient).run(FakePool())
    assert len(book.read()) > n_trials
    assert book.results() == finished(folder, **patient).results()


def test_a_timeframe_search_gives_each_pair_the_same_trials(folder: Path) -> None:
    book, pool = MemoryBook(), FakePool()
    assert study(folder, book, "timeframe").run(pool) == "complete"
    assert [task.lookback for task in sorted(pool.tasks, key=lambda task: task.model.trial)] == [4, 8, 4, 8]
    first, second, third, _ = pool.tasks
    assert (first.hyper, first.seed) == (second.hyper, second.seed)
    assert first.hyper != third.hyper and first.seed != third.seed
    assert not any(task.keeps_model for task in pool.tasks)
    assert first.folds != second.folds  # the longer lookback is purged longer
    own = {"model": second.model, "lookback": 8, "folds": second.folds, "checkpoints": second.checkpoints}
    assert replace(first, **own) == second


def test_a_diverged_trial_is_tried_again_with_half_the_learning_rate_and_the_sampler_hears_what_it_asked_for(
    folder: Path,
) -> None:
    pool = FakePool(lambda task, attempt: "diverged" if task.model.trial == 2 and attempt < 3 else "complete")
    book = finished(folder, pool)
    rates = [task.hyper.learning_rate for task in pool.tasks if task.model.trial == 2]
    assert rates == [rates[0], rates[0] / 2, rates[0] / 4]
    used = [rate for row, rate in zip(book.attempts, book.learning_rates, strict=True) if row[0] == 2]
    assert used == rates
    assert f'"learning_rate": {rates[0]}' in book.read()[2]["parameters"]
    assert book.read()[2]["weight_sha256"].endswith(f"with {rates[2]}")


def test_a_study_goes_on_after_a_trial_that_found_the_disk_full_four_times(folder: Path) -> None:
    pool = FakePool(lambda task, attempt: "disk_full" if task.model.trial == 2 else "complete")
    book = finished(folder, pool, workers=1)
    assert [row[2] for row in book.attempts if row[0] == 2] == ["disk_full"] * (1 + MAX_RETRIES)
    first, *others = (task for task in pool.tasks if task.model.trial == 2)
    assert all(task == first for task in others)
    assert [row["state"] == "failed" for row in book.read().values()] == [n == 2 for n in range(10)]


def test_a_disk_that_stays_full_stops_the_study_which_loses_no_more_trials_to_it(folder: Path) -> None:
    book = MemoryBook()
    with pytest.raises(TrainingError, match=r"the disk stays full: 8 attempts in a row .*it was disk_full.*goes on"):
        study(folder, book, workers=1).run(FakePool(lambda task, attempt: "disk_full"))
    assert [row["state"] for row in book.read().values()].count("failed") == 1
    study(folder, book).run(FakePool())
    assert [row["state"] == "failed" for row in book.read().values()] == [True] + [False] * 9


def test_a_trial_is_ready_before_a_worker_is(folder: Path) -> None:
    """Nobody waits for the warehouse between two trials; what is ready counts against the cap."""
    book, pool = MemoryBook(), FakePool()
    running = study(folder, book, trials=5, workers=2)
    running._fill(pool)
    assert (len(pool), list(book.read())) == (2, [0, 1, 2])
    assert running.run(pool) == "complete"
    assert [task.model.trial for task in pool.tasks] == list(range(5)) == list(book.read())


def test_a_full_disk_stops_the_study_before_the_next_trial(folder: Path) -> None:
    book = MemoryBook()
    with pytest.raises(TrainingError, match=r"MB are free under .*min_free_disk_mb"):
        study(folder, book, min_free_disk_mb=10**9).run(FakePool())
    study(folder, book).run(FakePool())
    assert book.results() == finished(folder).results()
    require_disk(folder, 0)
