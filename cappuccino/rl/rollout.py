"""Let a policy trade a stretch of history from many places, and keep what it saw and did."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import torch
from torch import Generator, Tensor

from cappuccino.env import environment
from cappuccino.env.environment import Params, State, Transition
from cappuccino.env.market import MarketArrays
from cappuccino.env.observation import account_features
from cappuccino.env.reward import RewardParts
from cappuccino.rl.exploration import held_noise
from cappuccino.rl.model import Policy
from cappuccino.rl.places import Itinerary, plan, sights

ENCODE_BARS = 512
"""Bars that are encoded at once without gradients; bounds the memory of the layers."""
PARTS = tuple(part.name for part in fields(RewardParts))


@dataclass(frozen=True)
class Rollout:
    """T steps of G places with M accounts each, N = G * M; account n is at place n // M."""

    seen: Tensor
    """(U, A, D) inputs of the encoder for the U distinct bars."""
    at: Tensor
    """(T, G) int64 positions in `seen` of the bars that were decided on."""
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


@dataclass
class Behaviour:
    """What a policy does, step by step; summed where it happens and read once."""

    rows: list[Tensor] = field(default_factory=list)
    """One (len(PARTS) + 3,) a step: mean reward parts, exposure, turnover, saturation."""
    actions: list[Tensor] = field(default_factory=list)
    """Mean actions (G, M, A)."""

    @torch.no_grad()
    def note(self, mean: Tensor, action: Tensor, account: Tensor, done: Transition, n_assets: int) -> None:
        """Note one step: the policy's mean and the action (G, M, A), account features (N, K), and what it did."""
        saturated = (action.abs() >= 1.0).float()
        invested = account[:, 0 : 2 * n_assets : 2].sum(dim=1)
        figures = [*(getattr(done.parts, name) for name in PARTS), invested, done.turnover_frac, saturated]
        self.rows.append(torch.stack([figure.mean(dtype=torch.float64) for figure in figures]))
        self.actions.append(mean.detach())

    def read(self) -> dict[str, float]:
        """Return the means over all steps, by the names of `Figures`."""
        means = torch.stack(self.rows).mean(dim=0).tolist()
        parts = dict(zip(PARTS, means, strict=False))
        exposure, turnover, saturation = means[len(PARTS) :]
        spread = torch.stack(self.actions).flatten(end_dim=-2).std(dim=0, correction=0).mean()
        return {
            "reward_mean": sum(parts.values()),
            **{"turnover_cost" if name == "turnover" else name: mean for name, mean in parts.items()},
            "exposure_frac": exposure,
            "turnover_frac": turnover,
            "saturation_frac": saturation,
            "action_spread": float(spread),
        }


def look(state: State, market: MarketArrays) -> Tensor:
    """Return the account features (N, K) after the close of each account's bar."""
    now_us = market.opened_us[state.bar] + market.interval.us
    return account_features(state.accounts, market.close_usd[state.bar], now_us)


def places_of(state: State, n_accounts: int) -> tuple[Tensor, Tensor]:
    """Return bar and bars left of each place, (G,) each, on the CPU."""
    return state.bar[::n_accounts].cpu(), state.bars_left[::n_accounts].cpu()


def restarted(
    generator: Generator, t: int, way: Itinerary, state: State, done: Transition, market: MarketArrays, params: Params
) -> State:
    """Return `state` with fresh accounts where step `t` of `way` ended an episode.

    A ruined account starts anew when a place is next cut; until then each of its steps is an end of its own.
    """
    device, n_accounts = market.close_usd.device, len(state.bar) // way.bars.shape[1]
    places = (way.next_bars[t], way.next_bars_left[t])
    bar, left = (place.to(device).repeat_interleave(n_accounts) for place in places)
    return environment.restart(generator, done.terminated | done.truncated, (bar, left), state, market, params)


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
) -> tuple[State, Rollout, Behaviour]:
    """Return the state after `horizon` steps, the steps, and how the policy behaved.

    Each distinct bar is encoded once for all accounts on it; a step then runs only the heads. Between the first step
    and the last, nothing is read back from the device.
    """
    way = plan(generator, *places_of(state, n_accounts), horizon, params)
    sight = sights(policy, market, way)
    code = torch.cat([policy.encode_market(chunk) for chunk in torch.split(sight.seen, ENCODE_BARS)])
    n_places, n_assets = way.bars.shape[1], market.n_assets
    noise = held_noise(generator, horizon, (n_places, n_accounts, n_assets)).to(code.device)
    behaviour, rows = Behaviour(), list[tuple[Tensor, ...]]()
    seen = look(state, market)
    output = policy.act(code[sight.at[0]], seen.reshape(n_places, n_accounts, -1))
    for t in range(horizon):
        action = output.explore(noise[t])
        acted = (seen, action.flatten(0, 1), output.log_prob(action).flatten(), output.value.flatten())
        state, done = environment.step(state, acted[1].clamp(-1.0, 1.0), market, params)
        behaviour.note(output.mean, action, seen, done, n_assets)
        seen = look(state, market)
        output = policy.act(code[sight.after[t]], seen.reshape(n_places, n_accounts, -1))
        judged = (output.value.flatten(), done.reward.to(torch.float32), done.terminated, done.truncated)
        rows.append(acted + judged)
        if way.is_cut[t]:
            state = restarted(generator, t, way, state, done, market, params)
            seen = look(state, market)
            output = policy.act(code[sight.restart[t]], seen.reshape(n_places, n_accounts, -1))
    return state, Rollout(sight.seen, sight.at, *map(torch.stack, zip(*rows, strict=True))), behaviour
