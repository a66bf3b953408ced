"""What a trial comes to, whatever it trains: its folds judged one by one, the model's manifest, and the result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean
from typing import Protocol

import numpy as np

from cappuccino.features.scaler import Scaler
from cappuccino.market.panel import BarPanel, as_datetime
from cappuccino.portfolio.measures import Measures
from cappuccino.registry.identity import ModelId
from cappuccino.registry.manifest import Manifest, ManifestFeatures
from cappuccino.risk.rules import Rules
from cappuccino.search.arrays import StudyArrays
from cappuccino.search.diary import Diary, TrainingLog, begin
from cappuccino.search.folds import Fold
from cappuccino.validation.conduct import Decides, Watched, conduct_of
from cappuccino.validation.evaluate import EpisodeResult, run
from cappuccino.validation.joined import DailyReturns, equity_sha256, joined_daily, joined_measures


class Parameters(Protocol):
    """What the search chose for a model."""

    @property
    def learner(self) -> str: ...

    def to_dict(self) -> Mapping[str, bool | float | int | str]:
        """Return the fields by name, for a manifest or a row."""
        ...


class Task(Protocol):
    """What the tasks of all families say."""

    @property
    def model(self) -> ModelId: ...

    @property
    def lookback(self) -> int: ...

    @property
    def hyper(self) -> Parameters: ...

    @property
    def rules(self) -> Rules: ...

    @property
    def folds(self) -> tuple[Fold, ...]: ...

    @property
    def data_fingerprint(self) -> str: ...

    @property
    def code_version(self) -> str: ...

    @property
    def is_simulated(self) -> bool: ...


LearnFold = Callable[[Fold, TrainingLog], Decides]
"""(fold, log of its training) -> the policy that learned from the fold's training segments."""


@dataclass(frozen=True)
class FoldRecord:
    """What the policies of a trial did on the validation ranges of its folds, in the order of the folds."""

    measures: tuple[Measures, ...]
    episodes: tuple[Sequence[EpisodeResult], ...]
    """One episode for each segment of the fold's validation."""

    @property
    def score(self) -> float:
        """The trial's score: the mean of the folds'."""
        return fmean(measures.sharpe_annualized for measures in self.measures)

    @property
    def metrics(self) -> dict[str, float | None]:
        """The score, each fold's, and the mean of every measure over the folds."""
        folds = {f"fold_{k}_sharpe_annualized": measures.sharpe_annualized for k, measures in enumerate(self.measures)}
        means = {f"mean_{name}": fmean(getattr(m, name) for m in self.measures) for name in asdict(self.measures[0])}
        return {"score": self.score, **folds, **means}


@dataclass(frozen=True)
class TrialResult:
    """What a complete trial hands back."""

    score: float
    """Mean of the folds' scores."""
    fold_scores: tuple[float, ...]
    """Sharpe ratio, annualised from per-bar returns, on each fold's validation range."""
    fold_measures: tuple[Measures, ...]
    fold_daily: tuple[DailyReturns, ...] = field(compare=False)
    """Net returns by day on each fold; `equity_sha256` stands for them in comparisons."""
    equity_sha256: str
    """Hash of the equity curves of all folds."""
    weight_sha256: str | None
    """None when no model was kept."""
    duration_s: float


def judge_folds(
    task: Task, panel: BarPanel, learn: LearnFold, report: Callable[[int, float], None], diary: Diary
) -> FoldRecord:
    """Let a policy learn on each fold and trade its validation segments.

    `report(fold, score)` is called after each fold, from 0 on; what it raises ends the trial.
    """
    judged: list[Measures] = []
    played: list[list[EpisodeResult]] = []
    for number, fold in enumerate(task.folds):
        log = begin(diary, f"fold-{number}")
        played.append(_trade(learn(fold, log), panel, fold, task.rules, log))
        judged.append(joined_measures(panel, fold.validation, played[-1]))
        report(number, judged[-1].sharpe_annualized)
    return FoldRecord(tuple(judged), tuple(played))


def result_of(record: FoldRecord, weight_sha256: str | None, duration_s: float) -> TrialResult:
    """Return the result of a trial that is complete; `weight_sha256` is None when no model was kept."""
    return TrialResult(
        score=record.score,
        fold_scores=tuple(measures.sharpe_annualized for measures in record.measures),
        fold_measures=record.measures,
        fold_daily=tuple(joined_daily(episodes) for episodes in record.episodes),
        equity_sha256=equity_sha256([episode for episodes in record.episodes for episode in episodes]),
        weight_sha256=weight_sha256,
        duration_s=duration_s,
    )


def manifest_of(task: Task, arrays: StudyArrays, scaler: Scaler, record: FoldRecord) -> Manifest:
    """Return the manifest of a trial's final model, which learned from all of `arrays`."""
    panel, spec = arrays.panel, arrays.spec
    return Manifest(
        study=task.model.study,
        trial=task.model.trial,
        hyper=dict(task.hyper.to_dict()),
        features=ManifestFeatures(**spec.to_dict(), names=spec.names),
        scaler=scaler.to_dict(),
        symbols=panel.symbols,
        interval=panel.interval,
        lookback=task.lookback,
        data_start=as_datetime(panel.opened_at[0]),
        data_end=as_datetime(panel.closed_at[-1]),
        train_start=as_datetime(panel.opened_at[0]),
        train_end=as_datetime(panel.closed_at[-1]),
        data_fingerprint=task.data_fingerprint,
        code_version=task.code_version,
        learner=task.hyper.learner,
        simulated=task.is_simulated,
        metrics=record.metrics,
    )


def _trade(policy: Decides, panel: BarPanel, fold: Fold, rules: Rules, log: TrainingLog) -> list[EpisodeResult]:
    """Trade each of the fold's validation segments anew."""
    watched = Watched(policy)
    episodes = [run(watched, panel, *segment, rules) for segment in fold.validation]
    log.conduct = conduct_of(watched.actions, np.concatenate([episode.units[:, 0] for episode in episodes]))
    return episodes
