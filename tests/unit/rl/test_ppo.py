"""One update: it moves towards what paid, and stops when numbers stop being numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from cappuccino.env.environment import State
from cappuccino.env.market import MarketArrays
from cappuccino.errors import TrainingError
from cappuccino.portfolio.account import open_accounts
from cappuccino.rl.hyper import Hyper
from cappuccino.rl.learning import Learning
from cappuccino.rl.model import Policy
from cappuccino.rl.ppo import compute_returns, update
from cappuccino.rl.rollout import Rollout
from cappuccino.rl.runner import policy_shape

T, G, M, LOOKBACK = 8, 4, 16, 3
NOWHERE = State(open_accounts(0, 3, 0.0), *[torch.zeros(0)] * 3)
"""An update looks at a rollout, not at the market."""
HYPER = Hyper(width=16, batch_size=128, learning_rate=3e-3, epochs=6)


def scene(market: MarketArrays) -> tuple[Policy, Rollout]:
    """Random actions, rewarded by how much of the first symbol and how little of the second they want."""
    generator = torch.Generator().manual_seed(0)
    policy = Policy(policy_shape(3, 3, LOOKBACK, HYPER), generator)
    bars = torch.randint(LOOKBACK, 30, (T, G), generator=generator)
    account = torch.randn(T, G * M, policy.shape.n_account, generator=generator)
    seen = policy.see(market.windows(bars.flatten(), LOOKBACK))
    with torch.no_grad():
        code = policy.encode_market(seen)
        output = policy.act(code, account.reshape(T * G, M, -1))
        action = output.explore(torch.randn(output.mean.shape, generator=generator))
        log_prob = output.log_prob(action)
    action = action.reshape(T, G * M, 3)
    nothing = torch.zeros(T, G * M)
    ends = torch.ones(T, G * M, dtype=torch.bool)  # every step stands alone
    rollout = Rollout(
        seen=seen,
        at=torch.arange(T * G).reshape(T, G),
        account=account,
        action=action,
        log_prob=log_prob.reshape(T, -1),
        value=nothing,
        next_value=nothing,
        reward=action[..., 0] - action[..., 1],
        terminated=ends,
        truncated=~ends,
    )
    return policy, rollout


def mean_action(policy: Policy, market: MarketArrays) -> torch.Tensor:
    with torch.no_grad():
        code = policy.encode_market(policy.see(market.windows(torch.arange(LOOKBACK, 30), LOOKBACK)))
        return policy.act(code, torch.zeros(len(code), 1, policy.shape.n_account)).mean.mean(dim=(0, 1))


def one_update(policy: Policy, rollout: Rollout, hyper: Hyper = HYPER) -> dict[str, float]:
    optimizer = torch.optim.Adam(policy.parameters())
    learning = Learning(policy, optimizer, torch.Generator().manual_seed(1), NOWHERE, hyper.learning_rate)
    return update(learning, rollout, hyper)


def test_an_update_moves_towards_what_paid(make_market: Callable[..., MarketArrays]) -> None:
    market = make_market(30)
    policy, rollout = scene(market)
    before = mean_action(policy, market)
    stats = one_update(policy, rollout)
    moved = mean_action(policy, market) - before
    assert moved[0] > 0.02
    assert moved[1] < -0.02
    assert stats["kl"] > 0
    assert 1 <= stats["n_epochs"] <= HYPER.epochs


def test_an_update_stops_when_the_policy_has_moved_far(make_market: Callable[..., MarketArrays]) -> None:
    market = make_market(30)
    policy, rollout = scene(market)
    stats = one_update(policy, rollout, replace(HYPER, learning_rate=0.05, epochs=50))
    assert stats["n_epochs"] < 50


def test_advantages_are_standardised_and_targets_are_not(make_market: Callable[..., MarketArrays]) -> None:
    _, rollout = scene(make_market(30))
    cells, explained_variance = compute_returns(rollout, HYPER)
    assert cells.advantage.mean().item() == pytest.approx(0, abs=1e-6)
    assert cells.advantage.std(correction=0).item() == pytest.approx(1, abs=1e-4)
    torch.testing.assert_close(cells.target.reshape(T, G * M), rollout.reward)
    assert explained_variance == pytest.approx(0, abs=1e-6)  # a critic that says 0 explains nothing


def test_a_reward_that_is_no_number_ends_the_training_with_the_reason(
    make_market: Callable[..., MarketArrays],
) -> None:
    market = make_market(30)
    policy, rollout = scene(market)
    broken = replace(rollout, reward=torch.full_like(rollout.reward, torch.nan))
    with pytest.raises(TrainingError, match=r"policy loss nan.*learning_rate"):
        one_update(policy, broken)
