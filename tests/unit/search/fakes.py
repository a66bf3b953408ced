"""A study without processes or a warehouse: scripted trials, rows in memory, three weeks of invented bars."""

from __future__ import annotations

import json
import math
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from cappuccino.errors import TrainingDiverged
from cappuccino.market.interval import Interval
from cappuccino.market.panel import BarPanel
from cappuccino.portfolio.measures import Measures, measure
from cappuccino.rl.figures import Figures, Progress
from cappuccino.rl.hyper import Hyper
from cappuccino.search.book import Judged, Row, StudyBook
from cappuccino.search.diary import Diary, TrainingLog, begin
from cappuccino.search.outcome import Outcome
from cappuccino.search.study import Pair, StudyData, StudyPlan
from cappuccino.search.trial import TrialTask
from cappuccino.search.trial_result import TrialResult
from cappuccino.search.workers import Ended, FoldScored, Pool
from cappuccino.settings import Settings, load
from cappuccino.validation.joined import DailyReturns
from cappuccino.validation.seal import Seal

NOW = datetime(2024, 6, 1, tzinfo=UTC)
SYMBOLS = ("BTC/USD", "ETH/USD")
N_BARS = 480
SMALL: dict[str, dict[str, Any]] = {
    "market": {"symbols": SYMBOLS, "base_interval": "1h", "history_days": 40, "end": None},
    "features": {"indicators": (), "extras": ()},
    "timeframe": {"intervals": ["1h"], "lookbacks": [4, 8], "trials": 4, "updates": 2},
    "training": {
        "trials": 10,
        "n_folds": 2,
        "arena_days": 6,
        "holdout_days": 4,
        "updates": 2,
        "n_groups": 2,
        "n_accounts": 2,
        "horizon": 8,
        "checkpoint_every": 1,
        "max_width": 64,
        "startup_trials": 1,
        "retry_pause_s": 0.0,
        "min_free_disk_mb": 0,
    },
}


def settings_in(folder: Path, **training: Any) -> Settings:
    """Return settings of a tiny study, with changes to its training."""
    return load(None, {"warehouse": folder, **SMALL, "training": {**SMALL["training"], **training}})


def panel(n_bars: int = N_BARS, interval: Interval = Interval.H1) -> BarPanel:
    rng = np.random.default_rng(0)
    close = 100 * np.exp(np.cumsum(0.01 * rng.standard_normal((n_bars, 2)), axis=0))
    opened_at = np.datetime64("2024-05-01", "us") + np.arange(n_bars) * np.timedelta64(interval.us, "us")
    return BarPanel(interval, SYMBOLS, opened_at, close, close, close, close, np.ones((n_bars, 2)), close < 0)


def plan(settings: Settings, kind: str = "training") -> StudyPlan:
    """Return a study on invented bars, with the cap of `settings`."""
    pairs = tuple(Pair(Interval.H1, lookback) for lookback in ((4, 8) if kind == "timeframe" else (8,)))
    cap = settings.timeframe.trials if kind == "timeframe" else settings.training.trials
    data = StudyData(panel(), np.zeros((N_BARS, 2, 5)))
    return StudyPlan(
        "study",
        kind,  # type: ignore[arg-type]
        NOW,
        Seal.at(settings, NOW),
        cap,
        pairs,
        {Interval.H1: data},
        "bars",
        NOW,
        "base bars",
        NOW,
    )


class MemoryBook(StudyBook):
    """The rows of a study in memory; they outlive the `Study` that wrote them."""

    def __init__(self) -> None:
        self.trials: dict[int, Row] = {}
        self.attempts: list[tuple[int, int, str, int]] = []
        """(trial, attempt, outcome, batch size)"""
        self.learning_rates: list[float] = []
        """Of the same attempts."""
        self.diaries: dict[int, tuple[TrainingLog, ...]] = {}
        """Of each trial's last attempt."""

    def read(self) -> dict[int, Row]:
        return dict(sorted(self.trials.items()))

    def outcomes(self) -> dict[int, tuple[str, ...]]:
        ends: dict[int, tuple[str, ...]] = {}
        for trial, _, outcome, _ in self.attempts:
            ends[trial] = (*ends.get(trial, ()), outcome)
        return ends

    def started(self, trial: int, pair: Pair, hyper: Hyper, seed: int) -> Row:
        assert trial not in self.trials
        self.trials[trial] = started_row(trial, hyper, seed)
        return self.trials[trial]

    def attempted(self, ended: Ended, attempt: int, hyper: Hyper) -> None:
        assert (ended.trial, attempt) not in {row[:2] for row in self.attempts}
        self.attempts.append((ended.trial, attempt, ended.outcome, hyper.batch_size))
        self.learning_rates.append(hyper.learning_rate)
        self.diaries[ended.trial] = ended.diary

    def ended(self, row: Row, ended: Ended, attempt: int, hyper: Hyper, judged: Judged | None) -> None:
        self.attempted(ended, attempt, hyper)
        self.trials[ended.trial] = row

    def results(self) -> list[tuple[Any, ...]]:
        """Return what must not depend on workers, luck or kills."""
        names = ("trial", "state", "parameters", "seed", "score", "fold_scores", "weight_sha256")
        return [tuple(row[name] for name in names) for row in self.read().values()]


def started_row(trial: int, hyper: Hyper, seed: int = 0) -> Row:
    empty = dict.fromkeys(("score", "fold_scores", "weight_sha256", "reason"))
    return {
        **empty,
        "study": "study",
        "trial": trial,
        "state": "running",
        "parameters": json.dumps(hyper.to_dict()),
        "seed": seed,
    }


class StudyKilled(Exception):  # noqa: N818 - an event, not an error
    """Raised by `FakePool` where a real study would be killed."""


Script = Callable[[TrialTask, int], Outcome]
"""(task, attempt here from 1 on) -> how the process ends."""


class FakePool(Pool):
    """Trials that end as `script` says, one event at a time, in an order that `choose` makes up."""

    def __init__(
        self,
        script: Script = lambda task, attempt: "complete",
        choose: Callable[[int], int] = lambda n: 0,
        killed_after: int | None = None,
    ) -> None:
        self.script, self.choose, self.killed_after = script, choose, killed_after
        self.tasks: list[TrialTask] = []
        """Everything that was started, in order."""
        self.most_at_once = 0
        self.running: dict[int, tuple[TrialTask, list[float]]] = {}
        self.pruned: dict[int, str] = {}
        self.n_attempts: Counter[int] = Counter()

    def __len__(self) -> int:
        return len(self.running)

    def start(self, trial: int, task: TrialTask) -> None:
        assert trial not in self.running
        assert trial == task.model.trial
        self.tasks.append(task)
        self.n_attempts[trial] += 1
        self.running[trial] = (task, [])
        self.most_at_once = max(self.most_at_once, len(self))

    def go_on(self, trial: int, prune_reason: str | None) -> None:
        if prune_reason is not None:
            self.pruned[trial] = prune_reason

    def events(self, timeout_s: float | None = None) -> Iterator[FoldScored | Ended]:
        if self.killed_after is not None:
            if self.killed_after == 0:
                raise StudyKilled
            self.killed_after -= 1
        if not self.running:
            assert timeout_s is not None, "it would wait for ever"
            return
        trial = sorted(self.running)[self.choose(len(self.running))]
        task, scores = self.running[trial]
        outcome = self.script(task, self.n_attempts[trial])
        if trial in self.pruned:
            yield self._end(trial, "pruned", self.pruned.pop(trial))
        elif outcome != "complete":
            yield self._end(trial, outcome, f"it was {outcome}")
        elif len(scores) < len(task.folds):
            scores.append(fold_score(task, len(scores)))
            yield FoldScored(trial, len(scores) - 1, scores[-1])
        else:
            yield self._end(trial, "complete", "")

    def _end(self, trial: int, outcome: Outcome, reason: str) -> Ended:
        task, scores = self.running.pop(trial)
        result = trial_result(task, tuple(scores)) if outcome == "complete" else None
        return Ended(trial, outcome, result, reason, 1.0, None)


def fold_score(task: TrialTask, fold: int) -> float:
    """Return a score that hyper-parameters and seed decide; the best learning rate is 1e-3."""
    return -abs(math.log10(task.hyper.learning_rate) + 3) + (task.seed % 97) / 970 + fold / 10


def trial_result(task: TrialTask, scores: tuple[float, ...]) -> TrialResult:
    sha = f"weights of {task.seed} with {task.hyper.learning_rate}" if task.keeps_model else None
    day = DailyReturns(np.array(["2024-05-02"], dtype="datetime64[us]"), np.zeros(1))
    return TrialResult(
        score=sum(scores) / len(scores),
        fold_scores=scores,
        fold_measures=(some_measures(),) * len(scores),
        fold_daily=(day,) * len(scores),
        equity_sha256="e",
        weight_sha256=sha,
        duration_s=1.0,
    )


def some_progress(update: int = 1) -> Progress:
    return Progress(update, Figures(*(0.5 for _ in fields(Figures))), n_env_steps=300, duration_s=1.5)


def some_measures() -> Measures:
    return measure(np.zeros(24), np.zeros(24), Interval.H1)


def behave(task: TrialTask, report: Callable[[int, float], None], diary: Diary) -> TrialResult:
    """Do in a real process what `data_fingerprint` says."""
    wanted = task.data_fingerprint
    begin(diary, "fold-0").updates.append(some_progress())
    report(0, 0.5)
    begin(diary, "fold-1").updates.append(some_progress())
    if wanted == "memory":
        raise MemoryError("no room for an array")
    if wanted == "torch memory":
        raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")
    if wanted == "diverge":
        raise TrainingDiverged("the loss is not a number")
    if wanted == "mistake":
        raise IndexError("list index out of range")
    if wanted == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if wanted == "exit":
        os._exit(3)
    report(1, 1.5)
    return trial_result(task, (0.5, 1.5))
