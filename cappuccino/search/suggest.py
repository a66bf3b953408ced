"""What the next trial tries: a pure function of seed, number and the results that count by then.

A trial's choice rests on the trials that lie at least `LAG` numbers before it, told in order. So it is the same however
many workers there are, however fast they are, and however often the study was killed and went on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import Any, get_args

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import RandomSampler, TPESampler
from optuna.trial import BaseTrial, TrialState, create_trial

from cappuccino.rl.hyper import Hyper, Learner
from cappuccino.search.spaces import suggest
from cappuccino.settings import Settings

LAG = 8
"""Largest number of trials at the same time: a trial is chosen once the LAG-th before it has ended."""

optuna.logging.set_verbosity(optuna.logging.WARNING)


Space = Callable[[BaseTrial], Hyper]


def space_of(settings: Settings) -> Space:
    """Return the search space under these settings."""
    training = settings.training
    max_weight = settings.risk.position.max_weight_frac
    learners = get_args(Learner) if training.learner == "search" else (training.learner,)
    return partial(
        suggest, max_weight=max_weight, ablated=training.ablate, max_width=training.max_width, learners=learners
    )


@dataclass(frozen=True)
class Told:
    """How one trial ended, as the sampler and the rules hear of it."""

    trial: int
    hyper: Hyper
    score: float | None
    """None when it was pruned or failed."""
    fold_scores: tuple[float, ...] = ()
    """As far as a pruned trial came; none of a failed one, of which nothing can be learned."""

    @property
    def is_failed(self) -> bool:
        return self.score is None and not self.fold_scores


def seed_of(seed: int, trial: int) -> int:
    """Return the seed of everything random in one trial."""
    return int(np.random.SeedSequence([seed, trial]).generate_state(1)[0])


def random_hyper(space: Space, seed: int, round_number: int) -> Hyper:
    """Return hyper-parameters at random; the same for all pairs of one round of a timeframe search."""
    study = optuna.create_study(direction="maximize", sampler=RandomSampler(seed=seed_of(seed, round_number)))
    return space(study.ask())


class Sampler:
    """TPE over the hyper-parameters of one study, kept in memory."""

    def __init__(self, space: Space, seed: int, startup_trials: int) -> None:
        self.space, self.seed, self.startup_trials = space, seed, startup_trials
        self._study = optuna.create_study(direction="maximize")
        self._distributions = _distributions(space)

    def tell(self, told: Told) -> None:
        """Add one result; call in the order of trial numbers."""
        parameters = _parameters(told.hyper, self._distributions)
        trial = partial(create_trial, params=parameters, distributions=dict(self._distributions))
        if told.score is not None:
            self._study.add_trial(trial(state=TrialState.COMPLETE, value=told.score))
        elif told.fold_scores:
            step, mean = len(told.fold_scores), fmean(told.fold_scores)
            self._study.add_trial(trial(state=TrialState.PRUNED, intermediate_values={step: mean}))

    def ask(self, trial: int) -> Hyper:
        """Return what `trial` should try, given what was told."""
        self._study.sampler = TPESampler(
            seed=seed_of(self.seed, trial), n_startup_trials=self.startup_trials, multivariate=True
        )
        asked = self._study.ask()
        hyper = self.space(asked)
        # The asked trial must not stay: it would count as running for ever.
        self._study.tell(asked, state=TrialState.FAIL)
        return hyper


def importances(space: Space, results: list[Told]) -> Mapping[str, float]:
    """Return the share of the score's variance that each hyper-parameter explains (PED-ANOVA, Watanabe et al. 2023).

    Empty with fewer than ten completed trials or equal scores, of which nothing can be said.
    """
    complete = [told for told in results if told.score is not None]
    if len(complete) < 10 or len({told.score for told in complete}) == 1:
        return {}
    sampler = Sampler(space, seed=0, startup_trials=1)
    for told in complete:
        sampler.tell(told)
    return optuna.importance.get_param_importances(
        sampler._study, evaluator=optuna.importance.PedAnovaImportanceEvaluator()
    )


def _distributions(space: Space) -> Mapping[str, BaseDistribution]:
    trial = optuna.create_study().ask()
    space(trial)
    return trial.distributions


def _parameters(hyper: Hyper, distributions: Mapping[str, BaseDistribution]) -> dict[str, Any]:
    values = hyper.to_dict()
    return {name: values[name] for name in distributions}
