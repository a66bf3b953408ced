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

from cappuccino.env.market import MarketArrays, market_arrays
from cappuccino.errors import DataError
from cappuccino.features.scaler import Scaler, fit
from cappuccino.market.panel import as_datetime
from cappuccino.portfolio.measures import Measures
from cappuccino.registry import artifacts
from cappuccino.registry.identity import ModelId
from cappuccino.registry.manifest import Manifest, ManifestFeatures
from cappuccino.risk.rules import Rules
from cappuccino.rl.agent import Decider
from cappuccino.rl.hyper import Hyper
from cappuccino.rl.runner import Budget, TrainedPolicy, train
from cappuccino.search.arrays import StudyArrays, read_arrays
from cappuccino.search.folds import Fold, walk_forward
from cappuccino.validation.baselines import benchmark_returns
from cappuccino.validation.evaluate import run

LEARNER = "ppo"


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
    rules: Rules
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


def run_trial(task: TrialTask, report: Callable[[int, float], None]) -> TrialResult:
    """Run a trial in this process, on one thread.

    `report(fold, score)` is called after each fold, from 0 on; what it raises ends the trial (a pruned one).
    Killed and called again with the same task, it goes on from its checkpoints and gives the same result;
    they are removed when it completes. Raises DataError when there are too few bars or features have gaps,
    TrainingError when training diverges.
    """
    started_s = time.monotonic()
    torch.set_num_threads(1)
    arrays = read_arrays(task.arrays)
    first = _first_complete(arrays, task.train_stop)
    folds = walk_forward(task.train_stop, first, task.n_folds, task.lookback + task.holding_bars)
    judged: list[Measures] = []
    for number, fold in enumerate(folds):
        judged.append(_judge(task, arrays, number, fold))
        report(number, judged[-1].sharpe_annualized)
    weight_sha256 = _keep_model(task, arrays, (first, task.train_stop), judged) if task.keeps_model else None
    shutil.rmtree(task.checkpoints, ignore_errors=True)
    return TrialResult(
        score=_score(judged),
        fold_scores=tuple(measures.sharpe_annualized for measures in judged),
        fold_measures=tuple(judged),
        weight_sha256=weight_sha256,
        duration_s=time.monotonic() - started_s,
    )


def _keep_model(task: TrialTask, arrays: StudyArrays, whole: tuple[int, int], judged: Sequence[Measures]) -> str:
    """Train on the whole training range, store the model and return the hash of its weights."""
    trained, _, scaler = _train(task, arrays, whole, "final")
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


def _judge(task: TrialTask, arrays: StudyArrays, number: int, fold: Fold) -> Measures:
    """Train on the fold's past and return the measures of what followed, beside buy-and-hold."""
    trained, market, _ = _train(task, arrays, fold.train, f"fold-{number}")
    decider = Decider(trained.policy, market, task.hyper)
    episode = run(decider, arrays.panel, *fold.validation, task.rules)
    return episode.measures(0, benchmark_returns(arrays.panel, *fold.validation))


def _train(
    task: TrialTask, arrays: StudyArrays, train_range: tuple[int, int], name: str
) -> tuple[TrainedPolicy, MarketArrays, Scaler]:
    """Train from scratch on `train_range`; scales, too, know that range only."""
    scaler = fit(arrays.features[slice(*train_range)], arrays.spec.names, arrays.panel.symbols)
    known = arrays.panel.rows(0, task.train_stop)
    market = market_arrays(known, scaler.transform(arrays.features[: task.train_stop]))
    checkpoint = task.checkpoints / f"{name}.pt"
    trained = train(market, train_range, task.lookback, task.hyper, task.budget, task.rules, task.seed, checkpoint)
    return trained, market, scaler


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
        learner=LEARNER,
        simulated=task.is_simulated,
        metrics=metrics,
    )
