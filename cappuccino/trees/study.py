"""Runs a study of trees, from its plan to its last row, in processes of this machine.

A trial rests on its number and on the trials `LAG` and more before it. Killed at any moment and started again, the
study goes on with the trials that were running, under the same numbers, and ends with the same results.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, cast

from cappuccino.errors import StudyFailed, TrainingError
from cappuccino.search.book import Row, StudyBook, finished_row
from cappuccino.search.coordinator import training_lock
from cappuccino.search.disk import require_disk
from cappuccino.search.loop import StudySummary
from cappuccino.search.outcome import RunTrial
from cappuccino.search.retry import may_retry
from cappuccino.search.study import StudyPlan, study_folder
from cappuccino.search.suggest import LAG
from cappuccino.search.tasks import agent_rows, baseline_rows, write_study_arrays
from cappuccino.search.trial import TrialTask
from cappuccino.search.usage import share_of_memory_mb
from cappuccino.search.workers import Ended, FoldScored, Pool, warm_up
from cappuccino.settings import Settings
from cappuccino.store.warehouse import Warehouse
from cappuccino.trees.hyper import TreeHyper
from cappuccino.trees.importances import store_importances
from cappuccino.trees.plan import KIND, plan_trees, space_of, task_of
from cappuccino.trees.space import Told, choose, hyper_importances
from cappuccino.trees.trial import run_tree_trial
from cappuccino.watch.due import require_fresh

Say = Callable[[str], None]


def run_trees(settings: Settings, now: datetime, say: Say) -> StudySummary:
    """Run the study of trees that is due at `now` to its cap, or take it up where it was left.

    Raises as `search.coordinator.run_study` does.
    """
    if settings.training.workers == 0 or settings.trees.trials == 0:
        raise TrainingError("no trees grow with training.workers or trees.trials 0; set both to at least 1")
    require_disk(settings.warehouse, settings.training.min_free_disk_mb)
    warm_up()
    warehouse = Warehouse(settings.database)
    with training_lock(settings.warehouse):
        with warehouse.read() as reader:
            require_fresh(reader, settings, now, "training")
            plan = plan_trees(reader, settings, now)
        study = TreeStudy(plan, StudyBook(warehouse, plan, settings), settings, say)
        study.begin()
        with tree_pool(settings) as pool:
            study.run(pool)
        study.close(warehouse)
    return study.summary()


def tree_pool(settings: Settings) -> Pool:
    """Return the processes that trials run in."""
    memory_mb = settings.training.worker_memory_mb
    if memory_mb is None:
        memory_mb = share_of_memory_mb(min(settings.training.workers, LAG))
    return Pool(cast(RunTrial, run_tree_trial), memory_mb)  # a pool hands tasks on, and does not look into them


class TreeStudy:
    """The loop over one study's trials."""

    def __init__(self, plan: StudyPlan, book: StudyBook, settings: Settings, say: Say) -> None:
        self.plan, self.book, self.settings, self.say = plan, book, settings, say
        self.space = space_of(plan, settings)
        self.done: dict[int, Told] = {}
        self.open: dict[int, Row] = {}
        """Rows of the trials that are not done, by number."""
        self.waiting: list[int] = []
        """Of these, the trials that no process works on."""
        self.outcomes: dict[int, tuple[str, ...]] = {}
        self.scores: dict[int, list[float]] = {}
        """Of the folds of running trials."""
        self.cpu_s, self.n_ended_here, self.started_s = 0.0, 0, time.monotonic()

    def begin(self) -> None:
        """Record that the study runs, prepare its bars, and put the trials that ran when it was killed at the front."""
        self.book.open()
        self._remove_left_behind()
        write_study_arrays(self.plan, self.settings)
        self.book.evaluated(baseline_rows(self.plan, self.settings))
        self.outcomes = self.book.outcomes()
        for trial, row in self.book.read().items():
            if row["state"] != "running":
                self.done[trial] = _told(row)
                continue
            self.open[trial] = row
            ended = Ended(trial, "interrupted", None, "the study's process ended first", 0.0, None)
            self._attempted(ended)
        self.waiting = sorted(self.open)
        self.say(f"{self.plan.study}: {self.plan.trial_cap} trials, {self._n_workers} at a time")

    def run(self, pool: Pool) -> None:
        """Work until nothing is left to do."""
        self._fill(pool)
        while len(pool):
            for event in pool.events():
                if isinstance(event, FoldScored):
                    self.scores[event.trial].append(event.score)
                    pool.go_on(event.trial, None)
                else:
                    self._on_end(event)
            self._fill(pool)

    def close(self, warehouse: Warehouse) -> None:
        """Record the end and what mattered; raises StudyFailed when no trial completed."""
        known = [self.done[trial] for trial in sorted(self.done)]
        n_complete = sum(told.score is not None for told in known)
        with warehouse.write() as writer:
            store_importances(writer, self.settings.artifacts, self.plan.study, known)
        state = "complete" if n_complete else "failed"
        self.book.close(state, hyper_importances(self.space, known), n_complete)
        shutil.rmtree(study_folder(self.settings.warehouse, self.plan.study), ignore_errors=True)
        if not n_complete:
            raise StudyFailed(
                f"none of {len(known)} trials of {self.plan.study} completed; see `cappuccino sql "
                f"\"select * from lab.attempts where study = '{self.plan.study}'\"`"
            )

    def summary(self) -> StudySummary:
        """Return how the study stands."""
        states = [row["state"] for row in self.book.read().values()]
        scores = [told.score for told in self.done.values() if told.score is not None]
        return StudySummary(
            study=self.plan.study,
            state="complete" if scores else "failed",
            n_started=len(states),
            n_complete=states.count("complete"),
            n_pruned=states.count("pruned"),
            n_failed=states.count("failed"),
            best_score=max(scores, default=None),
            trials_per_minute=self._per_minute(),
            cpu_busy_frac=self.cpu_s / (self._elapsed_s() * self._n_workers),
        )

    @property
    def _n_workers(self) -> int:
        return min(self.settings.training.workers, LAG)

    def _fill(self, pool: Pool) -> None:
        """Start trials while there are free workers: first those to be tried again, then new ones."""
        while len(pool) < self._n_workers:
            if not self.waiting and not self._may_ask():
                return
            trial = self.waiting.pop(0) if self.waiting else self._new_trial()
            self.scores[trial] = []
            pool.start(trial, cast(TrialTask, task_of(self.plan, self.settings, trial, _hyper(self.open[trial]))))

    def _may_ask(self) -> bool:
        """Whether the next trial is allowed and everything that it rests on is known."""
        trial = len(self.done) + len(self.open)
        return trial < self.plan.trial_cap and all(earlier in self.done for earlier in range(trial - LAG + 1))

    def _new_trial(self) -> int:
        trial = len(self.done) + len(self.open)
        heard = [self.done[earlier] for earlier in range(trial - LAG + 1)]
        seed = self.settings.training.seed
        hyper = choose(self.space, seed, trial, self.settings.trees.startup_trials, heard)
        task = task_of(self.plan, self.settings, trial, hyper)
        self.open[trial] = self.book.started(trial, self.plan.pair_of(trial), _as_parameters(hyper), task.seed)
        return trial

    def _on_end(self, ended: Ended) -> None:
        trial = ended.trial
        self.cpu_s += ended.usage.cpu_s if ended.usage else 0.0
        if may_retry((*self.outcomes.get(trial, ()), ended.outcome)):
            self._attempted(ended)
            self.waiting.append(trial)
            self.say(f"trees trial {trial}: {ended.outcome}: {ended.reason}; again")
            return
        row = self.open.pop(trial)
        hyper, attempt = _hyper(row), len(self.outcomes.get(trial, ())) + 1
        finished = finished_row(row, ended, self.scores.pop(trial), env_steps=0)
        judged = agent_rows(self.plan, self.settings, trial, ended.result) if ended.result else None
        self.book.ended(finished, ended, attempt, _as_parameters(hyper), judged)
        self.done[trial] = _told(finished)
        self.n_ended_here += 1
        self._report(finished)

    def _attempted(self, ended: Ended) -> None:
        """Record the end of a process whose trial goes on."""
        outcomes = (*self.outcomes.get(ended.trial, ()), ended.outcome)
        self.book.attempted(ended, len(outcomes), _as_parameters(_hyper(self.open[ended.trial])))
        self.outcomes[ended.trial] = outcomes

    def _remove_left_behind(self) -> None:
        """Remove the working files of studies that this one supersedes; nobody else trains, so nobody uses them."""
        own = study_folder(self.settings.warehouse, self.plan.study)
        for folder in own.parent.glob(f"{KIND}-*/"):
            if folder != own:
                shutil.rmtree(folder)

    def _report(self, row: Row) -> None:
        best = max((told.score for told in self.done.values() if told.score is not None), default=None)
        n_left = max(0, self.plan.trial_cap - len(self.done))
        outcome = f"{row['state']}: {row['reason']}" if row["score"] is None else f"score {row['score']:+.3f}"
        outcome += f", collapsed: {row['collapsed']}" if row["collapsed"] else ""
        self.say(
            f"{KIND} trial {row['trial']} ({row['interval']} x {row['lookback']}): {outcome} | "
            f"{len(self.done)}/{self.plan.trial_cap} done, best {best if best is None else format(best, '+.3f')}, "
            f"{self._per_minute():.1f} trials/min, {n_left / self._per_minute():.1f} min left"
        )

    def _per_minute(self) -> float:
        return 60.0 * self.n_ended_here / self._elapsed_s()

    def _elapsed_s(self) -> float:
        return max(time.monotonic() - self.started_s, 1e-9)


def _hyper(row: Row) -> TreeHyper:
    return TreeHyper.from_dict(json.loads(row["parameters"]))


def _as_parameters(hyper: TreeHyper) -> Any:
    """Return `hyper` for a book, which asks any family for the same: `to_dict`, `batch_size` and `learning_rate`."""
    return hyper


def _told(row: Row) -> Told:
    return Told(row["trial"], _hyper(row), row["score"])
