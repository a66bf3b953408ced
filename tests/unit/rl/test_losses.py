"""Loss terms against hand-worked sums and torch.distributions."""

from __future__ import annotations

import math

import pytest
import torch

from cappuccino.rl.losses import (
    approximate_kl,
    clipped_surrogate_loss,
    gaussian_entropy,
    gaussian_log_prob,
    value_loss,
)


def test_density_and_entropy_agree_with_torch() -> None:
    mean, log_std = torch.tensor([[0.1, -0.4]]), torch.tensor([-1.0, 0.3])
    action = torch.tensor([[0.5, 2.0]])
    reference = torch.distributions.Independent(torch.distributions.Normal(mean, log_std.exp()), 1)
    torch.testing.assert_close(gaussian_log_prob(action, mean, log_std), reference.log_prob(action))
    torch.testing.assert_close(gaussian_entropy(log_std), reference.entropy()[0])


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss"),
    [
        (1.0, 2.0, -2.0),
        (1.5, 2.0, -2.4),  # a gain beyond the clip is not rewarded: 1.2 * 2
        (0.5, 2.0, -1.0),  # too little of a good action counts in full
        (1.5, -2.0, 3.0),  # too much of a bad action counts in full
        (0.5, -2.0, 1.6),  # avoiding beyond the clip is not rewarded: 0.8 * -2
    ],
)
def test_the_surrogate_is_clipped_on_the_hopeful_side_only(ratio: float, advantage: float, loss: float) -> None:
    result = clipped_surrogate_loss(torch.tensor([math.log(ratio)]), torch.tensor([advantage]), 0.2)
    assert result.item() == pytest.approx(loss, rel=1e-6)


def test_value_loss_is_half_the_mean_square() -> None:
    assert value_loss(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 2.0])).item() == 1.0


def test_broadcasting_by_accident_is_refused() -> None:
    with pytest.raises(ValueError, match="equal shapes"):
        value_loss(torch.zeros(4), torch.zeros(4, 1))
    with pytest.raises(ValueError, match="equal shapes"):
        clipped_surrogate_loss(torch.zeros(4), torch.zeros(4, 1), 0.2)


def test_divergence_is_zero_for_an_unchanged_policy_and_positive_otherwise() -> None:
    assert approximate_kl(torch.zeros(3)).item() == 0.0
    assert approximate_kl(torch.tensor([0.3, -0.3])).item() > 0.0
