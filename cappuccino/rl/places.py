"""Where the accounts of a rollout stand: known before any trading, since prices do not react to it.

Everything here is computed on the CPU before the first step, so that the device is never waited for during the steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Generator, Tensor

from cappuccino.env import environment
from cappuccino.env.environment import Params
from cappuccino.env.market import MarketArrays
from cappuccino.rl.model import Policy

SEE_BARS = 512
"""Bars whose windows are copied at once; bounds the memory that a rollout needs beside its inputs."""


@dataclass(frozen=True)
class Itinerary:
    """The way of G places during T steps."""

    bars: Tensor
    """(T, G) bars that are decided on."""
    cut: Tensor
    """(T, G) bool: the step ends an episode."""
    next_bars: Tensor
    """(T, G) where each goes on: the bar after, or a place drawn anew where the episode was cut."""
    next_bars_left: Tensor
    """(T, G)."""

    @cached_property
    def is_cut(self) -> tuple[bool, ...]:
        """Whether any place is cut in each step."""
        return tuple(self.cut.any(dim=1).tolist())


def plan(generator: Generator, bar: Tensor, bars_left: Tensor, horizon: int, params: Params) -> Itinerary:
    """Return the way of places (G,) over `horizon` steps."""
    rows: list[tuple[Tensor, ...]] = []
    for _ in range(horizon):
        after, left, cut = environment.advance(bar, bars_left)
        new_bar, new_left = environment.draw_places(generator, len(bar), params)
        next_bar, next_left = torch.where(cut, new_bar, after), torch.where(cut, new_left, left)
        rows.append((bar, cut, next_bar, next_left))
        bar, bars_left = next_bar, next_left
    return Itinerary(*map(torch.stack, zip(*rows, strict=True)))


@dataclass(frozen=True)
class Sights:
    """What is seen from every bar of a rollout, each bar once, on the market's device."""

    seen: Tensor
    """(U, A, D) inputs of the policy's encoder for U distinct bars."""
    at: Tensor
    """(T, G) positions in `seen` of the bars that are decided on."""
    after: Tensor
    """(T, G) those of the bars that follow each step, before any restart."""
    restart: Tensor
    """(T, G) those of the bars that each goes on from."""


def sights(policy: Policy, market: MarketArrays, way: Itinerary) -> Sights:
    """Return what `policy` sees on `way`; raises DataError when a window is not complete."""
    visited = torch.stack([way.bars, way.bars + 1, way.next_bars])
    bars, where = torch.unique(visited, return_inverse=True)
    chunks = (policy.see(market.windows(chunk, policy.shape.lookback)) for chunk in bars.split(SEE_BARS))
    at, after, restart = where.to(market.close_usd.device)
    return Sights(torch.cat(list(chunks)), at, after, restart)
