"""One trial: train and judge on every fold, then train on everything and store the model.

|<---------------- the study's bars ------------------->|   there are no later ones
fold 1: train ....|purge| validate |
fold 2: train ...............|purge| validate            |
model:  train ...........................................|
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean

import numpy as np
import torch

from cappuccino.env.environment import Segments
from cappuccino.env.market import MarketArrays
from cappuccino.errors import DataError, TrainingDiverged
from cappuccino.features.scaler import Scaler
from cappuccino.market.panel import BarPanel, as_datetime
from cappuccino.portfolio.measures import Measures
from cappuccino.registry import artifacts
from cappuccino.registry.identity import ModelId
from cappuccino.registry.manifest import Manifest, ManifestFeatures
from cappuccino.risk.rules import Rules
from cappuccino.rl.agent import Decider
from cappuccino.rl.compute import Compute
from cappuccino.rl.hyper import Hyper
from cappuccino.rl.learning import Budget
from cappuccino.rl.runner import TrainedPolicy, train
from cappuccino.search.arrays import StudyArrays, read_arrays
from cappuccino.search.diary import FINAL, Diary, TrainingLog, begin
from cappuccino.search.folds import Fold
from cappuccino.search.scaled import scaled_market
from cappuccino.validation.conduct import Watched, conduct_of
from cappuccino.validation.evaluate import EpisodeResult, run
from cappuccino.validation.joined import DailyReturns, equity_sha256, joined_daily, joined_measures

LARGEST_WEIGHT = 1000.0
"""Weights begin below 1 and move by about the learning rate a step."""


@dataclass(frozen=True)
class TrialTask:
    """Everything that a trial's process needs; plain values and paths."""

    model: ModelId
    arrays: Path
    """Folder of `search.arrays`."""
    lookback: int
    hyper: Hyper
    budget: Budget
    compute: Compute
    rules: Rules
    """What agents are judged under."""
    training_rules: Rules
    """What they learn under."""
    folds: tuple[Fold, ...]
    """Segments of the arrays that each fold trains and judges on."""
    seed: int
    checkpoints: Path
    """Folder of this trial's checkpoints."""
    artifacts: Path
    """Root of the model folders."""
    data_fingerprint: str
    code_version: str
    is_simulated: bool
    keeps_model: bool = True
    """False in a timeframe search: judged on its folds, but no model is trained on everything."""


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


def run_trial(task: TrialTask, report: Callable[[int, float], None], diary: Diary | None = None) -> TrialResult:
    """Run a trial in this process, on one thread.

    `report(fold, score)` is called after each fold, from 0 on; what it raises ends the trial (a pruned one).
    `diary` takes the trial's trainings as they go on, so that the caller has them however it ends.
    Killed and called again with the same task, it goes on from its checkpoints and gives the same result;
    they are removed when it completes. Raises DataError when there are too few bars or features have gaps,
    TrainingError when training diverges.
    """
    started_s = time.monotonic()
    torch.set_num_threads(1)
    arrays = read_arrays(task.arrays)
    _require_complete(arrays)
    diary = [] if diary is None else diary
    judged: list[Measures] = []
    played: list[list[EpisodeResult]] = []
    for number, fold in enumerate(task.folds):
        played.append(_judge(task, arrays, fold, begin(diary, f"fold-{number}")))
        judged.append(joined_measures(arrays.panel, fold.validation, played[-1]))
        report(number, judged[-1].sharpe_annualized)
    weight_sha256 = _keep_model(task, arrays, judged, begin(diary, FINAL)) if task.keeps_model else None
    shutil.rmtree(task.checkpoints, ignore_errors=True)
    return TrialResult(
        score=_score(judged),
        fold_scores=tuple(measures.sharpe_annualized for measures in judged),
        fold_measures=tuple(judged),
        fold_daily=tuple(joined_daily(episodes) for episodes in played),
        equity_sha256=equity_sha256([episode for episodes in played for episode in episodes]),
        weight_sha256=weight_sha256,
        duration_s=time.monotonic() - started_s,
    )


def _keep_model(task: TrialTask, arrays: StudyArrays, judged: Sequence[Measures], log: TrainingLog) -> str:
    """Train on the whole training range, store the model and return the hash of its weights."""
    trained, _, scaler = _train(task, whole_range(arrays.panel), log)
    manifest = _manifest(task, arrays, scaler, _metrics(judged))
    folder = artifacts.folder_of(task.artifacts, task.model)
    # An artifact that is there is of an attempt that died before its trial was recorded.
    saved = artifacts.save(folder, manifest, trained.policy.state_dict(), replace_unused=True)
    return saved.weight_sha256


def whole_range(panel: BarPanel) -> Segments:
    """Return the range that a final model trains on."""
    return ((0, len(panel)),)


def _require_complete(arrays: StudyArrays) -> None:
    """Raise DataError when a bar lacks a feature."""
    complete = np.asarray(np.isfinite(arrays.features).all(axis=(1, 2)))
    if not complete.all():
        gap = arrays.panel.opened_at[int((~complete).argmax())]
        raise DataError(f"bar {gap} UTC lacks features; build the features again")


def _judge(task: TrialTask, arrays: StudyArrays, fold: Fold, log: TrainingLog) -> list[EpisodeResult]:
    """Train on the fold's training segments and trade each of its validation segments anew."""
    trained, market, _ = _train(task, fold.train, log)
    watched = Watched(Decider(trained.policy, market, task.hyper))
    episodes = [run(watched, arrays.panel, *segment, task.rules) for segment in fold.validation]
    log.conduct = conduct_of(watched.actions, np.concatenate([episode.units[:, 0] for episode in episodes]))
    return episodes


def _train(task: TrialTask, segments: Segments, log: TrainingLog) -> tuple[TrainedPolicy, MarketArrays, Scaler]:
    """Train from scratch on `segments`; scales, too, know those only."""
    market, scaler = scaled_market(task.arrays, segments)
    checkpoint, on_progress = task.checkpoints / f"{log.training}.pt", log.updates.append
    trained = train(
        market,
        segments,
        task.lookback,
        task.hyper,
        task.budget,
        task.training_rules,
        task.seed,
        checkpoint,
        on_progress,
        task.compute,
    )
    # Those that a checkpoint brought back, too.
    log.updates[:] = trained.progress
    _require_sane(trained.policy, task.hyper)
    return trained, market, scaler


def _require_sane(policy: torch.nn.Module, hyper: Hyper) -> None:
    """Raise TrainingDiverged when a weight is beyond all reason: the last step's harm shows in no loss any more."""
    largest = float(torch.stack([weights.detach().abs().max() for weights in policy.parameters()]).max())
    if not largest <= LARGEST_WEIGHT:  # NaN is not
        raise TrainingDiverged(f"the policy ran away: its largest weight is {largest:.3g} with {hyper}")


def _score(judged: Sequence[Measures]) -> float:
    return fmean(measures.sharpe_annualized for measures in judged)


def _metrics(judged: Sequence[Measures]) -> dict[str, float | None]:
    """Return the score, each fold's, and the mean of every measure over the folds."""
    folds = {f"fold_{k}_sharpe_annualized": measures.sharpe_annualized for k, measures in enumerate(judged)}
    means = {f"mean_{name}": fmean(getattr(m, name) for m in judged) for name in asdict(judged[0])}
    return {"score": _score(judged), **folds, **means}


def _manifest(
    task: TrialTask,
    arrays: StudyArrays,
    scaler: Scaler,
    metrics: dict[str, float | None],
) -> Manifest:
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
        metrics=metrics,
    )
