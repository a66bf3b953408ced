"""Analytic policy gradients: the engine's slope is the engine's, and one step goes up it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from cappuccino.env import environment
from cappuccino.env.environment import Params, State
from cappuccino.env.market import MarketArrays
from cappuccino.errors import TrainingError
from cappuccino.risk.rules import Rules
from cappuccino.rl import apg
from cappuccino.rl.hyper import Hyper
from cappuccino.rl.learning import Budget, Learning
from cappuccino.rl.model import Policy
from cappuccino.rl.rollout import Behaviour, route
from cappuccino.rl.runner import policy_shape

LOOKBACK, G, M = 4, 6, 5
HYPER = Hyper(learner="apg", width=16, epochs=2, variance_penalty=0.5, turnover_penalty=1e-3)
BUDGET = Budget(updates=1, n_groups=G, n_accounts=M, horizon=20)
Make = Callable[..., MarketArrays]


def scene(market: MarketArrays, rules: Rules, hyper: Hyper = HYPER) -> tuple[Learning, Params]:
    params = environment.params_for(((0, 150),), LOOKBACK, rules, hyper.reward, hyper.wish, episode_bars=40)
    generator = torch.Generator().manual_seed(0)
    policy = Policy(policy_shape(3, 3, LOOKBACK, hyper), generator)
    bar, left = (p.repeat_interleave(M) for p in environment.draw_places(generator, G, params))
    state = environment.reset(environment.draw_fresh(generator, bar, left, market), market, params)
    return Learning(policy, torch.optim.SGD(policy.parameters()), generator, state, rate=0.0), params


def smooth(params: Params) -> Params:
    """The same market without thresholds: what gradients are those of."""
    costs = replace(params.rules.costs, min_order_usd=0.0)
    return replace(params, wish=replace(params.wish, no_trade_band=0.0), rules=replace(params.rules, costs=costs))


def rewards(state: State, actions: Tensor, market: MarketArrays, params: Params) -> Tensor:
    """Return the sum of three bars' rewards under fixed actions (3, N, A); (N,)."""
    total = torch.zeros(len(state.bar), dtype=torch.float64)
    for action in actions:
        state, done = environment.smooth_step(state, action, market, params)
        total = total + done.reward
    return total


def test_gradients_through_the_engine_are_finite_differences(make_market: Make, rules: Rules) -> None:
    """Three bars of trading with costs, on a market without thresholds; actions away from the kinks at 0 and 1."""
    market = make_market(160)
    learning, params = scene(market, rules)
    params = smooth(params)
    actions = 0.2 + 0.4 * torch.rand(3, G * M, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    actions.requires_grad_(True)
    rewards(learning.state, actions, market, params).sum().backward()  # type: ignore[no-untyped-call]
    assert actions.grad is not None
    for index in [(0, 0, 0), (1, 7, 2), (2, 20, 1), (0, 29, 1)]:
        shifted = [actions.detach().clone() for _ in range(2)]
        for sign, moved in zip((1, -1), shifted, strict=True):
            moved[index] += sign * 1e-6
        up, down = (rewards(learning.state, moved, market, params)[index[1]] for moved in shifted)
        assert actions.grad[index].item() == pytest.approx((up - down).item() / 2e-6, rel=1e-4, abs=1e-6)


def test_smooth_steps_give_the_numbers_of_true_steps(make_market: Make, rules: Rules) -> None:
    market = make_market(160)
    learning, params = scene(market, rules)
    action = torch.rand(G * M, 3, generator=torch.Generator().manual_seed(1)).requires_grad_(True)
    soft_after, soft = environment.smooth_step(learning.state, action, market, params)
    after, done = environment.step(learning.state, action.detach(), market, params)
    torch.testing.assert_close(soft.reward.detach(), done.reward)
    torch.testing.assert_close(soft_after.accounts.units.detach(), after.accounts.units)
    torch.testing.assert_close(soft_after.accounts.cash_usd.detach(), after.accounts.cash_usd)
    assert soft.reward.requires_grad
    assert torch.equal(soft_after.accounts.in_cycle, after.accounts.in_cycle)


def test_wishes_inside_the_band_and_below_zero_still_have_a_slope(make_market: Make, rules: Rules) -> None:
    market = make_market(160)
    learning, params = scene(market, rules.without_protection())
    held = learning.state.accounts.weights(market.close_usd[learning.state.bar])
    for action in (held / params.wish.max_weight + 0.01, torch.full_like(held, -0.5)):
        action.requires_grad_(True)
        environment.smooth_step(learning.state, action, market, params)[1].reward.sum().backward()  # type: ignore[no-untyped-call]
        assert action.grad is not None
        assert (action.grad != 0).any(dim=1).all()


def test_the_critic_at_the_end_is_not_talked_up(make_market: Make, rules: Rules) -> None:
    """The actor's objective has gradients to the policy's mean, and none to the critic's own weights."""
    market = make_market(160)
    learning, params = scene(market, rules)
    way = route(learning.policy, learning.state, market, params, M, 8, learning.generator)
    traded = apg.trade(learning, market, params, way, Behaviour())
    traded.bootstrap.sum().backward(retain_graph=True)  # type: ignore[no-untyped-call]
    assert learning.policy.critic_out.weight.grad is None
    assert learning.policy.actor_out.weight.grad is not None
    assert learning.policy.actor_out.weight.grad.abs().sum() > 0


def test_a_step_up_the_gradient_earns_more(make_market: Make, rules: Rules) -> None:
    """The same segment, traded again after a small step, earns more; the critic still knows nothing."""
    market, hyper = make_market(160), replace(HYPER, epochs=1, max_grad_norm=1e9, no_trade_band=0.0)
    budget, rules = replace(BUDGET, horizon=16), rules.without_protection()

    def reward_after(rate: float) -> float:
        learning, params = scene(market, rules, hyper)
        torch.nn.init.zeros_(learning.policy.critic_out.weight)
        learning.rate = rate
        apg.learn(learning, market, params, hyper, budget)
        again, params = scene(market, rules, hyper)
        return apg.learn(replace(again, policy=learning.policy), market, params, hyper, budget).reward_mean

    assert reward_after(1e-5) > reward_after(0.0)


def test_figures_of_divergence_end_the_training_with_the_reason(make_market: Make, rules: Rules) -> None:
    market = make_market(160)
    learning, params = scene(market, rules)
    torch.nn.init.constant_(learning.policy.actor_out.bias, torch.nan)
    with pytest.raises(TrainingError, match=r"diverged.*learning_rate"):
        apg.learn(learning, market, params, HYPER, BUDGET)
