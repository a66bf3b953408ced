"""Let a policy trade a stretch of history from many places, and keep what it saw and did."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Generator, Tensor

from cappuccino.env import environment
from cappuccino.env.environment import Params, State
from cappuccino.env.market import MarketArrays
from cappuccino.env.observation import account_features
from cappuccino.env.reward import RewardParts
from cappuccino.rl import exploration
from cappuccino.rl.model import Output, Policy

ENCODE_BARS = 512
"""Bars that are encoded at once; bounds the memory of their windows."""


@dataclass(frozen=True)
class Rollout:
    """T steps of G places with M accounts each, N = G * M; account n is at place n // M."""

    part_means: dict[str, float]
    """Mean of each part of the reward."""
    bars: Tensor
    """(T, G) int64 bars that were decided on."""
    account: Tensor
    """(T, N, K) account features."""
    action: Tensor
    """(T, N, A) before clipping."""
    log_prob: Tensor
    """(T, N)."""
    value: Tensor
    """(T, N) critic's value of the observation."""
    next_value: Tensor
    """(T, N) of the observation that followed, before any restart."""
    reward: Tensor
    """(T, N)."""
    terminated: Tensor
    """(T, N) bool."""
    truncated: Tensor
    """(T, N) bool."""


@dataclass(frozen=True)
class Itinerary:
    """Where G places stand during T steps: known before any trading, since prices do not react to it."""

    bars: Tensor
    """(T, G) bars that are decided on."""
    next_bars: Tensor
    """(T, G) where each goes on: the bar after, or a place drawn anew where the episode was cut."""
    next_bars_left: Tensor
    """(T, G)."""


def plan(generator: Generator, bar: Tensor, bars_left: Tensor, horizon: int, params: Params) -> Itinerary:
    """Return the way of places (G,) over `horizon` steps."""
    bars, next_bars, next_left = [], [], []
    for _ in range(horizon):
        bars.append(bar)
        after, left, cut = environment.advance(bar, bars_left, params)
        new_bar, new_left = environment.draw_places(generator, len(bar), params)
        bar = torch.where(cut, new_bar.to(bar.device), after)
        bars_left = torch.where(cut, new_left.to(bar.device), left)
        next_bars.append(bar)
        next_left.append(bars_left)
    return Itinerary(torch.stack(bars), torch.stack(next_bars), torch.stack(next_left))


@torch.no_grad()
def collect(
    policy: Policy,
    state: State,
    market: MarketArrays,
    params: Params,
    *,
    n_accounts: int,
    horizon: int,
    generator: Generator,
) -> tuple[State, Rollout]:
    """Return the state after `horizon` steps, and the steps.

    Each distinct bar is encoded once for all accounts on it; a step then runs only the small heads.
    """
    itinerary = plan(generator, state.bar[::n_accounts], state.bars_left[::n_accounts], horizon, params)
    view = _View(policy, market, itinerary, n_accounts)
    rows: list[tuple[Tensor, ...]] = []
    parts: list[Tensor] = []
    seen, output = view.look(state)
    noise = exploration.draw(generator, tuple(output.mean.shape))
    for t in range(horizon):
        action = output.explore(noise.to(output.mean.device))
        noise = exploration.go_on(generator, noise)
        acted = (seen, action.flatten(0, 1), output.log_prob(action).flatten(), output.value.flatten())
        state, done = environment.step(state, acted[1].clamp(-1.0, 1.0), market, params)
        seen, output = view.look(state)
        judged = (output.value.flatten(), done.reward.to(torch.float32), done.terminated, done.truncated)
        rows.append(acted + judged)
        parts.append(torch.stack([getattr(done.parts, field.name) for field in fields(RewardParts)]))
        ended = done.terminated | done.truncated
        if bool(ended.any()):
            bar, left = itinerary.next_bars[t], itinerary.next_bars_left[t]
            places = (bar.repeat_interleave(n_accounts), left.repeat_interleave(n_accounts))
            state = environment.restart(generator, ended, places, state, market, params)
            seen, output = view.look(state)
    names = (field.name for field in fields(RewardParts))
    part_means = dict(zip(names, torch.stack(parts).mean(dim=(0, 2)).tolist(), strict=True))
    return state, Rollout(part_means, itinerary.bars, *map(torch.stack, zip(*rows, strict=True)))


class _View:
    """What a policy makes of a rollout's states: its bars encoded, accounts added as they come."""

    def __init__(self, policy: Policy, market: MarketArrays, itinerary: Itinerary, n_accounts: int) -> None:
        self.policy, self.market, self.n_accounts = policy, market, n_accounts
        visited = (itinerary.bars, itinerary.bars + 1, itinerary.next_bars)
        self.bars = torch.unique(torch.stack(visited))
        chunks = (market.windows(chunk, policy.shape.lookback) for chunk in self.bars.split(ENCODE_BARS))
        self.code = torch.cat([policy.encode_market(chunk) for chunk in chunks])

    def look(self, state: State) -> tuple[Tensor, Output]:
        """Return account features (N, K) and the policy's output (G, M, ...)."""
        bar = state.bar
        now_us = self.market.opened_us[bar] + self.market.interval.us
        seen = account_features(state.accounts, self.market.close_usd[bar], now_us)
        code = self.code[torch.searchsorted(self.bars, bar[:: self.n_accounts].contiguous())]
        return seen, self.policy.act(code, seen.reshape(len(code), self.n_accounts, -1))
