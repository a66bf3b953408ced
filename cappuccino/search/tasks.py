"""What one trial of a study is asked to do, and the rows of what it and the baselines achieved on its folds."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import polars as pl

from cappuccino.env.environment import Segments
from cappuccino.features.spec import FeatureSpec
from cappuccino.market.interval import Interval
from cappuccino.market.panel import PRICE_COLUMNS, as_datetime
from cappuccino.registry.identity import ModelId
from cappuccino.registry.version import code_version
from cappuccino.risk.rules import Rules
from cappuccino.rl.compute import choose
from cappuccino.rl.hyper import Hyper
from cappuccino.rl.learning import Budget
from cappuccino.rl.runner import env_steps_of_update
from cappuccino.search.arrays import StudyArrays, write_arrays
from cappuccino.search.book import Judged, daily_frame, evaluation_frame, evaluation_row
from cappuccino.search.disk import require_disk
from cappuccino.search.folds import Fold
from cappuccino.search.scaled import scaled_market
from cappuccino.search.study import Pair, StudyPlan, folds_of, study_folder
from cappuccino.search.suggest import seed_of
from cappuccino.search.trial import TrialTask, whole_range
from cappuccino.search.trial_result import TrialResult
from cappuccino.settings import Settings
from cappuccino.validation.baselines import BASELINES, run_baselines
from cappuccino.validation.joined import joined_daily, joined_measures


def write_study_arrays(plan: StudyPlan, settings: Settings) -> None:
    """Store the bars and features of every interval where the trials look for them, scaled as each training sees them.

    Raises TrainingError when there is no room for them.
    """
    spec = FeatureSpec.from_settings(settings.features)
    folder = study_folder(settings.warehouse, plan.study)
    if not folder.is_dir():
        require_disk(settings.warehouse, settings.training.min_free_disk_mb + arrays_mb(plan, settings))
    for interval, data in plan.data.items():
        write_arrays(folder / interval.value, StudyArrays(data.panel, data.features, spec))
    for interval, segments in _trainings(plan, settings):
        scaled_market(folder / interval.value, segments)


def arrays_mb(plan: StudyPlan, settings: Settings) -> float:
    """Return the size of what `write_study_arrays` stores."""
    raw = sum(
        one.features.nbytes + sum(getattr(one.panel, name).nbytes for name in PRICE_COLUMNS)
        for one in plan.data.values()
    )
    scaled = sum(
        plan.data[interval].features.size * np.dtype(np.float32).itemsize for interval, _ in _trainings(plan, settings)
    )
    return float(raw + scaled) / 2**20


def _trainings(plan: StudyPlan, settings: Settings) -> list[tuple[Interval, Segments]]:
    """Return the distinct segments that trials train on, each with its interval."""
    found: dict[tuple[Interval, Segments], None] = {}
    for pair in plan.pairs:
        data = plan.data[pair.interval]
        found |= dict.fromkeys((pair.interval, fold.train) for fold in folds_of(data, pair, settings.training))
        if plan.kind != "timeframe":
            found[pair.interval, whole_range(data.panel)] = None
    return list(found)


def task_of(plan: StudyPlan, settings: Settings, trial: int, hyper: Hyper) -> TrialTask:
    """Return what the process of `trial` needs."""
    training, pair = settings.training, plan.pair_of(trial)
    rules = Rules.of(settings.risk, settings.costs)
    is_cheap = plan.kind == "timeframe"
    folder = study_folder(settings.warehouse, plan.study)
    return TrialTask(
        model=ModelId(plan.study, trial),
        arrays=folder / pair.interval.value,
        lookback=pair.lookback,
        hyper=hyper,
        budget=Budget(
            updates=settings.timeframe.updates if is_cheap else training.updates,
            n_groups=training.n_groups,
            n_accounts=training.n_accounts,
            horizon=training.horizon,
            checkpoint_every=training.checkpoint_every,
        ),
        compute=choose(training.device, training.precision),
        rules=rules,
        training_rules=rules.for_training() if training.under_rules else rules.without_protection(),
        folds=folds_of(plan.data[pair.interval], pair, training),
        seed=trial_seed(plan, settings, trial),
        checkpoints=folder / "checkpoints" / str(trial),
        artifacts=settings.artifacts,
        data_fingerprint=plan.fingerprint,
        code_version=code_version(),
        is_simulated=settings.is_simulated,
        keeps_model=not is_cheap,
    )


def trial_seed(plan: StudyPlan, settings: Settings, trial: int) -> int:
    """Return a trial's seed; trials of one round of a timeframe search share it, so that only the pairs differ."""
    return seed_of(settings.training.seed, trial // len(plan.pairs) if plan.kind == "timeframe" else trial)


def env_steps(task: TrialTask) -> int:
    """Return the environment steps of a complete trial."""
    budget = task.budget
    n_trainings = len(task.folds) + int(task.keeps_model)
    return n_trainings * budget.updates * env_steps_of_update(budget)


def agent_rows(plan: StudyPlan, settings: Settings, trial: int, result: TrialResult) -> Judged:
    """Return what a trial came to on its folds."""
    pair = plan.pair_of(trial)
    folds = folds_of(plan.data[pair.interval], pair, settings.training)
    numbered = list(enumerate(zip(folds, result.fold_measures, result.fold_daily, strict=True)))
    return Judged(
        evaluation_frame(
            [
                evaluation_row(
                    plan.study, trial, "agent", "validation", k, pair.interval, _span(plan, pair, fold), measures
                )
                for k, (fold, measures, _) in numbered
            ]
        ),
        pl.concat([daily_frame(plan.study, trial, "agent", "validation", k, daily) for k, (_, _, daily) in numbered]),
    )


def baseline_rows(plan: StudyPlan, settings: Settings) -> Judged:
    """Return what every baseline came to on the folds of a training study."""
    pair = plan.pairs[0]
    data = plan.data[pair.interval]
    rules = Rules.of(settings.risk, settings.costs)
    rows, days = [], []
    for k, fold in enumerate(folds_of(data, pair, settings.training)):
        seed = settings.training.seed
        episodes = [run_baselines(data.panel, *segment, rules, seed=seed) for segment in fold.validation]
        span = _span(plan, pair, fold)
        for n, name in enumerate(BASELINES):
            measures = joined_measures(data.panel, fold.validation, episodes, n)
            rows.append(evaluation_row(plan.study, -1, name, "validation", k, pair.interval, span, measures))
            days.append(daily_frame(plan.study, -1, name, "validation", k, joined_daily(episodes, n)))
    return Judged(evaluation_frame(rows), pl.concat(days))


def _span(plan: StudyPlan, pair: Pair, fold: Fold) -> tuple[datetime, datetime]:
    panel, segments = plan.data[pair.interval].panel, fold.validation
    return as_datetime(panel.opened_at[segments[0][0]]), as_datetime(panel.closed_at[segments[-1][1] - 1])
