"""What a study is: which bars, which pairs of interval and lookback, how many trials. Decided once, then kept.

|<------------- training range ------------->|<-- arena -->|  now
  warm-up | folds: train ..., validate ...   | agents meet here, having seen none of it
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

import numpy as np

from cappuccino.errors import DataError, TrainingError
from cappuccino.features.spec import FeatureSpec
from cappuccino.features.table import load_features
from cappuccino.market.interval import Interval
from cappuccino.market.panel import BarPanel, FloatArray, as_datetime
from cappuccino.settings import Settings
from cappuccino.store.warehouse import Reader

Kind = Literal["timeframe", "training"]


@dataclass(frozen=True)
class Pair:
    """A bar interval and how many bars an agent sees."""

    interval: Interval
    lookback: int


@dataclass(frozen=True)
class StudyData:
    """Bars and features of one interval, cut at the study's moment."""

    panel: BarPanel
    features: FloatArray
    """(T, A, F), complete in every row."""
    train_stop: int
    """Position of the first bar that belongs to the arena."""


@dataclass(frozen=True)
class StudyPlan:
    """A study with everything that its trials share."""

    study: str
    kind: Kind
    as_of: datetime
    trial_cap: int
    pairs: tuple[Pair, ...]
    data: dict[Interval, StudyData]
    fingerprint: str
    """Hash of every bar and feature that the study may see."""

    def pair_of(self, trial: int) -> Pair:
        """Return the pair that `trial` works on: each in turn, so that all get the same number of trials."""
        return self.pairs[trial % len(self.pairs)]

    @property
    def span(self) -> tuple[datetime, datetime, datetime]:
        """(first bar, end of the training range, end of the data) over all intervals."""
        panels = [(one.panel, one.train_stop) for one in self.data.values()]
        return (
            as_datetime(min(panel.opened_at[0] for panel, _ in panels)),
            as_datetime(max(panel.closed_at[stop - 1] for panel, stop in panels)),
            as_datetime(max(panel.closed_at[-1] for panel, _ in panels)),
        )


def plan_study(reader: Reader, settings: Settings, kind: Kind, now: datetime) -> StudyPlan:
    """Return the study that is due at `now`: on all bars known then, the same for the same warehouse and settings.

    Raises DataError when there is too little data, or more of it is filled than `market.max_filled_frac`, and
    TrainingError when training has no timeframe to work on.
    """
    pairs = _pairs(reader, settings, kind)
    spec = FeatureSpec.from_settings(settings.features)
    data = {
        interval: _load(reader, settings, spec, interval, now)
        for interval in dict.fromkeys(pair.interval for pair in pairs)
    }
    fingerprint = _fingerprint(data)
    name = f"{kind}-{now:%Y%m%dT%H%M}-{_digest(fingerprint, _identity(settings, kind, pairs))}"
    cap = settings.timeframe.trials if kind == "timeframe" else settings.training.trials
    return StudyPlan(name, kind, now, cap, pairs, data, fingerprint)


def _pairs(reader: Reader, settings: Settings, kind: Kind) -> tuple[Pair, ...]:
    if kind == "timeframe":
        return tuple(Pair(i, n) for i in settings.timeframe.intervals for n in settings.timeframe.lookbacks)
    chosen = reader.one(
        "select interval, lookback from lab.timeframe_choices order by decided_at_utc desc, study desc limit 1"
    )
    if chosen is None:
        raise TrainingError("no timeframe has been chosen yet; materialise lab/timeframe_choices first")
    return (Pair(Interval(chosen[0]), int(chosen[1])),)


def _load(reader: Reader, settings: Settings, spec: FeatureSpec, interval: Interval, now: datetime) -> StudyData:
    panel, features = load_features(reader, settings.market.symbols, interval, spec, now)
    start = max(0, len(panel) - settings.market.history_days * interval.per_day)
    panel, features = panel.rows(start, len(panel)), features[start:]
    arena_from = np.datetime64((now - timedelta(days=settings.training.arena_days)).replace(tzinfo=None), "us")
    train_stop = int(np.searchsorted(panel.closed_at, arena_from, side="right"))
    if train_stop < 2:
        raise DataError(
            f"{len(panel)} {interval} bars with features leave nothing to train on before the last {settings.training.arena_days:g} days "
            "(training.arena_days); load a longer history"
        )
    require_few_filled(panel, settings.market.max_filled_frac, "the study's data")
    return StudyData(panel, features, train_stop)


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
        digest.update(np.ascontiguousarray(one.features).tobytes())
    return digest.hexdigest()


def _identity(settings: Settings, kind: Kind, pairs: tuple[Pair, ...]) -> str:
    """Return what makes a study another one; the cap, the workers and the stop rule may change as it goes on."""
    may_change = {
        "trials",
        "workers",
        "patience",
        "min_improvement",
        "retry_pause_s",
        "min_free_disk_mb",
        "checkpoint_every",
    }
    chosen = settings.model_dump(mode="json", include={"training", "timeframe", "costs", "risk", "features"})
    chosen["training"] = {key: value for key, value in chosen["training"].items() if key not in may_change}
    chosen["timeframe"].pop("trials")
    return json.dumps([kind, [(pair.interval, pair.lookback) for pair in pairs], chosen], sort_keys=True)


def _digest(*parts: str) -> str:
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=3).hexdigest()


def study_folder(warehouse: Path, study: str) -> Path:
    """Return where a running study keeps its arrays and checkpoints; it is removed when the study ends."""
    return warehouse / "scratch" / study
