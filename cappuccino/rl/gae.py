"""Generalised advantage estimation (Schulman et al. 2016)."""

from __future__ import annotations

import torch
from torch import Tensor


def advantages(
    reward: Tensor,
    value: Tensor,
    next_value: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    discount: float,
    gae_lambda: float,
) -> Tensor:
    """Return A[t] = delta[t] + discount * gae_lambda * (1 - end[t]) * A[t+1], all (T, N).

    delta[t] = reward[t] + discount * (1 - terminated[t]) * next_value[t] - value[t], where `next_value[t]`
    judges the observation that followed step t BEFORE any restart, and end = terminated or truncated. What
    comes after the last row is inside `next_value`. Raises ValueError when shapes differ or are not (T, N).
    """
    arrays = (reward, value, next_value, terminated, truncated)
    if reward.ndim != 2 or any(array.shape != reward.shape for array in arrays):
        raise ValueError(f"expected five (T, N) arrays of equal shape, found {[tuple(a.shape) for a in arrays]}")
    delta = reward + discount * torch.where(terminated, 0.0, next_value) - value
    carry = torch.where(terminated | truncated, 0.0, discount * gae_lambda)
    result = torch.empty_like(delta)
    following = torch.zeros_like(delta[0])
    for t in range(len(delta) - 1, -1, -1):
        following = delta[t] + carry[t] * following
        result[t] = following
    return result


def without_common_luck(advantage: Tensor, n_accounts: int) -> Tensor:
    """Return `advantage` (T, G * n_accounts) less the mean of the OTHER accounts on the same bar.

    Prices do not react to our orders, and accounts explore independently, so what the others earned on a bar
    does not depend on this account's action there: subtracting it removes the market's luck and adds no bias.
    One account alone is returned as it is.
    """
    if n_accounts == 1:
        return advantage
    cells = advantage.reshape(len(advantage), -1, n_accounts)
    others = (cells.sum(dim=2, keepdim=True) - cells) / (n_accounts - 1)
    return (cells - others).reshape(advantage.shape)
