"""The search space."""

from __future__ import annotations

import optuna
import pytest

from cappuccino.errors import ConfigError
from cappuccino.rl.hyper import Hyper
from cappuccino.search.spaces import REWARD_PARTS, suggest


def random_trials(n: int) -> list[optuna.Trial]:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    return [study.ask() for _ in range(n)]


def test_every_suggestion_is_inside_the_specified_ranges() -> None:
    for hyper in (suggest(trial, 0.3) for trial in random_trials(30)):
        assert 64 <= hyper.width <= 512
        assert 1 <= hyper.depth <= 3
        assert 0 < hyper.discount < 1
        assert 0 < hyper.gae_lambda < 1
        assert 0 <= hyper.cash_reserve <= 0.3
        assert hyper.max_weight == 0.3


def test_everything_but_the_cap_is_searched() -> None:
    (trial,) = random_trials(1)
    suggest(trial, 0.3)
    assert set(trial.params) == set(Hyper().to_dict()) - {"max_weight", "max_kl"}


def test_a_learner_that_was_chosen_is_not_searched() -> None:
    (trial,) = random_trials(1)
    assert suggest(trial, 0.3, learners=("apg",)).learner == "apg"
    assert "learner" not in trial.params
    assert {suggest(trial, 0.3).learner for trial in random_trials(10)} == {"ppo", "apg"}


def test_a_fixed_trial_gives_back_its_numbers() -> None:
    (trial,) = random_trials(1)
    hyper = suggest(trial, 0.3)
    assert suggest(optuna.trial.FixedTrial(trial.params), 0.3) == hyper


def test_an_ablated_part_is_zero_and_not_searched() -> None:
    (trial,) = random_trials(1)
    hyper = suggest(trial, 0.3, ablated=tuple(REWARD_PARTS))
    assert [getattr(hyper, name) for name in REWARD_PARTS] == [0.0] * 5
    assert not set(trial.params) & set(REWARD_PARTS)
    with pytest.raises(ConfigError, match="luck"):
        suggest(trial, 0.3, ablated=("luck",))
