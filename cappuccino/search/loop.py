"""The loop over one study's trials: ask, start, listen, write down.

What happens when depends on workers and luck, what comes out does not: a trial rests on its number and on the trials
`LAG` and more before it.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from cappuccino.errors import TrainingError
from cappuccino.rl.hyper import Hyper
from cappuccino.search.book import Row, StudyBook, finished_row, told_of
from cappuccino.search.diary import Diary, collapsed
from cappuccino.search.disk import has_room, require_disk
from cappuccino.search.pools import TrialPool
from cappuccino.search.retry import MAX_RETRIES, hyper_after, may_retry
from cappuccino.search.stop import has_converged, hopeless
from cappuccino.search.study import StudyPlan
from cappuccino.search.suggest import LAG, Sampler, Told, random_hyper, space_of
from cappuccino.search.tasks import agent_rows, env_steps, task_of, trial_seed
from cappuccino.search.trial import TrialTask
from cappuccino.search.workers import Ended, FoldScored
from cappuccino.settings import Settings

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
    cpu_busy_frac: float
    """CPU time that this call's trials took, over its wall time and workers: 1 = no worker ever waited."""

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
            "cpu_busy_frac": round(self.cpu_busy_frac, 3),
        }


@dataclass(frozen=True)
class _Open:
    """A trial that is being worked on."""

    row: Row
    task: TrialTask
    rivals: tuple[tuple[float, ...], ...]
    """Fold scores of the completed trials that it may be compared with."""
    outcomes: tuple[str, ...]
    """How earlier attempts ended."""
    scores: list[float] = field(default_factory=list)
    diary: Diary = field(default_factory=list)
    """What it told at its last fold, for the case that it cannot tell at its end."""

    @property
    def trial(self) -> int:
        return self.task.model.trial


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
        self.cpu_s = 0.0
        """CPU time of the trials' processes that ended in this call."""
        self.n_full_disks = 0
        """Attempts in a row that found the disk full."""
        rows = book.read()
        self.done = {trial: told_of(row) for trial, row in rows.items() if row["state"] != "running"}
        self.left_over = [row for trial, row in sorted(rows.items()) if row["state"] == "running"]
        self.next_trial = len(rows)
        self.open: dict[int, _Open] = {}
        self.retries: list[tuple[float, _Open]] = []
        """(when it may start, by the monotonic clock; the trial)."""
        self.ready: _Open | None = None
        """Asked for and recorded while all workers were busy: none waits for the warehouse before it starts."""

    def run(self, pool: TrialPool) -> str:
        """Work until nothing is left to do; returns the study's state: complete, converged or failed."""
        self._take_up()
        self._fill(pool)
        while len(pool) or self.retries:
            for event in pool.events(self._pause_s(pool)):
                if isinstance(event, FoldScored):
                    self._on_fold(pool, event)
                else:
                    self._start_ready(pool)
                    self._on_end(event)
            self._fill(pool)
        self._tell(self.next_trial)
        if not self._scores() and (self.next_trial or self.plan.kind == "timeframe"):
            return "failed"
        return "complete" if self.next_trial >= self.plan.trial_cap else "converged"

    def summary(self, state: str) -> StudySummary:
        states = [row["state"] for row in self.book.read().values()]
        return StudySummary(
            study=self.plan.study,
            state=state,
            n_started=len(states),
            n_complete=states.count("complete"),
            n_pruned=states.count("pruned"),
            n_failed=states.count("failed"),
            best_score=max(self._scores(), default=None),
            trials_per_minute=self._per_minute(),
            cpu_busy_frac=self.cpu_s / (self._elapsed_s() * max(self.settings.training.workers, 1)),
        )

    def _fill(self, pool: TrialPool) -> None:
        """Start trials while there are free workers: first those to be tried again, then new ones."""
        if not len(pool):
            self._await_disk()
        elif not self._has_room():
            return  # what runs may free some at its end
        now_s = time.monotonic()
        for due_s, again in list(self.retries):
            if due_s <= now_s and self._n_free(pool):
                self.retries.remove((due_s, again))
                self._start(pool, again)
        self._start_ready(pool)
        while self._n_free(pool) and self._may_ask():
            self._start(pool, self._new_trial())
        if self.ready is None and self._may_ask():
            self.ready = self._new_trial()

    def _start_ready(self, pool: TrialPool) -> None:
        if self.ready is not None and self._n_free(pool) and self._has_room():
            opened, self.ready = self.ready, None
            self._start(pool, opened)

    def _n_free(self, pool: TrialPool) -> int:
        return max(0, min(self.settings.training.workers, LAG) - len(pool))

    def _pause_s(self, pool: TrialPool) -> float | None:
        """Return how long to listen: until a retry is due that a worker is free for, else for ever."""
        if not self.retries or not self._n_free(pool) or (len(pool) and not self._has_room()):
            return None
        return max(0.0, min(due_s for due_s, _ in self.retries) - time.monotonic())

    def _may_ask(self) -> bool:
        """Whether the next trial is allowed and everything that it rests on is known."""
        if self.next_trial >= self.plan.trial_cap or self.retries:
            return False
        if any(trial not in self.done for trial in range(self.next_trial - LAG + 1)):
            return False
        self._tell(self.next_trial - LAG + 1)
        if len(self.results) >= LAG and all(told.is_failed for told in self.results):
            return False  # whatever it is, it is not the hyper-parameters
        rule = self.settings.training
        return self.plan.kind == "timeframe" or not has_converged(self._scores(), rule.patience, rule.min_improvement)

    def _tell(self, stop: int) -> None:
        """Let sampler and rules hear of the trials before `stop` that they have not heard of."""
        for trial in range(len(self.results), stop):
            self.results.append(self.done[trial])
            self.sampler.tell(self.done[trial])

    def _scores(self) -> list[float]:
        return [told.score for told in self.results if told.score is not None]

    def _new_trial(self) -> _Open:
        trial = self.next_trial
        if self.plan.kind == "timeframe":
            hyper = random_hyper(self.space, self.settings.training.seed, trial // len(self.plan.pairs))
        else:
            hyper = self.sampler.ask(trial)
        row = self.book.started(trial, self.plan.pair_of(trial), hyper, trial_seed(self.plan, self.settings, trial))
        self.next_trial += 1
        return self._opened(row, ())

    def _take_up(self) -> None:
        """Put the trials that ran when the study was killed at the front."""
        outcomes = self.book.outcomes()
        for row in self.left_over:
            opened = self._opened(row, outcomes.get(row["trial"], ()))
            ended = Ended(opened.trial, "interrupted", None, "the study's process ended first", 0.0, None)
            self.book.attempted(ended, len(opened.outcomes) + 1, opened.task.hyper)
            self.retries.append((0.0, replace(opened, outcomes=(*opened.outcomes, ended.outcome))))

    def _opened(self, row: Row, outcomes: tuple[str, ...]) -> _Open:
        trial = row["trial"]
        asked = Hyper.from_dict(json.loads(row["parameters"]))
        hyper = hyper_after(asked, outcomes)
        heard = (self.done[earlier] for earlier in range(trial - LAG + 1))
        rivals = tuple(told.fold_scores for told in heard if told.score is not None)
        return _Open(row, task_of(self.plan, self.settings, trial, hyper), rivals, outcomes)

    def _start(self, pool: TrialPool, opened: _Open) -> None:
        self.open[opened.trial] = opened
        pool.start(opened.trial, opened.task)

    def _on_fold(self, pool: TrialPool, event: FoldScored) -> None:
        opened = self.open[event.trial]
        opened.scores.append(event.score)
        opened.diary[:] = event.diary
        is_last = event.fold + 1 == len(opened.task.folds)
        may_prune = self.plan.kind == "training" and not is_last
        startup_trials = self.settings.training.startup_trials
        pool.go_on(event.trial, hopeless(opened.scores, opened.rivals, startup_trials) if may_prune else None)

    def _on_end(self, ended: Ended) -> None:
        opened = self.open.pop(ended.trial)
        ended = replace(ended, diary=ended.diary or tuple(opened.diary))
        self.cpu_s += ended.usage.cpu_s if ended.usage else 0.0
        self._require_not_full_for_ever(ended)
        outcomes, hyper = (*opened.outcomes, ended.outcome), opened.task.hyper
        if may_retry(outcomes):
            self._try_again(opened, ended, outcomes)
            return
        row = finished_row(opened.row, ended, opened.scores, env_steps(opened.task))
        judged = agent_rows(self.plan, self.settings, ended.trial, ended.result) if ended.result else None
        self.book.ended(row, ended, len(outcomes), hyper, judged)
        shutil.rmtree(opened.task.checkpoints, ignore_errors=True)
        self.done[ended.trial] = told_of(row)
        self.n_ended_here += 1
        self._report(ended)

    def _try_again(self, opened: _Open, ended: Ended, outcomes: tuple[str, ...]) -> None:
        """Record the attempt, and let the next one wait for its turn."""
        self.book.attempted(ended, len(outcomes), opened.task.hyper)
        again = self._opened(opened.row, outcomes)
        pause_s = 0.0 if ended.outcome == "diverged" else self.settings.training.retry_pause_s
        self.retries.append((time.monotonic() + pause_s, again))
        hyper = again.task.hyper
        self.say(
            f"trial {ended.trial}: {ended.outcome}: {ended.reason}; again with minibatches of {hyper.batch_size} and a "
            f"learning rate of {hyper.learning_rate:.2g}"
        )

    def _has_room(self) -> bool:
        return has_room(self.settings.warehouse, self.settings.training.min_free_disk_mb)

    def _await_disk(self) -> None:
        """Pause while the disk is too full to start anything, which nobody is kept waiting by; raises TrainingError."""
        for _ in range(MAX_RETRIES):
            if self._has_room():
                return
            self.say(f"too little is free under {self.settings.warehouse}; waiting for room")
            time.sleep(self.settings.training.retry_pause_s)
        require_disk(self.settings.warehouse, self.settings.training.min_free_disk_mb)

    def _require_not_full_for_ever(self, ended: Ended) -> None:
        """Raise TrainingError when a second trial in a row used up its attempts on a full disk: a third will, too."""
        self.n_full_disks = self.n_full_disks + 1 if ended.outcome == "disk_full" else 0
        if self.n_full_disks >= 2 * (1 + MAX_RETRIES):
            raise TrainingError(
                f"the disk stays full: {self.n_full_disks} attempts in a row could not write under "
                f"{self.settings.warehouse} ({ended.reason}); free some disk space or raise its quota, then start "
                "again: the study goes on where it was"
            )

    def _report(self, ended: Ended) -> None:
        best = max((told.score for told in self.done.values() if told.score is not None), default=None)
        n_left = max(0, self.plan.trial_cap - len(self.done))
        per_minute = self._per_minute()
        pair = self.plan.pair_of(ended.trial)
        outcome = f"score {ended.result.score:+.3f}" if ended.result else f"{ended.outcome}: {ended.reason}"
        if way := collapsed(ended.diary):
            outcome += f", collapsed: {way}"
        self.say(
            f"{self.plan.kind} trial {ended.trial} ({pair.interval} x {pair.lookback}): {outcome} | "
            f"{len(self.done)}/{self.plan.trial_cap} done, best {best if best is None else format(best, '+.3f')}, "
            f"{per_minute:.1f} trials/min, {n_left / per_minute:.1f} min left"
        )

    def _per_minute(self) -> float:
        return 60.0 * self.n_ended_here / self._elapsed_s()

    def _elapsed_s(self) -> float:
        return max(time.monotonic() - self.started_s, 1e-9)
