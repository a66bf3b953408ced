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


def held_noise(generator: Generator, n_steps: int, shape: tuple[int, ...]) -> Tensor:
    """Return the noise of `n_steps` bars, (T, G, M, A), drawn on the CPU so that every device explores alike.

    Each bar's is standard normal; an account keeps it, or draws anew with a chance of one in `HELD_BARS`.
    """
    fresh = torch.randn(n_steps, *shape, generator=generator)
    renewed = torch.rand(n_steps, *shape[:-1], generator=generator) < 1.0 / HELD_BARS
    drawn_at = torch.where(renewed, torch.arange(n_steps).view(-1, *[1] * (len(shape) - 1)), 0).cummax(dim=0).values
    return fresh.gather(0, drawn_at.unsqueeze(-1).expand_as(fresh))
