"""The training loop: rollout, update, checkpoint, again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Generator

from cappuccino.env import environment
from cappuccino.env.environment import Params, State
from cappuccino.env.market import MarketArrays
from cappuccino.env.observation import N_GLOBAL, N_SYMBOL
from cappuccino.portfolio.account import Accounts
from cappuccino.risk.rules import Rules
from cappuccino.rl import checkpoint as checkpoints
from cappuccino.rl.hyper import Hyper
from cappuccino.rl.model import Policy, PolicyShape
from cappuccino.rl.ppo import UpdateStats, update
from cappuccino.rl.rollout import collect

EPISODE_ROLLOUTS = 4
"""Longest episode in rollouts: long enough for cycles and stops, short enough to see many places."""
FINAL_RATE = 0.1
"""Share of the learning rate that is left at the end."""


@dataclass(frozen=True)
class Budget:
    """How much one training may do."""

    updates: int
    n_groups: int
    """Places in history that a rollout starts from."""
    n_accounts: int
    """Accounts that start from each place."""
    horizon: int
    """Bars of a rollout."""
    checkpoint_every: int = 10
    """Updates between two checkpoints."""


@dataclass(frozen=True)
class Progress:
    """One update of a training."""

    update: int
    """Counts from 1."""
    reward_mean: float
    """Per step and account, all parts together."""
    parts: dict[str, float]
    """Mean of each part of the reward."""
    stats: UpdateStats


@dataclass(frozen=True)
class TrainedPolicy:
    """A policy and how it came to be."""

    policy: Policy
    progress: tuple[Progress, ...]


@dataclass
class _Training:
    """Everything that changes from update to update; a checkpoint holds all of it."""

    policy: Policy
    optimizer: torch.optim.Optimizer
    generator: Generator
    state: State
    progress: list[Progress]


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
    )


def train(
    market: MarketArrays,
    train_range: tuple[int, int],
    lookback: int,
    hyper: Hyper,
    budget: Budget,
    rules: Rules,
    seed: int,
    checkpoint: Path | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> TrainedPolicy:
    """Return a policy trained on bars [start, stop) of `market`, on the market's device.

    Equal arguments give equal weights on one machine with one number of threads. With `checkpoint`, a killed
    call goes on where it was; a file of another training is not used. Raises TrainingError when the loss
    stops being a number, DataError when the range is too short or its features have gaps.
    """
    episode_bars = EPISODE_ROLLOUTS * budget.horizon
    params = environment.params_for(train_range, lookback, rules, hyper.reward, hyper.wish, episode_bars)
    training = _start(market, lookback, hyper, budget, params, seed)
    fingerprint = _fingerprint(market, train_range, lookback, hyper, budget, rules, seed)
    stored = checkpoints.read(checkpoint, fingerprint) if checkpoint is not None else None
    if stored is not None:
        _restore(training, stored, market.close_usd.device)
    while len(training.progress) < budget.updates:
        progress = _one_update(training, market, params, hyper, budget)
        if on_progress is not None:
            on_progress(progress)
        is_due = progress.update % budget.checkpoint_every == 0 or progress.update == budget.updates
        if checkpoint is not None and is_due:
            _save(training, checkpoint, fingerprint)
    return TrainedPolicy(training.policy.eval(), tuple(training.progress))


def _start(market: MarketArrays, lookback: int, hyper: Hyper, budget: Budget, params: Params, seed: int) -> _Training:
    device = market.close_usd.device
    generator = Generator().manual_seed(seed)
    policy = Policy(policy_shape(market.n_assets, market.n_features, lookback, hyper), generator).to(device)
    optimizer = torch.optim.Adam(policy.parameters(), lr=hyper.learning_rate)
    places = environment.draw_places(generator, budget.n_groups, params)
    bar, bars_left = (place.repeat_interleave(budget.n_accounts).to(device) for place in places)
    state = environment.reset(generator, bar, bars_left, market, params)
    return _Training(policy, optimizer, generator, state, [])


def _one_update(training: _Training, market: MarketArrays, params: Params, hyper: Hyper, budget: Budget) -> Progress:
    done = len(training.progress)
    for group in training.optimizer.param_groups:
        group["lr"] = hyper.learning_rate * (1.0 - (1.0 - FINAL_RATE) * done / budget.updates)
    training.state, rollout = collect(
        training.policy,
        training.state,
        market,
        params,
        n_accounts=budget.n_accounts,
        horizon=budget.horizon,
        generator=training.generator,
    )
    stats = update(training.policy, training.optimizer, rollout, market, hyper, training.generator)
    progress = Progress(done + 1, float(rollout.reward.mean()), rollout.part_means, stats)
    training.progress.append(progress)
    return progress


def _save(training: _Training, file: Path, fingerprint: str) -> None:
    state = training.state
    content = {
        "policy": training.policy.state_dict(),
        "optimizer": training.optimizer.state_dict(),
        "generator": training.generator.get_state(),
        "accounts": {field.name: getattr(state.accounts, field.name) for field in fields(Accounts)},
        "places": {"bar": state.bar, "bars_left": state.bars_left, "start_value_usd": state.start_value_usd},
        "progress": [asdict(progress) for progress in training.progress],
    }
    checkpoints.write(file, fingerprint, content)


def _restore(training: _Training, content: dict[str, Any], device: torch.device) -> None:
    """Put `training` where it was when `content` was saved."""
    training.policy.load_state_dict(content["policy"])
    training.optimizer.load_state_dict(content["optimizer"])
    training.generator.set_state(content["generator"])
    accounts = Accounts(**{name: tensor.to(device) for name, tensor in content["accounts"].items()})
    training.state = State(accounts, **{name: tensor.to(device) for name, tensor in content["places"].items()})
    training.progress = [Progress(**{**row, "stats": UpdateStats(**row["stats"])}) for row in content["progress"]]


def _fingerprint(market: MarketArrays, train_range: tuple[int, int], *others: object) -> str:
    """Return a hash of all that decides a training's result."""
    digest = hashlib.blake2b(repr((market.interval.value, train_range, others)).encode(), digest_size=16)
    for array in (market.features, market.open_usd, market.close_usd, market.opened_us):
        digest.update(array[slice(*train_range)].contiguous().cpu().numpy().tobytes())
    return digest.hexdigest()
