"""One trial of a study of trees: grow and judge on every fold, then grow on everything and store the model.

The folds, scales, engine and measures are those of the networks' trials, see `search.trial_result`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from cappuccino.env.environment import Segments
from cappuccino.env.market import MarketArrays
from cappuccino.features.scaler import Scaler
from cappuccino.registry import artifacts
from cappuccino.registry.identity import ModelId
from cappuccino.registry.manifest import Manifest
from cappuccino.risk.rules import Rules
from cappuccino.search.arrays import StudyArrays, read_arrays
from cappuccino.search.diary import FINAL, Diary, TrainingLog, begin
from cappuccino.search.folds import Fold
from cappuccino.search.scaled import scaled_market
from cappuccino.search.trial import whole_range
from cappuccino.search.trial_result import FoldRecord, TrialResult, judge_folds, manifest_of, result_of
from cappuccino.trees.agent import TreeDecider
from cappuccino.trees.forest import Forest, grow
from cappuccino.trees.hyper import TreeHyper


@dataclass(frozen=True)
class TreeTask:
    """Everything that a trial's process needs; plain values and paths."""

    model: ModelId
    arrays: Path
    """Folder of `search.arrays`."""
    lookback: int
    hyper: TreeHyper
    rules: Rules
    """What candidates are judged under; their costs decide what is worth an entry."""
    folds: tuple[Fold, ...]
    seed: int
    artifacts: Path
    """Root of the model folders."""
    data_fingerprint: str
    code_version: str
    is_simulated: bool


def run_tree_trial(task: TreeTask, report: Callable[[int, float], None], diary: Diary) -> TrialResult:
    """Run a trial in this process, on one thread; as `search.trial.run_trial` does.

    Called again with the same task it gives the same result. Raises DataError when there are too few bars or features
    have gaps.
    """
    started_s = time.monotonic()
    torch.set_num_threads(1)
    arrays = read_arrays(task.arrays)

    def learn(fold: Fold, log: TrainingLog) -> TreeDecider:
        forest, market, _ = _grow(task, arrays, fold.train)
        return TreeDecider(forest, market)

    record = judge_folds(task, arrays.panel, learn, report, diary)
    begin(diary, FINAL)
    saved = _keep_model(task, arrays, record)
    return result_of(record, saved.weight_sha256, time.monotonic() - started_s)


def _keep_model(task: TreeTask, arrays: StudyArrays, record: FoldRecord) -> Manifest:
    """Grow on the whole training range and store the model."""
    forest, _, scaler = _grow(task, arrays, whole_range(arrays.panel))
    manifest = manifest_of(task, arrays, scaler, record)
    folder = artifacts.folder_of(task.artifacts, task.model)
    # An artifact that is there is of an attempt that died before its trial was recorded.
    return artifacts.save_document(folder, manifest, forest.to_json(), replace_unused=True)


def _grow(task: TreeTask, arrays: StudyArrays, segments: Segments) -> tuple[Forest, MarketArrays, Scaler]:
    """Grow on `segments`; scales, too, know those only."""
    market, scaler = scaled_market(task.arrays, segments)
    forest = grow(market, arrays.spec.names, segments, task.lookback, task.hyper, task.rules.costs, task.seed)
    return forest, market, scaler
