"""Which bars a study of trees works on: those of the newest training study, so that both families can be compared."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import datetime
from typing import Final

from cappuccino.registry.identity import ModelId
from cappuccino.registry.version import code_version
from cappuccino.risk.rules import Rules
from cappuccino.search.study import StudyPlan, closed_if_opened, folds_of, plan_study, study_folder
from cappuccino.search.suggest import seed_of
from cappuccino.settings import Settings
from cappuccino.store.warehouse import Reader
from cappuccino.trees.hyper import TreeHyper
from cappuccino.trees.space import Space
from cappuccino.trees.trial import TreeTask

KIND: Final = "trees"


def plan_trees(reader: Reader, settings: Settings, now: datetime) -> StudyPlan:
    """Return the study of trees beside the newest training study that ended by `now`, as of its moment.

    Without one it is as of `now`. The same for the same warehouse and settings. Raises as `plan_study` does.
    """
    newest = reader.one(
        """
        select max(as_of_utc) from lab.studies
        where kind = 'training' and state in ('complete', 'converged') and as_of_utc <= $now
        """,
        now=now,
    )
    as_of: datetime = newest[0] if newest and newest[0] else now
    beside = plan_study(reader, settings, "training", as_of)
    name = f"{KIND}-{as_of:%Y%m%dT%H%M}-{_digest(beside, settings)}"
    return closed_if_opened(reader, replace(beside, study=name, kind=KIND, trial_cap=settings.trees.trials))


def space_of(plan: StudyPlan, settings: Settings) -> Space:
    """Return where the hyper-parameters of `plan` may lie."""
    return Space.of(settings.trees, plan.pairs[0].interval, settings.risk.position.max_weight_frac)


def task_of(plan: StudyPlan, settings: Settings, trial: int, hyper: TreeHyper) -> TreeTask:
    """Return what the process of `trial` needs."""
    (pair,) = plan.pairs
    return TreeTask(
        model=ModelId(plan.study, trial),
        arrays=study_folder(settings.warehouse, plan.study) / pair.interval.value,
        lookback=pair.lookback,
        hyper=hyper,
        rules=Rules.of(settings.risk, settings.costs),
        folds=folds_of(plan.data[pair.interval], pair, settings.training),
        seed=seed_of(settings.training.seed, trial),
        artifacts=settings.artifacts,
        data_fingerprint=plan.fingerprint,
        code_version=code_version(),
        is_simulated=settings.is_simulated,
    )


def _digest(beside: StudyPlan, settings: Settings) -> str:
    """Return what makes a study of trees another one: bars, folds, costs and code are in the name of the other."""
    shared = [beside.study, settings.trees.model_dump(mode="json", exclude={"trials"})]
    return hashlib.blake2b(json.dumps(shared, sort_keys=True).encode(), digest_size=3).hexdigest()
