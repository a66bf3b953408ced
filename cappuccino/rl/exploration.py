"""Noise that is held for a while, so that trying something costs one trade and not one in every bar.

White noise would trade at every bar and pay for it each time; the best policy under such noise is to hold
cash. The noise of one bar is still standard normal, and PPO's densities are those of this marginal
distribution (as with colored noise, Hollenstein et al. 2024).
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

HELD_BARS = 16
"""Mean number of bars that an account keeps its noise."""


def draw(generator: Generator, shape: tuple[int, ...]) -> Tensor:
    """Return fresh standard normal noise on the CPU, so that every device explores alike."""
    return torch.randn(shape, generator=generator)


def go_on(generator: Generator, noise: Tensor) -> Tensor:
    """Return the next bar's noise, (G, M, A): kept, or drawn anew for about one account in `HELD_BARS`."""
    renewed = torch.rand(noise.shape[:-1], generator=generator) < 1.0 / HELD_BARS
    return torch.where(renewed.unsqueeze(-1), draw(generator, tuple(noise.shape)), noise)
