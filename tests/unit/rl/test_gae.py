"""Advantages: hand-worked sums, and a slow obvious version that must agree."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cappuccino.rl.gae import advantages, without_common_luck


def slow_advantages(
    reward: Tensor,
    value: Tensor,
    next_value: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    discount: float,
    gae_lambda: float,
) -> Tensor:
    """Add up the definition's discounted sum of deltas, one account and one start at a time."""
    n_steps, n_envs = reward.shape
    result = torch.zeros_like(reward)
    for n in range(n_envs):
        for start in range(n_steps):
            total, factor = 0.0, 1.0
            for t in range(start, n_steps):
                bootstrap = 0.0 if terminated[t, n] else discount * float(next_value[t, n])
                total += factor * (float(reward[t, n]) + bootstrap - float(value[t, n]))
                if terminated[t, n] or truncated[t, n]:
                    break
                factor *= discount * gae_lambda
            result[start, n] = total
    return result


def column(*numbers: float) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)[:, None]


def flags(*values: int) -> Tensor:
    return torch.tensor(values, dtype=torch.bool)[:, None]


def test_two_steps_by_hand() -> None:
    # delta1 = 2 + 0.5*4 - 3 = 1;  delta0 = 1 + 0.5*3 - 2 = 0.5;  A0 = 0.5 + 0.5*0.5*1 = 0.75
    result = advantages(column(1, 2), column(2, 3), column(3, 4), flags(0, 0), flags(0, 0), 0.5, 0.5)
    assert result[:, 0].tolist() == [0.75, 1.0]


def test_ruin_has_no_future_but_a_cut_has_one() -> None:
    # Both stop the sum at the first step; only the truncated one counts what would have followed.
    common = (column(1, 2), column(2, 3), column(3, 4))
    ruined = advantages(*common, flags(1, 0), flags(0, 0), 0.5, 0.5)
    cut = advantages(*common, flags(0, 0), flags(1, 0), 0.5, 0.5)
    assert ruined[0].item() == 1 - 2
    assert cut[0].item() == 1 + 0.5 * 3 - 2


@given(st.integers(1, 12), st.integers(1, 4), st.floats(0, 1), st.floats(0, 1), st.integers(0, 10_000))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_it_agrees_with_the_slow_version(
    n_steps: int, n_envs: int, discount: float, gae_lambda: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    reward, value, next_value = torch.randn(3, n_steps, n_envs, dtype=torch.float64, generator=generator)
    terminated, truncated = torch.rand(2, n_steps, n_envs, generator=generator) < 0.2
    arguments = (reward, value, next_value, terminated, truncated, discount, gae_lambda)
    torch.testing.assert_close(advantages(*arguments), slow_advantages(*arguments))


def test_unequal_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="equal"):
        advantages(column(1, 2), column(1), column(1, 2), flags(0, 0), flags(0, 0), 0.9, 0.9)


def test_common_luck_is_what_the_others_on_the_bar_earned() -> None:
    # Two places with three accounts each.
    advantage = torch.tensor([[1.0, 2.0, 6.0, 10.0, 10.0, 10.0]])
    assert without_common_luck(advantage, 3).tolist() == [[-3.0, -1.5, 4.5, 0.0, 0.0, 0.0]]


def test_an_account_alone_keeps_its_advantage() -> None:
    advantage = torch.tensor([[1.0, 2.0]])
    assert without_common_luck(advantage, 1) is advantage
