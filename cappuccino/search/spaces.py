"""The search space of a study: where each hyper-parameter may lie."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, get_args

from optuna.trial import BaseTrial

from cappuccino.errors import ConfigError
from cappuccino.rl.hyper import Hyper, Learner
from cappuccino.rl.view import View

WIDTHS = (64, 96, 128, 192, 256, 384, 512)
BATCH_SIZES = (1024, 2048, 4096, 8192)
REWARD_PARTS = MappingProxyType(
    {
        "cash_reserve": 0.3,
        "concentration_penalty": 1e-3,
        "turnover_penalty": 3e-3,
        "time_decay": 3e-4,
        "variance_penalty": 5.0,
    }
)
"""Largest weight of each part of the reward that can be ablated: it is then 0 and not searched."""


def suggest(
    trial: BaseTrial,
    max_weight: float,
    ablated: Collection[str] = (),
    max_width: int = max(WIDTHS),
    learners: Sequence[Learner] = ("ppo", "apg"),
) -> Hyper:
    """Return the hyper-parameters that `trial` chooses; equal trials give equal answers.

    `max_weight` is the largest share of the portfolio in one symbol, `max_width` the widest network; of one learner
    there is nothing to choose. Raises ConfigError when `ablated` names something that is no part of the reward.
    """
    unknown = sorted(set(ablated) - set(REWARD_PARTS))
    if unknown:
        raise ConfigError(f"reward has no part {', '.join(unknown)}; parts are {', '.join(REWARD_PARTS)}")
    parts: dict[str, Any] = {
        name: 0.0 if name in ablated else trial.suggest_float(name, 0.0, most) for name, most in REWARD_PARTS.items()
    }
    chosen = Hyper(
        learner=_learner(trial, learners),
        view=trial.suggest_categorical("view", get_args(View)),
        width=trial.suggest_categorical("width", [width for width in WIDTHS if width <= max_width]),
        depth=trial.suggest_int("depth", 1, 3),
        account_depth=trial.suggest_int("account_depth", 0, 2),
        learning_rate=trial.suggest_float("learning_rate", 1e-4, 3e-3, log=True),
        max_grad_norm=trial.suggest_float("max_grad_norm", 0.2, 2.0, log=True),
        batch_size=trial.suggest_categorical("batch_size", BATCH_SIZES),
        epochs=trial.suggest_int("epochs", 2, 8),
        gae_lambda=trial.suggest_float("gae_lambda", 0.8, 0.99),
        entropy_weight=trial.suggest_float("entropy_weight", 1e-5, 1e-2, log=True),
        discount=trial.suggest_float("discount", 0.9, 0.995),
        reward_scale=trial.suggest_float("reward_scale", 30.0, 300.0, log=True),
        max_weight=max_weight,
        no_trade_band=trial.suggest_float("no_trade_band", 0.0, 0.1),
    )
    return replace(chosen, **parts)


def _learner(trial: BaseTrial, learners: Sequence[Learner]) -> Learner:
    if len(learners) == 1:
        return learners[0]
    return learners[learners.index(trial.suggest_categorical("learner", learners))]
