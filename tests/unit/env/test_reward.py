"""The reward's parts by hand, and each can be switched off."""

from __future__ import annotations

import math
from dataclasses import fields

import pytest
import torch
from torch import Tensor

from cappuccino.env.reward import RewardParts, RewardWeights, reward_parts


def column(*numbers: float) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def parts(weights: RewardWeights) -> RewardParts:
    """One account: value 1,000 -> 1,010, 200 traded, 50 % and 30 % invested."""
    return reward_parts(column(1000), column(1010), column(200), column(0.5, 0.3)[None], weights)


def test_every_part_by_hand() -> None:
    weights = RewardWeights(scale=100, cash_reserve=0.25, concentration=0.001, turnover=0.002, time_decay=0.0003)
    found = parts(weights)
    assert found.gain.item() == pytest.approx(100 * math.log(1.01))
    assert found.concentration.item() == pytest.approx(-100 * 0.001 * (0.25 + 0.09))
    assert found.cash_shortfall.item() == pytest.approx(-100 * 0.01 * 0.05)
    assert found.turnover.item() == pytest.approx(-100 * 0.002 * 0.2)
    assert found.time_decay.item() == pytest.approx(-100 * 0.0003 * 0.8)
    assert found.total.item() == pytest.approx(sum(getattr(found, f.name).item() for f in fields(found)))


def test_with_all_parts_off_only_the_gain_is_left() -> None:
    found = parts(RewardWeights(scale=1))
    assert found.total.item() == found.gain.item() == pytest.approx(math.log(1.01))


def test_enough_cash_costs_nothing() -> None:
    assert parts(RewardWeights(scale=1, cash_reserve=0.15)).cash_shortfall.item() == 0
