"""The training loop: one update after the other, checkpoints in between."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Generator

from cappuccino.env import environment
from cappuccino.env.environment import Params, Segments, State
from cappuccino.env.market import MarketArrays
from cappuccino.env.observation import N_GLOBAL, N_SYMBOL
from cappuccino.portfolio.account import Accounts
from cappuccino.risk.rules import Rules
from cappuccino.rl import apg, ppo
from cappuccino.rl import checkpoint as checkpoints
from cappuccino.rl.compute import Compute
from cappuccino.rl.figures import Figures, Progress
from cappuccino.rl.hyper import Hyper
from cappuccino.rl.learning import Budget, Learning
from cappuccino.rl.model import Policy, PolicyShape

EPISODE_ROLLOUTS = 4
"""Longest episode in rollouts: long enough for cycles and stops, short enough to see many places."""
FINAL_RATE = 0.1
"""Share of the learning rate that is left at the end."""
Learn = Callable[[Learning, MarketArrays, Params, Hyper, Budget], Figures]
LEARNERS: Mapping[str, Learn] = {"ppo": ppo.learn, "apg": apg.learn}


@dataclass(frozen=True)
class TrainedPolicy:
    """A policy and how it came to be."""

    policy: Policy
    progress: tuple[Progress, ...]


def policy_shape(n_assets: int, n_features: int, lookback: int, hyper: Hyper) -> PolicyShape:
    """Return the network that `hyper` asks for."""
    return PolicyShape(
        n_assets=n_assets,
        lookback=lookback,
        n_features=n_features,
        n_account_symbol=N_SYMBOL,
        n_account_global=N_GLOBAL,
        width=hyper.width,
        depth=hyper.depth,
        view=hyper.view,
        account_depth=hyper.account_depth,
    )


def train(
    market: MarketArrays,
    segments: Segments,
    lookback: int,
    hyper: Hyper,
    budget: Budget,
    rules: Rules,
    seed: int,
    checkpoint: Path | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    compute: Compute | None = None,
) -> TrainedPolicy:
    """Return a policy trained on the segments [start, stop) of `market`; it comes back on the CPU.

    Equal arguments give equal weights on one machine with one number of threads. With `checkpoint`, a killed
    call goes on where it was and tells its updates again; a file of another training is not used. Raises
    TrainingDiverged when the loss stops being a number, DataError when the range is too short, a price is none
    or features have gaps.
    """
    compute = compute or Compute()
    for segment in segments:
        market.require_prices(*segment)
    fingerprint = _fingerprint(market, segments, lookback, hyper, budget, rules, seed, compute)
    market = market.to(compute.device)
    episode_bars = EPISODE_ROLLOUTS * budget.horizon
    placed = rules.on(market.symbols, compute.device)
    params = environment.params_for(segments, lookback, placed, hyper.reward, hyper.wish, episode_bars)
    learning = _start(market, lookback, hyper, budget, params, seed, compute)
    progress: list[Progress] = []
    stored = checkpoints.read(checkpoint, fingerprint) if checkpoint is not None else None
    if stored is not None:
        progress = _restore(learning, stored, compute.device)
        if on_progress is not None:
            for done in progress:
                on_progress(done)
    while len(progress) < budget.updates:
        progress.append(_one_update(learning, market, params, hyper, budget, len(progress)))
        if on_progress is not None:
            on_progress(progress[-1])
        is_due = len(progress) % budget.checkpoint_every == 0 or len(progress) == budget.updates
        if checkpoint is not None and is_due:
            checkpoints.write(checkpoint, fingerprint, _saved(learning, progress))
    policy = learning.policy.to("cpu").eval()
    policy.products = torch.float32
    return TrainedPolicy(policy, tuple(progress))


def _start(
    market: MarketArrays,
    lookback: int,
    hyper: Hyper,
    budget: Budget,
    params: Params,
    seed: int,
    compute: Compute,
) -> Learning:
    generator = Generator().manual_seed(seed)
    shape = policy_shape(market.n_assets, market.n_features, lookback, hyper)
    policy = Policy(shape, generator, compute.products).to(compute.device)
    optimizer = torch.optim.Adam(policy.parameters(), lr=hyper.learning_rate, fused=True)
    places = environment.draw_places(generator, budget.n_groups, params)
    bar, bars_left = (place.repeat_interleave(budget.n_accounts) for place in places)
    fresh = environment.draw_fresh(generator, bar, bars_left, market)
    return Learning(policy, optimizer, generator, environment.reset(fresh, market, params), hyper.learning_rate)


def _one_update(
    learning: Learning, market: MarketArrays, params: Params, hyper: Hyper, budget: Budget, n_done: int
) -> Progress:
    started_s = time.monotonic()
    learning.rate = hyper.learning_rate * (1.0 - (1.0 - FINAL_RATE) * n_done / budget.updates)
    figures = LEARNERS[hyper.learner](learning, market, params, hyper, budget)
    return Progress(n_done + 1, figures, env_steps_of_update(budget), time.monotonic() - started_s)


def env_steps_of_update(budget: Budget) -> int:
    """Return the steps of all accounts in one update."""
    return budget.horizon * budget.n_groups * budget.n_accounts


def _saved(learning: Learning, progress: list[Progress]) -> dict[str, Any]:
    state = learning.state
    return {
        "policy": learning.policy.state_dict(),
        "optimizer": learning.optimizer.state_dict(),
        "generator": learning.generator.get_state(),
        "trust": learning.trust,
        "accounts": {field.name: getattr(state.accounts, field.name) for field in fields(Accounts)},
        "places": {"bar": state.bar, "bars_left": state.bars_left, "start_value_usd": state.start_value_usd},
        "progress": [one.to_dict() for one in progress],
    }


def _restore(learning: Learning, content: dict[str, Any], device: str) -> list[Progress]:
    """Put `learning` where it was when `content` was saved, and return the progress so far."""
    learning.policy.load_state_dict(content["policy"])
    learning.optimizer.load_state_dict(content["optimizer"])
    learning.generator.set_state(content["generator"])
    learning.trust = content["trust"]
    accounts = Accounts(**{name: tensor.to(device) for name, tensor in content["accounts"].items()})
    learning.state = State(accounts, **{name: tensor.to(device) for name, tensor in content["places"].items()})
    return [Progress.from_dict(row) for row in content["progress"]]


def _fingerprint(market: MarketArrays, segments: Segments, *others: object) -> str:
    """Return a hash of all that decides a training's result."""
    digest = hashlib.blake2b(repr((market.interval.value, segments, others)).encode(), digest_size=16)
    arrays = (market.features, market.open_usd, market.close_usd, market.opened_us, market.volume)
    for array in (array for array in arrays if array is not None):
        for segment in segments:
            digest.update(array[slice(*segment)].contiguous().cpu().numpy().tobytes())
    return digest.hexdigest()
