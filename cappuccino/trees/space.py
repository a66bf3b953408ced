"""Which forest the next trial tries: a pure function of seed, number and the results that count by then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

import optuna
from optuna.samplers import TPESampler
from optuna.trial import BaseTrial, TrialState, create_trial

from cappuccino.market.interval import Interval
from cappuccino.search.suggest import seed_of
from cappuccino.settings import TreeSettings
from cappuccino.trees.hyper import Target, TreeHyper

LONGEST_LEAVES = 64


@dataclass(frozen=True)
class Space:
    """Where the hyper-parameters of a study may lie."""

    horizons: tuple[int, int]
    """Shortest and longest horizon, in bars."""
    max_weight: float

    @classmethod
    def of(cls, trees: TreeSettings, interval: Interval, max_weight: float) -> Space:
        """Return the space for bars of `interval`."""
        shortest, longest = (max(1, round(h * 3_600_000_000 / interval.us)) for h in trees.horizon_hours)
        return cls((shortest, longest), max_weight)

    def suggest(self, trial: BaseTrial) -> TreeHyper:
        """Return the hyper-parameters that `trial` chooses."""
        return TreeHyper(
            leaves=trial.suggest_int("leaves", 3, LONGEST_LEAVES, log=True),
            learning_rate=trial.suggest_float("learning_rate", 0.01, 0.2, log=True),
            rounds=trial.suggest_int("rounds", 20, 300, log=True),
            min_leaf_frac=trial.suggest_float("min_leaf_frac", 0.001, 0.05, log=True),
            feature_frac=trial.suggest_float("feature_frac", 0.3, 1.0),
            l2=trial.suggest_float("l2", 0.01, 100.0, log=True),
            horizon_bars=trial.suggest_int("horizon_bars", *self.horizons, log=True),
            target=_target(trial),
            sees_market=trial.suggest_categorical("sees_market", (False, True)),
            knows_symbol=trial.suggest_categorical("knows_symbol", (False, True)),
            entry_costs=trial.suggest_float("entry_costs", 0.0, 2.0),
            full_at=trial.suggest_float("full_at", 0.5, 4.0, log=True),
            max_weight=self.max_weight,
            no_trade_band=trial.suggest_float("no_trade_band", 0.0, 0.2),
        )


@dataclass(frozen=True)
class Told:
    """How one trial ended, as the sampler hears of it."""

    trial: int
    hyper: TreeHyper
    score: float | None
    """None when it failed."""


def choose(space: Space, seed: int, trial: int, startup_trials: int, known: Sequence[Told]) -> TreeHyper:
    """Return what `trial` tries, given the results `known`, in the order of their numbers; random at first (TPE)."""
    sampler = TPESampler(seed=seed_of(seed, trial), n_startup_trials=startup_trials, multivariate=True)
    study = _told(space, known, sampler)
    return space.suggest(study.ask())


def hyper_importances(space: Space, known: Sequence[Told]) -> dict[str, float]:
    """Return the share of the score's variance that each hyper-parameter explains (PED-ANOVA, Watanabe et al. 2023).

    Empty with fewer than ten completed trials or equal scores, of which nothing can be said.
    """
    scores = [told.score for told in known if told.score is not None]
    if len(scores) < 10 or len(set(scores)) == 1:
        return {}
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    return dict(optuna.importance.get_param_importances(_told(space, known, None), evaluator=evaluator))


def _told(space: Space, known: Sequence[Told], sampler: TPESampler | None) -> optuna.Study:
    study = optuna.create_study(direction="maximize", sampler=sampler)
    asked = optuna.create_study().ask()
    space.suggest(asked)
    for told in known:
        if told.score is not None:
            values: dict[str, Any] = told.hyper.to_dict()
            parameters = {name: values[name] for name in asked.distributions}
            study.add_trial(
                create_trial(
                    state=TrialState.COMPLETE,
                    value=told.score,
                    params=parameters,
                    distributions=dict(asked.distributions),
                )
            )
    return study


def _target(trial: BaseTrial) -> Target:
    targets = get_args(Target)
    chosen: Target = targets[targets.index(trial.suggest_categorical("target", targets))]
    return chosen
