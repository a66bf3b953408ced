"""Runs a study: asks, starts a process a trial, listens, and writes everything down.

One coordinator at a time trains on a warehouse. Killed at any moment and started again, it goes on with the trials that
were running, under the same numbers, and ends with the same results.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

from cappuccino.errors import TrainingBusy, TrainingError
from cappuccino.features.spec import FeatureSpec
from cappuccino.market.interval import Interval
from cappuccino.market.panel import as_datetime
from cappuccino.portfolio.measures import Measures
from cappuccino.registry.identity import ModelId
from cappuccino.registry.version import code_version
from cappuccino.risk.rules import Rules
from cappuccino.rl.hyper import Hyper
from cappuccino.rl.runner import Budget
from cappuccino.search.arrays import StudyArrays, write_arrays
from cappuccino.search.book import StudyBook, evaluation_frame, evaluation_row, told_of
from cappuccino.search.folds import Fold, walk_forward
from cappuccino.search.request import StudyRequest
from cappuccino.search.stop import has_converged, hopeless
from cappuccino.search.study import Pair, StudyPlan, plan_study, study_folder
from cappuccino.search.suggest import LAG, Sampler, Told, importances, random_hyper, seed_of, space_of
from cappuccino.search.timeframe import choose_timeframe
from cappuccino.search.trial import TrialTask
from cappuccino.search.workers import Ended, FoldScored, Pool
from cappuccino.settings import Settings
from cappuccino.store.warehouse import Warehouse
from cappuccino.validation.baselines import BASELINES, benchmark_returns, run_baselines

MAX_ATTEMPTS = 4
"""One try and three retries after memory ran out."""
MIN_BATCH = 256

Say = Callable[[str], None]


@dataclass(frozen=True)
class StudySummary:
    """How a study stands at the end of a call."""

    study: str
    state: str
    n_started: int
    n_complete: int
    n_pruned: int
    n_failed: int
    best_score: float | None
    trials_per_minute: float
    """Of this call, by the wall."""

    def as_metadata(self) -> dict[str, Any]:
        """Return plain values for a run's metadata."""
        return {
            "study": self.study,
            "state": self.state,
            "trials_started": self.n_started,
            "trials_complete": self.n_complete,
            "trials_pruned": self.n_pruned,
            "trials_failed": self.n_failed,
            "best_score": self.best_score if self.best_score is not None else "none",
            "trials_per_minute": round(self.trials_per_minute, 2),
        }


def run_study(request: StudyRequest, on_progress: Say) -> StudySummary:
    """Run the study of `request` to its cap or its stop rule, or take it up where it was left.

    Raises TrainingBusy when another process trains on this warehouse, TrainingError without a worker, without disk
    space or without one completed trial, DataError when the data do not suffice.
    """
    settings = request.settings
    if settings.training.workers == 0:
        raise TrainingError("training.workers is 0, so nothing trains; set it to at least 1")
    _require_disk(settings)
    warehouse = Warehouse(settings.database)
    with _training_lock(settings.warehouse):
        with warehouse.read() as reader:
            plan = plan_study(reader, settings, request.kind, request.now)
        book = StudyBook(warehouse, plan, settings)
        book.open()
        _write_study_arrays(plan, settings)
        on_progress(f"{plan.study}: at most {plan.trial_cap} trials, {settings.training.workers} at a time")
        study = Study(plan, book, settings, on_progress)
        if plan.kind == "training":
            book.evaluated(_baselines(plan, settings))
        state = study.run()
        if plan.kind == "timeframe":
            choose_timeframe(warehouse, plan)
        book.close(
            state, dict(importances(study.space, study.results)), sum(told.score is not None for told in study.results)
        )
        shutil.rmtree(study_folder(settings.warehouse, plan.study), ignore_errors=True)
    return study.summary(state)


@dataclass
class _Open:
    """A trial that is being worked on."""

    row: dict[str, Any]
    task: TrialTask
    rivals: list[tuple[float, ...]]
    """Fold scores of the completed trials that it may be compared with."""
    attempt: int
    scores: list[float] = field(default_factory=list)


class Study:
    """The loop over one study's trials."""

    def __init__(self, plan: StudyPlan, book: StudyBook, settings: Settings, say: Say) -> None:
        self.plan, self.book, self.settings, self.say = plan, book, settings, say
        self.space = space_of(settings)
        self.sampler = Sampler(self.space, settings.training.seed, settings.training.startup_trials)
        self.results: list[Told] = []
        """What was told to the sampler: a prefix of the trials, in order."""
        self.started_s = time.monotonic()
        self.n_ended_here = 0
        rows = book.read()
        self.done = {trial: told_of(row) for trial, row in rows.items() if row["state"] != "running"}
        self.left_over = {trial: row for trial, row in rows.items() if row["state"] == "running"}
        self.next_trial = max(rows, default=-1) + 1
        self.open: dict[int, _Open] = {}
        self.n_attempts = book.n_attempts()
        self.retries: list[tuple[float, _Open]] = []

    def run(self) -> str:
        """Work until nothing is left to do; returns the study's state, complete or converged."""
        with Pool() as pool:
            for trial, row in sorted(self.left_over.items()):
                self._take_up(trial, row)
            while self._fill(pool) or len(pool) or self.retries:
                for event in self._wait(pool):
                    if isinstance(event, FoldScored):
                        self._on_fold(pool, event)
                    else:
                        self._on_end(event)
        self._tell(self.next_trial)
        if not any(told.score is not None for told in self.results) and self.plan.trial_cap:
            raise TrainingError(
                f"none of {len(self.results)} trials of {self.plan.study} completed; see `cappuccino sql "
                f"\"select * from lab.attempts where study = '{self.plan.study}'\"`"
            )
        return "complete" if self.next_trial >= self.plan.trial_cap else "converged"

    def summary(self, state: str) -> StudySummary:
        scores = [told.score for told in self.results if told.score is not None]
        rows = self.book.read().values()
        count = {name: sum(row["state"] == name for row in rows) for name in ("complete", "pruned", "failed")}
        return StudySummary(
            self.plan.study,
            state,
            len(rows),
            count["complete"],
            count["pruned"],
            count["failed"],
            max(scores, default=None),
            self._per_minute(),
        )

    def _fill(self, pool: Pool) -> bool:
        """Start trials while there are free workers; returns whether any more could be started now or later."""
        now_s = time.monotonic()
        for due_s, retry in list(self.retries):
            if due_s <= now_s and len(pool) < self.settings.training.workers:
                self.retries.remove((due_s, retry))
                self._start(pool, retry)
        while len(pool) < min(self.settings.training.workers, LAG) and self._may_ask():
            self._start(pool, self._new_trial())
        return False

    def _may_ask(self) -> bool:
        """Whether the next trial is allowed and everything that it rests on is known."""
        if self.next_trial >= self.plan.trial_cap or self.retries:
            return False
        if any(trial not in self.done for trial in range(self.next_trial - LAG + 1)):
            return False
        self._tell(self.next_trial - LAG + 1)
        rule = self.settings.training
        scores = [told.score for told in self.results if told.score is not None]
        return self.plan.kind == "timeframe" or not has_converged(scores, rule.patience, rule.min_improvement)

    def _tell(self, stop: int) -> None:
        """Let sampler and rules hear of the trials before `stop` that they have not heard of."""
        for trial in range(len(self.results), stop):
            self.results.append(self.done[trial])
            self.sampler.tell(self.done[trial])

    def _new_trial(self) -> _Open:
        trial = self.next_trial
        self.next_trial += 1
        seed = self.settings.training.seed
        if self.plan.kind == "timeframe":
            hyper = random_hyper(self.space, seed, trial // len(self.plan.pairs))
        else:
            hyper = self.sampler.ask(trial)
        task = self._task(trial, hyper)
        self.book.started(trial, task, self.plan.pair_of(trial).interval)
        return self._opened(trial, task)

    def _take_up(self, trial: int, row: dict[str, Any]) -> None:
        """Put a trial that was running when the study was killed back at the front."""
        task = self._task(trial, Hyper.from_dict(json.loads(row["parameters"])))
        self.book.interrupted(trial, task.hyper.batch_size)
        self.n_attempts[trial] = self.n_attempts.get(trial, 0) + 1
        self.retries.append((0.0, self._opened(trial, task)))

    def _opened(self, trial: int, task: TrialTask) -> _Open:
        heard = [self.done[t] for t in range(trial - LAG + 1) if t in self.done]
        rivals = [told.fold_scores for told in heard if told.score is not None]
        row = self.book.read()[trial]
        return _Open(row, task, rivals, self.n_attempts.get(trial, 0) + 1)

    def _start(self, pool: Pool, opened: _Open) -> None:
        trial = opened.task.model.trial
        self.open[trial] = opened
        opened.scores.clear()
        pool.start(trial, opened.task)

    def _wait(self, pool: Pool) -> Iterator[FoldScored | Ended]:
        if len(pool):
            yield from pool.events()
        elif self.retries:
            time.sleep(max(0.0, min(due_s for due_s, _ in self.retries) - time.monotonic()))

    def _on_fold(self, pool: Pool, event: FoldScored) -> None:
        opened = self.open[event.trial]
        opened.scores.append(event.score)
        is_last = event.fold + 1 == self.settings.training.n_folds
        prune = self.plan.kind == "training" and not is_last
        reason = hopeless(opened.scores, opened.rivals, self.settings.training.startup_trials) if prune else None
        pool.go_on(event.trial, reason)

    def _on_end(self, ended: Ended) -> None:
        opened = self.open.pop(ended.trial)
        hyper = opened.task.hyper
        self.book.attempted(ended, opened.attempt, hyper.batch_size)
        if ended.outcome in ("out_of_memory", "killed") and opened.attempt < MAX_ATTEMPTS:
            smaller = replace(opened.task, hyper=replace(hyper, batch_size=max(MIN_BATCH, hyper.batch_size // 2)))
            again = replace(opened, task=smaller, attempt=opened.attempt + 1, scores=[])
            self.retries.append((time.monotonic() + self.settings.training.retry_pause_s, again))
            self.say(f"trial {ended.trial}: {ended.reason}; again with minibatches of {smaller.hyper.batch_size}")
            return
        self.book.ended(
            opened.row, ended, tuple(opened.scores), self._evaluations(opened, ended), env_steps(opened.task)
        )
        result = ended.result
        score = result.score if result else None
        self.done[ended.trial] = Told(ended.trial, hyper, score, tuple(opened.scores))
        self.n_ended_here += 1
        self._report(ended)

    def _report(self, ended: Ended) -> None:
        best = max((told.score for told in self.done.values() if told.score is not None), default=None)
        left = self.plan.trial_cap - len(self.done)
        per_minute = self._per_minute()
        pair = self.plan.pair_of(ended.trial)
        outcome = f"score {ended.result.score:+.3f}" if ended.result else f"{ended.outcome}: {ended.reason}"
        self.say(
            f"{self.plan.kind} trial {ended.trial} ({pair.interval} x {pair.lookback}): {outcome} | "
            f"{len(self.done)}/{self.plan.trial_cap} done, best {best if best is None else format(best, '+.3f')}, "
            f"{per_minute:.1f} trials/min, {left / per_minute:.1f} min left"
        )

    def _per_minute(self) -> float:
        return 60.0 * self.n_ended_here / max(time.monotonic() - self.started_s, 1e-9)

    def _task(self, trial: int, hyper: Hyper) -> TrialTask:
        settings, plan = self.settings, self.plan
        pair = plan.pair_of(trial)
        training = settings.training
        cheap = plan.kind == "timeframe"
        # Trials of one round of a timeframe search share their seed, so that the pairs differ in nothing else.
        number = trial // len(plan.pairs) if cheap else trial
        folder = study_folder(settings.warehouse, plan.study)
        return TrialTask(
            model=ModelId(plan.study, trial),
            arrays=folder / pair.interval.value,
            train_stop=plan.data[pair.interval].train_stop,
            lookback=pair.lookback,
            hyper=hyper,
            budget=Budget(
                updates=settings.timeframe.updates if cheap else training.updates,
                n_groups=training.n_groups,
                n_accounts=training.n_accounts,
                horizon=training.horizon,
                checkpoint_every=training.checkpoint_every,
            ),
            rules=Rules.of(settings.risk, settings.costs),
            n_folds=training.n_folds,
            holding_bars=pair.interval.per_day,
            seed=seed_of(training.seed, number),
            checkpoints=folder / "checkpoints" / str(trial),
            artifacts=settings.artifacts,
            data_fingerprint=plan.fingerprint,
            code_version=code_version(),
            is_simulated=settings.is_simulated,
            keeps_model=not cheap,
        )

    def _evaluations(self, opened: _Open, ended: Ended) -> pl.DataFrame:
        if ended.result is None:
            return pl.DataFrame()
        pair = self.plan.pair_of(ended.trial)
        spans = [_span(self.plan, pair, fold) for fold in study_folds(self.plan, self.settings, pair)]
        return evaluation_frame(
            [
                evaluation_row(
                    self.plan.study,
                    ended.trial,
                    "agent",
                    "validation",
                    number,
                    pair.interval,
                    spans[number],
                    measures,
                )
                for number, measures in enumerate(ended.result.fold_measures)
            ]
        )


def env_steps(task: TrialTask) -> int:
    """Return the environment steps of a complete trial."""
    budget = task.budget
    n_trainings = task.n_folds + int(task.keeps_model)
    return n_trainings * budget.updates * budget.horizon * budget.n_groups * budget.n_accounts


def study_folds(plan: StudyPlan, settings: Settings, pair: Pair) -> tuple[Fold, ...]:
    """Return the folds that every trial of `pair` uses."""
    purge_bars = pair.lookback + pair.interval.per_day
    return walk_forward(plan.data[pair.interval].train_stop, 0, settings.training.n_folds, purge_bars)


def _span(plan: StudyPlan, pair: Pair, fold: Fold) -> tuple[Any, Any]:
    panel = plan.data[pair.interval].panel
    return as_datetime(panel.opened_at[fold.validation[0]]), as_datetime(panel.closed_at[fold.validation[1] - 1])


def _baselines(plan: StudyPlan, settings: Settings) -> pl.DataFrame:
    """Return the measures of every baseline on the folds of a training study."""
    pair = plan.pairs[0]
    panel = plan.data[pair.interval].panel
    rules = Rules.of(settings.risk, settings.costs)
    rows = []
    for number, fold in enumerate(study_folds(plan, settings, pair)):
        episode = run_baselines(panel, *fold.validation, rules, seed=settings.training.seed)
        benchmark = benchmark_returns(panel, *fold.validation)
        for n, name in enumerate(BASELINES):
            measures: Measures = episode.measures(n, benchmark)
            rows.append(
                evaluation_row(
                    plan.study,
                    -1,
                    name,
                    "validation",
                    number,
                    pair.interval,
                    _span(plan, pair, fold),
                    measures,
                )
            )
    return evaluation_frame(rows)


def _write_study_arrays(plan: StudyPlan, settings: Settings) -> None:
    spec = FeatureSpec.from_settings(settings.features)
    folder = study_folder(settings.warehouse, plan.study)
    for interval, data in plan.data.items():
        write_arrays(folder / Interval(interval).value, StudyArrays(data.panel, data.features, spec))


def _require_disk(settings: Settings) -> None:
    free_mb = shutil.disk_usage(settings.warehouse).free / 2**20
    if free_mb < settings.training.min_free_disk_mb:
        raise TrainingError(
            f"{free_mb:.0f} MB are free under {settings.warehouse}, training wants {settings.training.min_free_disk_mb} "
            "(training.min_free_disk_mb); free some disk space"
        )


@contextmanager
def _training_lock(folder: Path) -> Iterator[None]:
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
