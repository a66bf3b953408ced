"""Where a model's knowledge comes from: its scales from the training bars alone, its folds with a gap between."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime

import numpy as np

from cappuccino.features.compute import compute
from cappuccino.features.scaler import Scaler, fit
from cappuccino.features.spec import FeatureSpec
from cappuccino.market.panel import BarPanel, as_datetime64
from cappuccino.registry.manifest import Manifest
from cappuccino.validation.audit_report import AuditCheck

SCALE_TOLERANCE = 1e-9
"""In standard deviations: far more than another order of summing makes, far less than one bar more."""

Range = tuple[datetime, datetime]
"""[first bar, end) in UTC."""


@dataclass(frozen=True)
class FoldEdges:
    """One fold of the study that a model comes from."""

    fold: str
    train: tuple[Range, ...]
    validation: tuple[Range, ...]
    purge_bars: int
    """Bars that training keeps away from a validation range that follows."""
    embargo_bars: int = 0
    """The same from one that went before."""


@dataclass(frozen=True)
class Training:
    """What is on record of how a model was trained."""

    folds: tuple[FoldEdges, ...] = ()
    unseen_from: datetime | None = None
    """Start of the arena's bars, or the holdout's: of those that no training may have seen."""
    bars_have_changed: bool = False
    """Whether its training bars were corrected since: then nothing fitted on them can be found again."""
    weight_sha256: str | None = None
    """Hash of the weights as the lab recorded it."""


def check_scales(manifest: Manifest, panel: BarPanel, training: Training) -> AuditCheck:
    """Compare the model's scales with those of its training bars, fitted again.

    Skipped for a family without scales, and when those bars were corrected since.
    """
    if training.bars_have_changed:
        return AuditCheck("scales", None, 0.0, "its training bars were corrected since (ops.data_seen)")
    if "mean" not in manifest.scaler:
        return AuditCheck("scales", None, 0.0, f"a model of {manifest.learner} has no scales")
    start, stop = (
        int(np.searchsorted(panel.opened_at, as_datetime64(at))) for at in (manifest.train_start, manifest.train_end)
    )
    spec = FeatureSpec.from_dict(asdict(manifest.features))
    values = compute(panel.rows(0, stop), spec)[start:]
    lacks_first = not len(panel) or panel.opened_at[0] > as_datetime64(manifest.train_start)
    if lacks_first or not len(values) or not np.isfinite(values).all():
        detail = f"its training bars from {manifest.train_start:%F %R} UTC are not all there; sync them again"
        return AuditCheck("scales", False, float("inf"), detail)
    found, stored = fit(values, spec.names, panel.symbols), Scaler.from_dict(manifest.scaler)
    distance = np.maximum(np.abs(stored.mean - found.mean) / found.std, np.abs(stored.std / found.std - 1.0))
    worst = float(distance.max())
    a, f = np.unravel_index(int(distance.argmax()), distance.shape)
    detail = f"largest difference from {len(values):,} training bars, {spec.names[f]} of {panel.symbols[a]}, in std"
    return AuditCheck("scales", worst <= SCALE_TOLERANCE, worst, detail)


def check_folds(manifest: Manifest, training: Training) -> AuditCheck:
    """Look for training bars within reach of a validation bar, and for a purge that is shorter than the lookback."""
    if not training.folds:
        return AuditCheck("fold_edges", None, 0.0, "no folds of its study are on record")
    problems = [problem for fold in training.folds for problem in _problems(fold, manifest)]
    detail = "; ".join(problems[:3]) or f"{len(training.folds)} folds, the purge covers the lookback"
    return AuditCheck("fold_edges", not problems, float(len(problems)), detail)


def check_train_end(manifest: Manifest, training: Training) -> AuditCheck:
    """Compare the end of training with the first bar that it may not have seen."""
    if training.unseen_from is None:
        return AuditCheck("train_end", None, 0.0, "nothing says which bars were kept from it")
    seen_bars = (manifest.train_end - training.unseen_from) / manifest.interval.duration
    detail = f"trained until {manifest.train_end:%F %R}, kept from bars from {training.unseen_from:%F %R} UTC on"
    return AuditCheck("train_end", seen_bars <= 0, max(seen_bars, 0.0), detail)


def check_record(manifest: Manifest, training: Training) -> AuditCheck:
    """Compare the hash in the manifest with the one that the lab recorded: another folder under the name is another."""
    if training.weight_sha256 is None:
        return AuditCheck("recorded_weights", None, 0.0, "the lab has no hash of its weights")
    same = manifest.weight_sha256 == training.weight_sha256
    detail = f"manifest {manifest.weight_sha256[:12]}, lab.trials {training.weight_sha256[:12]}"
    return AuditCheck("recorded_weights", same, float(not same), detail)


def origin_checks(manifest: Manifest, panel: BarPanel, training: Training) -> tuple[AuditCheck, ...]:
    """Return everything that asks where a model comes from."""
    return (
        check_scales(manifest, panel, training),
        check_folds(manifest, training),
        check_train_end(manifest, training),
        check_record(manifest, training),
    )


def _problems(fold: FoldEdges, manifest: Manifest) -> Iterator[str]:
    if fold.purge_bars < manifest.lookback:
        yield f"fold {fold.fold}: a purge of {fold.purge_bars} bars is shorter than the lookback, {manifest.lookback}"
    follows = any(train[0] >= validation[1] for train in fold.train for validation in fold.validation)
    if follows and fold.embargo_bars < manifest.lookback:
        yield f"fold {fold.fold}: an embargo of {fold.embargo_bars} bars is shorter than the lookback"
    for train in fold.train:
        for validation in fold.validation:
            yield from _too_close(fold, train, validation, manifest)


def _too_close(fold: FoldEdges, train: Range, validation: Range, manifest: Manifest) -> Iterator[str]:
    before, after = (validation[0] - train[1], train[0] - validation[1])
    bar = manifest.interval.duration
    gap, needed = (before / bar, fold.purge_bars) if before >= after else (after / bar, fold.embargo_bars)
    if gap < needed:
        what = "overlap" if gap < 0 else f"{gap:g} bars lie between"
        yield f"fold {fold.fold}: {what} training and validation, {needed} are needed"
