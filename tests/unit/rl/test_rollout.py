"""Rollouts: what is stored is what the policy would say and the environment would do."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from cappuccino.env import environment
from cappuccino.env.environment import Params, State
from cappuccino.env.market import MarketArrays
from cappuccino.risk.rules import Rules
from cappuccino.rl.hyper import Hyper
from cappuccino.rl.model import Policy
from cappuccino.rl.rollout import Rollout, collect, plan
from cappuccino.rl.runner import policy_shape

G, M, T, LOOKBACK = 3, 4, 20, 5
Collected = tuple[Policy, MarketArrays, Params, State, Rollout]


@pytest.fixture(scope="module")
def collected(make_market: Callable[..., MarketArrays], rules: Rules) -> Collected:
    market, hyper = make_market(80), Hyper(width=16, time_decay=1e-4)
    params = environment.params_for((10, 60), LOOKBACK, rules, hyper.reward, hyper.wish, episode_bars=15)
    generator = torch.Generator().manual_seed(0)
    policy = Policy(policy_shape(3, 3, LOOKBACK, hyper), generator)
    places = environment.draw_places(generator, G, params)
    start = environment.reset(generator, *(p.repeat_interleave(M) for p in places), market, params)
    state, rollout = collect(policy, start, market, params, n_accounts=M, horizon=T, generator=generator)
    return policy, market, params, state, rollout


def test_accounts_of_a_place_stay_together_and_inside_the_range(collected: Collected) -> None:
    _, _, params, state, rollout = collected
    assert rollout.bars.shape == (T, G)
    assert (rollout.bars >= params.first_bar).all()
    assert (rollout.bars <= params.last_bar).all()
    assert torch.equal(state.bar.reshape(G, M), state.bar[::M, None].expand(G, M))


def test_places_go_on_bar_by_bar_until_they_are_cut(collected: Collected) -> None:
    _, _, _, _, rollout = collected
    cut = rollout.truncated.reshape(T, G, M).all(dim=2)
    moved_on = rollout.bars[1:] == rollout.bars[:-1] + 1
    assert cut.any()
    assert moved_on[~cut[:-1]].all()


def test_stored_values_and_densities_are_the_policys_own(collected: Collected) -> None:
    """The critic and the density of a rollout, computed again from what it stored, in one batch."""
    policy, market, _, _, rollout = collected
    code = policy.encode_market(market.windows(rollout.bars.flatten(), LOOKBACK))
    output = policy.act(code, rollout.account.reshape(T * G, M, -1))
    torch.testing.assert_close(output.value.reshape(T, -1), rollout.value)
    density = output.log_prob(rollout.action.reshape(T * G, M, -1))
    torch.testing.assert_close(density.reshape(T, -1), rollout.log_prob)


def test_the_next_value_is_the_following_value_except_where_an_episode_ended(collected: Collected) -> None:
    rollout = collected[-1]
    ended = (rollout.terminated | rollout.truncated)[:-1]
    assert torch.equal(rollout.next_value[:-1][~ended], rollout.value[1:][~ended])
    assert (rollout.next_value[:-1][ended] != rollout.value[1:][ended]).all()


def test_parts_add_up_to_the_reward(collected: Collected) -> None:
    rollout = collected[-1]
    assert rollout.part_means["time_decay"] < 0
    assert sum(rollout.part_means.values()) == pytest.approx(rollout.reward.mean().item(), abs=1e-6)


def test_the_way_is_known_before_any_trading(collected: Collected) -> None:
    """Planning alone, with the same generator state, visits the bars that trading visited."""
    _, _, params, _, _ = collected
    bar, left = torch.tensor([20, params.last_bar]), torch.tensor([3, 9])
    way = plan(torch.Generator().manual_seed(4), bar, left, 4, params)
    assert way.bars[:3, 0].tolist() == [20, 21, 22]
    assert way.next_bars_left[:2, 0].tolist() == [2, 1]
    assert torch.equal(way.next_bars[:-1], way.bars[1:])
    assert way.next_bars.max() <= params.last_bar
