"""One trial: train and judge on every fold, then train on everything and store the model.

|<---------------- the study's bars ------------------->|   there are no later ones
fold 1: train ....|purge| validate |
fold 2: train ...............|purge| validate            |
model:  train ...........................................|
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from cappuccino.env.environment import Segments
from cappuccino.env.market import MarketArrays
from cappuccino.errors import DataError, TrainingDiverged
from cappuccino.features.scaler import Scaler
from cappuccino.market.panel import BarPanel
from cappuccino.registry import artifacts
from cappuccino.registry.identity import ModelId
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
from cappuccino.search.trial_result import FoldRecord, TrialResult, judge_folds, manifest_of, result_of

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

    def learn(fold: Fold, log: TrainingLog) -> Decider:
        trained, market, _ = _train(task, fold.train, log)
        return Decider(trained.policy, market, task.hyper)

    record = judge_folds(task, arrays.panel, learn, report, diary)
    weight_sha256 = _keep_model(task, arrays, record, begin(diary, FINAL)) if task.keeps_model else None
    shutil.rmtree(task.checkpoints, ignore_errors=True)
    return result_of(record, weight_sha256, time.monotonic() - started_s)


def _keep_model(task: TrialTask, arrays: StudyArrays, record: FoldRecord, log: TrainingLog) -> str:
    """Train on the whole training range, store the model and return the hash of its weights."""
    trained, _, scaler = _train(task, whole_range(arrays.panel), log)
    manifest = manifest_of(task, arrays, scaler, record)
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
