"""The terms of PPO's objective as free functions of tensors (Schulman et al. 2017)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_LOG_TWO_PI = math.log(2.0 * math.pi)


def gaussian_log_prob(action: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """Return ln N(action; mean, exp(log_std)) summed over the last axis; (..., A) -> (...)."""
    z = (action - mean) * torch.exp(-log_std)
    return -(0.5 * z.square() + log_std + 0.5 * _LOG_TWO_PI).sum(dim=-1)


def gaussian_entropy(log_std: Tensor) -> Tensor:
    """Return the entropy in nats of a diagonal Gaussian; (A,) -> ()."""
    return (log_std + 0.5 * (_LOG_TWO_PI + 1.0)).sum()


def clipped_surrogate_loss(log_ratio: Tensor, advantage: Tensor, clip: float) -> Tensor:
    """Return -mean(min(r * A, clamp(r, 1 - clip, 1 + clip) * A)), r = exp(log_ratio); equal shapes -> ()."""
    _require_equal_shapes(log_ratio, advantage)
    ratio = torch.exp(log_ratio)
    return -torch.minimum(ratio * advantage, ratio.clamp(1.0 - clip, 1.0 + clip) * advantage).mean()


def value_loss(value: Tensor, target: Tensor) -> Tensor:
    """Return mean((value - target)^2) / 2; equal shapes -> ()."""
    _require_equal_shapes(value, target)
    return 0.5 * (value - target).square().mean()


def approximate_kl(log_ratio: Tensor) -> Tensor:
    """Return mean(exp(x) - 1 - x), the estimate of KL(old || new) that is never negative."""
    return (torch.expm1(log_ratio) - log_ratio).mean()


def _require_equal_shapes(left: Tensor, right: Tensor) -> None:
    if left.shape != right.shape:
        raise ValueError(f"expected equal shapes, found {tuple(left.shape)} and {tuple(right.shape)}")
