"""What the network sees of a window of bars: every bar, or means over ever longer stretches of the past.

dyadic, lookback 16, newest bar last:  |<------- 4 ------>|<--- 4 --->|< 2 >|< 2 >| 1 | 1 | 1 | 1 |

Old bars matter for their level, new ones for their detail. Means make the input grow with the logarithm of the
lookback, and leave a network fewer ways to remember noise.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

View = Literal["every_bar", "dyadic"]
N_SINGLE = 4
"""Newest bars that are seen one by one; then two stretches of each length 2, 4, 8 ..."""


def stretches(lookback: int) -> tuple[tuple[int, int], ...]:
    """Return the stretches [start, stop) of a window's rows, oldest first; they cover it without overlap."""
    back = list(range(min(N_SINGLE, lookback) + 1))
    length = 2
    while back[-1] < lookback:
        back += [min(back[-1] + length * n, lookback) for n in (1, 2)]
        length *= 2
    edges = sorted({lookback - distance for distance in back})
    return tuple(pairwise(edges))


def n_rows(view: View, lookback: int) -> int:
    """Return how many rows the network sees of a window."""
    return lookback if view == "every_bar" else len(stretches(lookback))


def see(windows: Tensor, view: View) -> Tensor:
    """Return what is seen of windows (B, A, L, F), oldest row first: (B, A, R * F) with R = `n_rows`."""
    if view == "dyadic":
        means = [windows[:, :, start:stop].mean(dim=2) for start, stop in stretches(windows.shape[2])]
        return torch.cat(means, dim=2)
    return windows.flatten(start_dim=2)
