"""What one trial of a study is asked to do, and the rows of what it and the baselines achieved on its folds."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import polars as pl

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
from cappuccino.search.book import evaluation_frame, evaluation_row
from cappuccino.search.disk import require_disk
from cappuccino.search.folds import Fold
from cappuccino.search.scaled import scaled_market
from cappuccino.search.study import Pair, StudyPlan, folds_of, study_folder
from cappuccino.search.suggest import seed_of
from cappuccino.search.trial import TrialResult, TrialTask
from cappuccino.settings import Settings
from cappuccino.validation.baselines import BASELINES, benchmark_returns, run_baselines


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
    for interval, train_range in _trainings(plan, settings):
        scaled_market(folder / interval.value, train_range, plan.data[interval].train_stop)


def arrays_mb(plan: StudyPlan, settings: Settings) -> float:
    """Return the size of what `write_study_arrays` stores."""
    raw = sum(
        one.features.nbytes + sum(getattr(one.panel, name).nbytes for name in PRICE_COLUMNS)
        for one in plan.data.values()
    )
    scaled = sum(
        plan.data[interval].features[: plan.data[interval].train_stop].size * np.dtype(np.float32).itemsize
        for interval, _ in _trainings(plan, settings)
    )
    return float(raw + scaled) / 2**20


def _trainings(plan: StudyPlan, settings: Settings) -> list[tuple[Interval, tuple[int, int]]]:
    """Return the distinct ranges that trials train on, each with its interval."""
    found: dict[tuple[Interval, tuple[int, int]], None] = {}
    for pair in plan.pairs:
        data = plan.data[pair.interval]
        folds = folds_of(data, pair, settings.training.n_folds)
        found |= dict.fromkeys((pair.interval, fold.train) for fold in folds)
        if plan.kind == "training":
            found[pair.interval, (0, data.train_stop)] = None
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
        train_stop=plan.data[pair.interval].train_stop,
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
        training_rules=rules if training.under_rules else rules.without_protection(),
        n_folds=training.n_folds,
        holding_bars=pair.holding_bars,
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
    n_trainings = task.n_folds + int(task.keeps_model)
    return n_trainings * budget.updates * env_steps_of_update(budget)


def agent_rows(plan: StudyPlan, trial: int, result: TrialResult) -> pl.DataFrame:
    """Return the measures of a trial on its folds, as rows of lab.evaluations."""
    pair = plan.pair_of(trial)
    folds = folds_of(plan.data[pair.interval], pair, len(result.fold_measures))
    return evaluation_frame(
        [
            evaluation_row(
                plan.study, trial, "agent", "validation", number, pair.interval, _span(plan, pair, fold), measures
            )
            for number, (fold, measures) in enumerate(zip(folds, result.fold_measures, strict=True))
        ]
    )


def baseline_rows(plan: StudyPlan, settings: Settings) -> pl.DataFrame:
    """Return the measures of every baseline on the folds of a training study, as rows of lab.evaluations."""
    pair = plan.pairs[0]
    data = plan.data[pair.interval]
    rules = Rules.of(settings.risk, settings.costs)
    rows = []
    for number, fold in enumerate(folds_of(data, pair, settings.training.n_folds)):
        episode = run_baselines(data.panel, *fold.validation, rules, seed=settings.training.seed)
        benchmark = benchmark_returns(data.panel, *fold.validation)
        span = _span(plan, pair, fold)
        rows += [
            evaluation_row(
                plan.study, -1, name, "validation", number, pair.interval, span, episode.measures(n, benchmark)
            )
            for n, name in enumerate(BASELINES)
        ]
    return evaluation_frame(rows)


def _span(plan: StudyPlan, pair: Pair, fold: Fold) -> tuple[datetime, datetime]:
    panel = plan.data[pair.interval].panel
    return as_datetime(panel.opened_at[fold.validation[0]]), as_datetime(panel.closed_at[fold.validation[1] - 1])
