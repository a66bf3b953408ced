"""Whole trainings: reproducible, resumable, and able to learn what is obvious."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor

from cappuccino.env.market import MarketArrays
from cappuccino.errors import DataError
from cappuccino.market.interval import Interval
from cappuccino.market.panel import BarPanel
from cappuccino.portfolio.account import Accounts
from cappuccino.risk.rules import Rules
from cappuccino.rl.agent import Decider
from cappuccino.rl.compute import Compute
from cappuccino.rl.figures import Progress
from cappuccino.rl.hyper import Hyper
from cappuccino.rl.learning import Budget
from cappuccino.rl.runner import TrainedPolicy, train
from cappuccino.validation.evaluate import Policy, run

SMALL = Budget(updates=5, n_groups=3, n_accounts=4, horizon=12, checkpoint_every=2)
HYPER = Hyper(width=16, batch_size=64)
LEARNERS = [HYPER, replace(HYPER, learner="apg", epochs=2)]
Make = Callable[..., MarketArrays]


class Killed(Exception):  # noqa: N818 - stands for an end, not an error
    """A process that ends without a word."""


def small_training(market: MarketArrays, rules: Rules, **changes: object) -> TrainedPolicy:
    arguments: dict[str, object] = {
        "market": market,
        "segments": ((0, 150),),
        "lookback": 4,
        "hyper": HYPER,
        "budget": SMALL,
        "rules": rules,
        "seed": 3,
    }
    return train(**{**arguments, **changes})  # type: ignore[arg-type]


def weights(trained: TrainedPolicy) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in trained.policy.state_dict().values()])


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("hyper", LEARNERS)
def test_equal_seeds_give_equal_weights_and_other_seeds_others(
    make_market: Make, rules: Rules, hyper: Hyper, precision: Literal["float32", "bfloat16"]
) -> None:
    market = make_market(160)
    how = {"hyper": hyper, "compute": Compute(precision=precision)}
    first, again = small_training(market, rules, **how), small_training(market, rules, **how)
    assert torch.equal(weights(first), weights(again))
    assert first.progress == again.progress
    assert not torch.equal(weights(first), weights(small_training(market, rules, seed=4, **how)))
    assert torch.isfinite(weights(first)).all()


@pytest.mark.parametrize("hyper", LEARNERS)
def test_bars_after_the_training_range_change_nothing(make_market: Make, rules: Rules, hyper: Hyper) -> None:
    market = make_market(160)
    later = make_market(160)
    later.features[150:] = torch.nan
    later.close_usd[150:] *= 7
    trained = (small_training(one, rules, hyper=hyper) for one in (market, later))
    assert torch.equal(*map(weights, trained))


@pytest.mark.parametrize("killed_after", [1, 2, 3])  # before, at and after a checkpoint
@pytest.mark.parametrize("hyper", LEARNERS)
def test_a_killed_training_goes_on_bit_for_bit(
    make_market: Make, rules: Rules, tmp_path: Path, hyper: Hyper, killed_after: int
) -> None:
    market, file = make_market(160), tmp_path / "training.pt"

    def kill(progress: Progress) -> None:
        if progress.update == killed_after:
            raise Killed

    with pytest.raises(Killed):
        small_training(market, rules, hyper=hyper, checkpoint=file, on_progress=kill)
    seen: list[int] = []
    resumed = small_training(market, rules, hyper=hyper, checkpoint=file, on_progress=lambda p: seen.append(p.update))
    straight = small_training(market, rules, hyper=hyper)
    assert torch.equal(weights(resumed), weights(straight))
    assert resumed.progress == straight.progress
    assert seen == [1, 2, 3, 4, 5]  # what was restored is told again


def test_a_complete_training_is_not_repeated(make_market: Make, rules: Rules, tmp_path: Path) -> None:
    """Its progress is told, durations included: nothing is computed again."""
    market, file = make_market(160), tmp_path / "training.pt"
    done = small_training(market, rules, checkpoint=file)
    seen: list[Progress] = []
    again = small_training(market, rules, checkpoint=file, on_progress=seen.append)
    assert [one.duration_s for one in seen] == [one.duration_s for one in done.progress]
    assert torch.equal(weights(done), weights(again))


def test_the_checkpoint_of_another_training_is_not_used(make_market: Make, rules: Rules, tmp_path: Path) -> None:
    file = tmp_path / "training.pt"
    small_training(make_market(160), rules, checkpoint=file)
    other_bars = make_market(160, seed=1)
    resumed = small_training(other_bars, rules, checkpoint=file)
    assert torch.equal(weights(resumed), weights(small_training(other_bars, rules)))


def test_a_gap_in_the_features_is_refused(make_market: Make, rules: Rules) -> None:
    market = make_market(160)
    market.features[::7] = torch.nan
    with pytest.raises(DataError, match="without a value"):
        small_training(market, rules)


def panel_of(market: MarketArrays) -> BarPanel:
    opened_at = market.opened_us.numpy().astype("datetime64[us]")
    opened, close = market.open_usd.numpy(), market.close_usd.numpy()
    high, low = np.maximum(opened, close), np.minimum(opened, close)
    nothing = np.zeros_like(close)
    symbols = ("A/USD", "B/USD", "C/USD")
    return BarPanel(Interval.H1, symbols, opened_at, opened, high, low, close, nothing, nothing > 0)


def all_knowing(market: MarketArrays) -> Policy:
    """Hold as much as allowed of each symbol that rises."""
    rising = market.features[:, :, 0] > 0

    def policy(t: int, accounts: Accounts) -> Tensor:
        return (rising[t].double() * 0.3).expand(len(accounts), -1)

    return policy


def always(weight: float) -> Policy:
    return lambda t, accounts: torch.full_like(accounts.units, weight)


@pytest.mark.parametrize(
    ("hyper", "updates", "n_accounts"),
    [(Hyper(width=32), 16, 16), (Hyper(learner="apg", width=32, learning_rate=2e-3), 32, 8)],
)
def test_an_obvious_pattern_is_learned(
    make_market: Make, rules: Rules, hyper: Hyper, updates: int, n_accounts: int
) -> None:
    """On bars that it never saw, the agent earns most of what is there, where holding earns nothing like it."""
    market = make_market(3000)
    budget = Budget(updates=updates, n_groups=16, n_accounts=n_accounts, horizon=48)
    trained = train(market, ((0, 2000),), 4, hyper, budget, rules, seed=1)
    panel = panel_of(market)

    def log_growth(policy: Policy) -> float:
        equity = run(policy, panel, 2000, 3000, rules).equity_usd[:, 0]
        return float(np.log(equity[-1] / equity[0]))

    best, agent = log_growth(all_knowing(market)), log_growth(Decider(trained.policy, market, Hyper()))
    holding = max(log_growth(always(0.3)), log_growth(always(0.0)))
    assert best > 0.5
    assert agent > 0.85 * best
    assert agent > holding + 0.5


def test_an_untrained_agent_is_modestly_invested(make_market: Make, rules: Rules) -> None:
    market = make_market(200)
    trained = small_training(market, rules, budget=replace(SMALL, updates=0))
    episode = run(Decider(trained.policy, market, HYPER), panel_of(market), 10, 60, rules)
    exposure = episode.weights.sum(axis=2)
    assert exposure.max() < 0.5
