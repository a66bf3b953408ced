"""Rollouts: what is stored is what the policy would say and the environment would do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import TypeVar

import pytest
import torch

from cappuccino.env import environment
from cappuccino.env.environment import Params, State
from cappuccino.env.market import MarketArrays
from cappuccino.risk.rules import Rules
from cappuccino.rl.apg import trade
from cappuccino.rl.hyper import Hyper
from cappuccino.rl.learning import Learning
from cappuccino.rl.model import Policy
from cappuccino.rl.places import plan, sights
from cappuccino.rl.rollout import Behaviour, Rollout, follow, route
from cappuccino.rl.runner import policy_shape

G, M, T, LOOKBACK = 3, 4, 20, 5
Collected = tuple[Policy, MarketArrays, Params, State, Rollout, Behaviour]


@pytest.fixture(scope="module")
def collected(make_market: Callable[..., MarketArrays], rules: Rules) -> Collected:
    market, hyper = make_market(80), Hyper(width=16, time_decay=1e-4)
    params = environment.params_for(((10, 60),), LOOKBACK, rules, hyper.reward, hyper.wish, episode_bars=15)
    generator = torch.Generator().manual_seed(0)
    policy = Policy(policy_shape(3, 3, LOOKBACK, hyper), generator)
    places = environment.draw_places(generator, G, params)
    bar, left = (place.repeat_interleave(M) for place in places)
    start = environment.reset(environment.draw_fresh(generator, bar, left, market), market, params)
    way = route(policy, start, market, params, M, T, generator)
    state, rollout, behaviour = follow(policy, start, market, params, way)
    return policy, market, params, state, rollout, behaviour


def test_accounts_of_a_place_stay_together(collected: Collected) -> None:
    _, _, params, state, rollout, _ = collected
    assert rollout.at.shape == (T, G)
    assert rollout.at.max() < len(rollout.seen)
    assert torch.equal(state.bar.reshape(G, M), state.bar[::M, None].expand(G, M))
    assert (state.bar <= params.spans[0][1]).all()


def test_stored_values_and_densities_are_the_policys_own(collected: Collected) -> None:
    """The critic and the density of a rollout, computed again from what it stored, in one batch."""
    policy, _, _, _, rollout, _ = collected
    code = policy.encode_market(rollout.seen[rollout.at.flatten()])
    output = policy.act(code, rollout.account.reshape(T * G, M, -1))
    torch.testing.assert_close(output.value.reshape(T, -1), rollout.value)
    density = output.log_prob(rollout.action.reshape(T * G, M, -1))
    torch.testing.assert_close(density.reshape(T, -1), rollout.log_prob)


def test_the_next_value_is_the_following_value_except_where_an_episode_ended(collected: Collected) -> None:
    rollout = collected[4]
    ended = (rollout.terminated | rollout.truncated)[:-1]
    assert torch.equal(rollout.next_value[:-1][~ended], rollout.value[1:][~ended])
    assert ended.any()
    assert (rollout.next_value[:-1][ended] != rollout.value[1:][ended]).all()


def test_the_figures_are_those_of_the_steps(collected: Collected) -> None:
    rollout, figures = collected[4], collected[5].read()
    parts = ("gain", "concentration", "cash_shortfall", "turnover_cost", "time_decay", "variance")
    assert figures["time_decay"] < 0
    assert figures["reward_mean"] == pytest.approx(sum(figures[part] for part in parts))
    assert figures["reward_mean"] == pytest.approx(rollout.reward.mean().item(), abs=1e-6)
    cash = rollout.account[..., 2 * 3]
    assert figures["exposure_frac"] == pytest.approx(1 - cash.mean().item(), abs=1e-6)
    assert figures["saturation_frac"] == pytest.approx((rollout.action.abs() >= 1).float().mean().item())
    assert 0 < figures["turnover_frac"] < 0.5
    assert 0 < figures["action_spread"] < 0.1


def test_the_way_is_known_before_any_trading(collected: Collected) -> None:
    """Places go on bar by bar until they are cut, inside the range."""
    params = collected[2]
    bar, left = torch.tensor([20, params.spans[0][1]]), torch.tensor([3, 1])
    way = plan(torch.Generator().manual_seed(4), bar, left, 4, params)
    assert way.bars[:3, 0].tolist() == [20, 21, 22]
    assert way.cut[:3, 0].tolist() == [False, False, True]
    assert way.is_cut[:3] == (True, False, True)
    assert way.next_bars_left[:2, 0].tolist() == [2, 1]
    assert torch.equal(way.next_bars[:-1], way.bars[1:])
    assert params.spans[0][0] <= way.bars.min()
    assert way.next_bars.max() <= params.spans[0][1]


def test_every_bar_is_seen_once_and_found_again(collected: Collected) -> None:
    policy, market, params, _, _, _ = collected
    bar, left = torch.tensor([20, 21]), torch.tensor([9, 2])
    way = plan(torch.Generator().manual_seed(4), bar, left, 5, params)
    sight = sights(policy, market, way)
    for found, bars in ((sight.at, way.bars), (sight.after, way.bars + 1), (sight.restart, way.next_bars)):
        windows = market.windows(bars.flatten(), LOOKBACK)
        assert torch.equal(sight.seen[found.flatten()], policy.see(windows))
    assert len(torch.unique(sight.seen, dim=0)) == len(sight.seen)


T_ = TypeVar("T_")


def there(thing: T_) -> T_:
    """Return a dataclass of tensors on a device that is no CPU: they know shape and type, but no numbers.

    Mixing devices and reading a number are errors there, as they are a crash and a wait on a real card.
    """
    if isinstance(thing, torch.Tensor):
        return torch.empty(thing.shape, dtype=thing.dtype, device="meta")  # type: ignore[return-value]
    if is_dataclass(thing) and not isinstance(thing, type):
        return type(thing)(*(there(getattr(thing, field.name)) for field in fields(thing)))
    return tuple(map(there, thing)) if isinstance(thing, tuple) else thing  # type: ignore[return-value]


@pytest.mark.parametrize("learner", ["ppo", "apg"])
@pytest.mark.parametrize("account_depth", [0, 2])
def test_nothing_is_read_from_the_device_between_steps(collected: Collected, learner: str, account_depth: int) -> None:
    _, market, params, state, _, _ = collected
    generator = torch.Generator().manual_seed(1)
    shape = policy_shape(3, 3, LOOKBACK, Hyper(width=16, account_depth=account_depth))
    policy = Policy(shape, generator, torch.bfloat16)
    way = route(policy, state, market, params, M, 25, generator)
    assert any(way.fresh)
    for module in policy.modules():
        for name, weights in module.named_parameters(recurse=False):
            setattr(module, name, torch.nn.Parameter(there(weights)))
    away, afar, far = there(market), there(state), there(way)
    if learner == "ppo":
        after, rollout, _ = follow(policy, afar, away, params, far)
        assert rollout.reward.device.type == after.bar.device.type == "meta"
    else:
        learning = Learning(policy, torch.optim.SGD(policy.parameters()), generator, afar, rate=0.0)
        traded = trade(learning, away, params, far, Behaviour())
        assert traded.reward.device.type == learning.state.bar.device.type == "meta"


def test_reading_a_number_from_that_device_would_be_noticed() -> None:
    with pytest.raises(RuntimeError):
        float(there(torch.ones(3)).sum())
    with pytest.raises(RuntimeError):
        there(torch.ones(3)) + torch.ones(3)
