"""What a study is: which bars, which pairs of interval and lookback, how many trials. Decided once, then kept.

|<------------- training range ------------->|  arena  |  holdout  | now
  warm-up | folds: train ..., validate ...   |
                                             `- later bars are not even loaded: `validation.seal`
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

import numpy as np

from cappuccino.errors import DataError, StaleData, TrainingError
from cappuccino.features.spec import FeatureSpec
from cappuccino.features.table import load_features
from cappuccino.market.fingerprint import bars_fingerprint
from cappuccino.market.interval import Interval
from cappuccino.market.panel import BarPanel, FloatArray, as_datetime, as_datetime64
from cappuccino.registry.version import code_version
from cappuccino.search.folds import Fold, Segment, folds
from cappuccino.settings import Settings, TrainingSettings
from cappuccino.store.warehouse import Reader
from cappuccino.validation.seal import Seal

Kind = Literal["timeframe", "training", "trees"]
MAX_HOLDING_DAYS = 14
MAX_HOLDING_FRAC = 0.05
"""Of the training range: a purge for positions that are hardly ever closed would leave nothing to train on."""


@dataclass(frozen=True)
class Pair:
    """A bar interval and how many bars an agent sees."""

    interval: Interval
    lookback: int
    held_bars: int = 0
    """How long agents of the timeframe search held positions, in the mean; 0 before there are any."""

    def holding_bars(self, n_bars: int) -> int:
        """Return how far a position may reach over the end of training, in a range of `n_bars`.

        As long as was measured, at least a day, at most a fortnight and a twentieth of the range.
        """
        most = min(MAX_HOLDING_DAYS * self.interval.per_day, int(MAX_HOLDING_FRAC * n_bars))
        return max(self.interval.per_day, min(self.held_bars, most))


@dataclass(frozen=True)
class StudyData:
    """Bars and features of one interval, up to the end of training: a study knows no later ones."""

    panel: BarPanel
    features: FloatArray
    """(T, A, F), complete in every row."""

    def __len__(self) -> int:
        return len(self.panel)


@dataclass(frozen=True)
class StudyPlan:
    """A study with everything that its trials share."""

    study: str
    kind: Kind
    as_of: datetime
    seal: Seal
    trial_cap: int
    pairs: tuple[Pair, ...]
    data: dict[Interval, StudyData]
    fingerprint: str
    """Hash of every bar and feature that the study may see."""
    bars_from: datetime
    """Open of the first bar that the data depend on: the warm-up of the first bar's features."""
    bars_fingerprint: str
    """Fingerprint of the stored base bars from there to the end of the training range."""
    known_until: datetime
    """Close of the newest bar that there was: training, arena and holdout all lie before it."""

    def pair_of(self, trial: int) -> Pair:
        """Return the pair that `trial` works on: each in turn, so that all get the same number of trials."""
        return self.pairs[trial % len(self.pairs)]

    @property
    def span(self) -> tuple[datetime, datetime]:
        """(first bar, end) of the training range over all intervals."""
        panels = [one.panel for one in self.data.values()]
        return (
            as_datetime(min(panel.opened_at[0] for panel in panels)),
            as_datetime(max(panel.closed_at[-1] for panel in panels)),
        )


def due_study(reader: Reader, settings: Settings, kind: Kind, now: datetime) -> StudyPlan:
    """Return the study to work on: the one that was left in the middle, or a new one as of `now`.

    One goes on, under its own moment, while its data are the same and not stale. Raises as `plan_study` does.
    """
    left = reader.one(
        """
        select study, as_of_utc from lab.studies
        where kind = $kind and state = 'running' and as_of_utc >= $oldest and as_of_utc <= $now
        order by as_of_utc desc, study limit 1
        """,
        kind=kind,
        oldest=now - timedelta(days=settings.training.max_data_age_days),
        now=now,
    )
    if left is not None:
        plan = plan_study(reader, settings, kind, left[1])
        if plan.study == left[0]:
            return plan
    return plan_study(reader, settings, kind, now)


def closed_if_opened(reader: Reader, plan: StudyPlan) -> StudyPlan:
    """Return the plan, under a cap that allows no further trial when its holdout has been opened.

    A trial that is tried after somebody has looked would be chosen by what he saw.
    """
    found = reader.one(
        """
        select count(*) from lab.trials semi join lab.holdouts using (study) where study = $study
        """,
        study=plan.study,
    )
    return replace(plan, trial_cap=min(plan.trial_cap, found[0])) if found and found[0] else plan


def plan_study(reader: Reader, settings: Settings, kind: Kind, now: datetime) -> StudyPlan:
    """Return the study of all bars known at `now`; the same for the same warehouse and settings.

    Raises DataError when there is too little data, or more of a fold is filled than `market.max_filled_frac`, and
    TrainingError when training has no timeframe to work on.
    """
    pairs = _pairs(reader, settings, kind, now)
    spec = FeatureSpec.from_settings(settings.features)
    seal = Seal.at(settings, now)
    data = {
        interval: _load(reader, settings, spec, interval, seal)
        for interval in dict.fromkeys(pair.interval for pair in pairs)
    }
    for pair in pairs:
        _require_good_folds(data[pair.interval], pair, settings)
    fingerprint = _fingerprint(data)
    name = f"{kind}-{now:%Y%m%dT%H%M}-{_digest(fingerprint, _identity(settings, kind, pairs))}"
    cap = settings.timeframe.trials if kind == "timeframe" else settings.training.trials
    bars_from = min(_first_bar_used(one, spec) for one in data.values())
    end = as_datetime(max(one.panel.closed_at[-1] for one in data.values()))
    bars = bars_fingerprint(reader, settings.market.symbols, bars_from, end)
    return StudyPlan(name, kind, now, seal, cap, pairs, data, fingerprint, bars_from, bars, _known_until(reader, now))


def folds_of(data: StudyData, pair: Pair, training: TrainingSettings) -> tuple[Fold, ...]:
    """Return the folds that every trial of `pair` uses; raises DataError when there are too few bars."""
    return folds(len(data), pair.lookback, pair.holding_bars(len(data)), training)


def _pairs(reader: Reader, settings: Settings, kind: Kind, now: datetime) -> tuple[Pair, ...]:
    if kind == "timeframe":
        return tuple(Pair(i, n) for i in settings.timeframe.intervals for n in settings.timeframe.lookbacks)
    chosen = reader.one(
        """
        select interval, lookback, holding_bars from lab.timeframe_choices where decided_at_utc <= $now
        order by decided_at_utc desc, study desc limit 1
        """,
        now=now,
    )
    if chosen is None:
        raise TrainingError("no timeframe has been chosen yet; materialise lab/timeframe_choices first")
    return (Pair(Interval(chosen[0]), int(chosen[1]), int(chosen[2] or 0)),)


def _known_until(reader: Reader, now: datetime) -> datetime:
    found = reader.one("select max(closed_at_utc) from market.bars_all where closed_at_utc <= $now", now=now)
    assert found is not None
    return found[0] or now


def _load(reader: Reader, settings: Settings, spec: FeatureSpec, interval: Interval, seal: Seal) -> StudyData:
    until = seal.training_until
    panel, features = load_features(reader, settings.market.symbols, interval, spec, until)
    market = settings.market
    since = market.start or seal.now - timedelta(days=market.history_days)
    start = int(np.searchsorted(panel.opened_at, as_datetime64(since)))
    panel, features = panel.rows(start, len(panel)), features[start:]
    if len(panel) and until - as_datetime(panel.closed_at[-1]) > market.max_bar_age + interval.duration:
        raise StaleData(
            f"the {interval} features end at {panel.closed_at[-1]} UTC, too long before the end of training at "
            f"{until:%F %R}; materialise market/bars_all and features/features again"
        )
    if not np.isfinite(features).all():
        raise DataError(f"some {interval} bars lack features that others have; materialise features/features again")
    return StudyData(panel, features)


def _first_bar_used(data: StudyData, spec: FeatureSpec) -> datetime:
    interval = data.panel.interval
    return as_datetime(data.panel.opened_at[0]) - spec.warmup_bars(interval) * interval.duration


def _require_good_folds(data: StudyData, pair: Pair, settings: Settings) -> None:
    """Raise DataError when `pair` has too few bars for its folds, or a fold too many that are filled."""
    training = settings.training
    try:
        planned = folds_of(data, pair, training)
    except DataError as error:
        raise DataError(
            f"{pair.interval} x {pair.lookback}, before the last {training.arena_days + training.holdout_days:g} days "
            f"(training.arena_days and training.holdout_days): {error}"
        ) from None
    ranges: dict[str, tuple[Segment, ...]] = {"the training range": ((0, len(data)),)}
    for number, fold in enumerate(planned):
        ranges |= {f"fold {number}, training": fold.train, f"fold {number}, validation": fold.validation}
    for what, segments in ranges.items():
        for segment in segments:
            require_few_filled(data.panel.rows(*segment), settings.market.max_filled_frac, what)


def require_few_filled(panel: BarPanel, max_filled_frac: float, what: str) -> None:
    """Raise DataError naming the symbol when more of its bars are filled than allowed."""
    shares = panel.is_filled.mean(axis=0)
    worst = int(np.argmax(shares))
    if shares[worst] > max_filled_frac:
        raise DataError(
            f"{what}: {shares[worst]:.2%} of the {panel.interval} bars of {panel.symbols[worst]} are filled, more than "
            f"{max_filled_frac:.2%} (market.max_filled_frac); sync the missing days, choose a range without the hole, "
            "or leave the symbol out"
        )


def _fingerprint(data: dict[Interval, StudyData]) -> str:
    digest = hashlib.blake2b(digest_size=12)
    for one in data.values():
        digest.update(one.panel.fingerprint().encode())
        digest.update(np.ascontiguousarray(one.features).data)
    return digest.hexdigest()


def _identity(settings: Settings, kind: Kind, pairs: tuple[Pair, ...]) -> str:
    """Return what makes a study another one, the code too; cap, workers and stop rule may change as it goes on."""
    may_change = {
        "trials",
        "workers",
        "executor",
        "ray_address",
        "patience",
        "min_improvement",
        "retry_pause_s",
        "min_free_disk_mb",
        "worker_memory_mb",
        "max_data_age_days",
        "checkpoint_every",
    }
    chosen = settings.model_dump(mode="json", include={"training", "timeframe", "costs", "risk", "features"})
    chosen["training"] = {key: value for key, value in chosen["training"].items() if key not in may_change}
    chosen["timeframe"].pop("trials")
    shared = [kind, code_version(), [(pair.interval, pair.lookback, pair.held_bars) for pair in pairs], chosen]
    return json.dumps(shared, sort_keys=True)


def _digest(*parts: str) -> str:
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=3).hexdigest()


def study_folder(warehouse: Path, study: str) -> Path:
    """Return where a running study keeps its arrays and checkpoints; it is removed when the study ends."""
    return warehouse / "scratch" / study
