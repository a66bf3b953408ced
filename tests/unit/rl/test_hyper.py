"""Hyper-parameters survive manifests and rows."""

from __future__ import annotations

import pytest

from cappuccino.errors import ArtifactError
from cappuccino.rl.hyper import Hyper


def test_a_round_trip_through_numbers_of_another_type_restores_the_types() -> None:
    hyper = Hyper(width=96, learning_rate=0.00123)
    stored = {
        name: value if isinstance(value, str) else float(value) for name, value in hyper.to_dict().items()
    }  # as SQL gives them
    restored = Hyper.from_dict(stored)
    assert restored == hyper
    assert type(restored.width) is int


def test_fields_of_another_version_are_named() -> None:
    stored = Hyper().to_dict()
    del stored["depth"]
    with pytest.raises(ArtifactError, match=r"depth.*breadth"):
        Hyper.from_dict({**stored, "breadth": 3})


def test_models_from_before_there_was_a_choice_did_what_there_was() -> None:
    new = ("learner", "view", "account_depth", "max_kl", "variance_penalty")
    old = {name: value for name, value in Hyper().to_dict().items() if name not in new}
    assert Hyper.from_dict(old) == Hyper(learner="ppo", view="every_bar", account_depth=0)
