"""One trial of a study of trees: grow and judge on every fold, then grow on everything and store the model.

The folds, scales, engine and measures are those of the networks' trials, see `search.trial`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
import torch

from cappuccino.env.environment import Segments
from cappuccino.env.market import MarketArrays
from cappuccino.features.scaler import Scaler
from cappuccino.market.panel import as_datetime
from cappuccino.portfolio.measures import Measures
from cappuccino.registry import artifacts
from cappuccino.registry.identity import ModelId
from cappuccino.registry.manifest import Manifest, ManifestFeatures
from cappuccino.risk.rules import Rules
from cappuccino.search.arrays import StudyArrays, read_arrays
from cappuccino.search.diary import FINAL, Diary, TrainingLog, begin
from cappuccino.search.folds import Fold
from cappuccino.search.scaled import scaled_market
from cappuccino.search.trial import TrialResult, whole_range
from cappuccino.trees.agent import TreeDecider
from cappuccino.trees.forest import Forest, grow
from cappuccino.trees.hyper import LEARNER, TreeHyper
from cappuccino.validation.conduct import Watched, conduct_of
from cappuccino.validation.evaluate import EpisodeResult, run
from cappuccino.validation.joined import equity_sha256, joined_daily, joined_measures


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
    judged: list[Measures] = []
    played: list[list[EpisodeResult]] = []
    for number, fold in enumerate(task.folds):
        played.append(_judge(task, arrays, fold, begin(diary, f"fold-{number}")))
        judged.append(joined_measures(arrays.panel, fold.validation, played[-1]))
        report(number, judged[-1].sharpe_annualized)
    begin(diary, FINAL)
    saved = _keep_model(task, arrays, judged)
    return TrialResult(
        score=_score(judged),
        fold_scores=tuple(measures.sharpe_annualized for measures in judged),
        fold_measures=tuple(judged),
        fold_daily=tuple(joined_daily(episodes) for episodes in played),
        equity_sha256=equity_sha256([episode for episodes in played for episode in episodes]),
        weight_sha256=saved.weight_sha256,
        duration_s=time.monotonic() - started_s,
    )


def _judge(task: TreeTask, arrays: StudyArrays, fold: Fold, log: TrainingLog) -> list[EpisodeResult]:
    """Grow on the fold's training segments and trade each of its validation segments anew."""
    forest, market, _ = _grow(task, arrays, fold.train)
    watched = Watched(TreeDecider(forest, market))
    episodes = [run(watched, arrays.panel, *segment, task.rules) for segment in fold.validation]
    log.conduct = conduct_of(watched.actions, np.concatenate([episode.units[:, 0] for episode in episodes]))
    return episodes


def _keep_model(task: TreeTask, arrays: StudyArrays, judged: Sequence[Measures]) -> Manifest:
    """Grow on the whole training range and store the model."""
    forest, _, scaler = _grow(task, arrays, whole_range(arrays.panel))
    manifest = _manifest(task, arrays, scaler, _metrics(judged))
    folder = artifacts.folder_of(task.artifacts, task.model)
    # An artifact that is there is of an attempt that died before its trial was recorded.
    return artifacts.save_document(folder, manifest, forest.to_json(), replace_unused=True)


def _grow(task: TreeTask, arrays: StudyArrays, segments: Segments) -> tuple[Forest, MarketArrays, Scaler]:
    """Grow on `segments`; scales, too, know those only."""
    market, scaler = scaled_market(task.arrays, segments)
    forest = grow(market, arrays.spec.names, segments, task.lookback, task.hyper, task.rules.costs, task.seed)
    return forest, market, scaler


def _score(judged: Sequence[Measures]) -> float:
    return fmean(measures.sharpe_annualized for measures in judged)


def _metrics(judged: Sequence[Measures]) -> dict[str, float | None]:
    """Return the score, each fold's, and the mean of every measure over the folds."""
    folds = {f"fold_{k}_sharpe_annualized": measures.sharpe_annualized for k, measures in enumerate(judged)}
    means = {f"mean_{name}": fmean(getattr(m, name) for m in judged) for name in asdict(judged[0])}
    return {"score": _score(judged), **folds, **means}


def _manifest(task: TreeTask, arrays: StudyArrays, scaler: Scaler, metrics: dict[str, float | None]) -> Manifest:
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
        learner=LEARNER,
        simulated=task.is_simulated,
        metrics=metrics,
    )
