"""One trial: train and judge on every fold, then train on everything and store the model.

|<------------------ [0, train_stop) ------------------>|   later bars are never read
fold 1: train ....|purge| validate |
fold 2: train ...............|purge| validate            |
model:  train ...........................................|
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
import torch

from cappuccino.env.market import MarketArrays
from cappuccino.errors import DataError, TrainingDiverged
from cappuccino.features.scaler import Scaler
from cappuccino.market.panel import as_datetime
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
from cappuccino.search.folds import Fold, walk_forward
from cappuccino.search.scaled import scaled_market
from cappuccino.validation.baselines import benchmark_returns
from cappuccino.validation.conduct import Watched, conduct_of
from cappuccino.validation.evaluate import run

LARGEST_WEIGHT = 1000.0
"""Weights begin below 1 and move by about the learning rate a step."""


@dataclass(frozen=True)
class TrialTask:
    """Everything that a trial's process needs; plain values and paths."""

    model: ModelId
    arrays: Path
    """Folder of `search.arrays`."""
    train_stop: int
    """First bar that the trial may not look at."""
    lookback: int
    hyper: Hyper
    budget: Budget
    compute: Compute
    rules: Rules
    """What agents are judged under."""
    training_rules: Rules
    """What they learn under."""
    n_folds: int
    holding_bars: int
    """Bars that a position may reach over the end of training; purged together with the lookback."""
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
    first = _first_complete(arrays, task.train_stop)
    folds = walk_forward(task.train_stop, first, task.n_folds, task.lookback + task.holding_bars)
    diary = [] if diary is None else diary
    judged: list[Measures] = []
    for number, fold in enumerate(folds):
        judged.append(_judge(task, arrays, fold, begin(diary, f"fold-{number}")))
        report(number, judged[-1].sharpe_annualized)
    whole = (first, task.train_stop)
    weight_sha256 = _keep_model(task, arrays, whole, judged, begin(diary, FINAL)) if task.keeps_model else None
    shutil.rmtree(task.checkpoints, ignore_errors=True)
    return TrialResult(
        score=_score(judged),
        fold_scores=tuple(measures.sharpe_annualized for measures in judged),
        fold_measures=tuple(judged),
        weight_sha256=weight_sha256,
        duration_s=time.monotonic() - started_s,
    )


def _keep_model(
    task: TrialTask, arrays: StudyArrays, whole: tuple[int, int], judged: Sequence[Measures], log: TrainingLog
) -> str:
    """Train on the whole training range, store the model and return the hash of its weights."""
    trained, _, scaler = _train(task, whole, log)
    manifest = _manifest(task, arrays, whole, scaler, _metrics(judged))
    folder = artifacts.folder_of(task.artifacts, task.model)
    # An artifact that is there is of an attempt that died before its trial was recorded.
    saved = artifacts.save(folder, manifest, trained.policy.state_dict(), replace_unused=True)
    return saved.weight_sha256


def _first_complete(arrays: StudyArrays, stop: int) -> int:
    """Return the first row with all features; raises DataError when a later one lacks some."""
    if not 0 < stop <= len(arrays.panel):
        raise DataError(f"training may use bars up to {stop}, but there are {len(arrays.panel)}; plan again")
    complete = np.asarray(np.isfinite(arrays.features[:stop]).all(axis=(1, 2)))
    first = int(complete.argmax()) if complete.any() else stop
    if not complete[first:].all():
        gap = first + int((~complete[first:]).argmax())
        raise DataError(
            f"bar {arrays.panel.opened_at[gap]} UTC lacks features that bars before it have; build the features again"
        )
    return first


def _judge(task: TrialTask, arrays: StudyArrays, fold: Fold, log: TrainingLog) -> Measures:
    """Train on the fold's past and return the measures of what followed, beside buy-and-hold."""
    trained, market, _ = _train(task, fold.train, log)
    watched = Watched(Decider(trained.policy, market, task.hyper))
    episode = run(watched, arrays.panel, *fold.validation, task.rules)
    log.conduct = conduct_of(watched.actions, episode.units[:, 0])
    return episode.measures(0, benchmark_returns(arrays.panel, *fold.validation))


def _train(
    task: TrialTask, train_range: tuple[int, int], log: TrainingLog
) -> tuple[TrainedPolicy, MarketArrays, Scaler]:
    """Train from scratch on `train_range`; scales, too, know that range only."""
    market, scaler = scaled_market(task.arrays, train_range, task.train_stop)
    checkpoint, on_progress = task.checkpoints / f"{log.training}.pt", log.updates.append
    trained = train(
        market,
        train_range,
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
    train_range: tuple[int, int],
    scaler: Scaler,
    metrics: dict[str, float | None],
) -> Manifest:
    panel, spec = arrays.panel, arrays.spec
    first, stop = train_range
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
        train_start=as_datetime(panel.opened_at[first]),
        train_end=as_datetime(panel.closed_at[stop - 1]),
        data_fingerprint=task.data_fingerprint,
        code_version=task.code_version,
        learner=task.hyper.learner,
        simulated=task.is_simulated,
        metrics=metrics,
    )
