"""Rollouts: what is stored is what the policy would say and the environment would do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from cappuccino.env import environment
from cappuccino.env.environment import Params, State
from cappuccino.env.market import MarketArrays
from cappuccino.risk.rules import Rules
from cappuccino.rl.apg import trade
from cappuccino.rl.hyper import Hyper
from cappuccino.rl.learning import Budget, Learning
from cappuccino.rl.model import Policy
from cappuccino.rl.places import plan, sights
from cappuccino.rl.rollout import Behaviour, Rollout, collect, places_of
from cappuccino.rl.runner import policy_shape

G, M, T, LOOKBACK = 3, 4, 20, 5
Collected = tuple[Policy, MarketArrays, Params, State, Rollout, Behaviour]


@pytest.fixture(scope="module")
def collected(make_market: Callable[..., MarketArrays], rules: Rules) -> Collected:
    market, hyper = make_market(80), Hyper(width=16, time_decay=1e-4)
    params = environment.params_for((10, 60), LOOKBACK, rules, hyper.reward, hyper.wish, episode_bars=15)
    generator = torch.Generator().manual_seed(0)
    policy = Policy(policy_shape(3, 3, LOOKBACK, hyper), generator)
    places = environment.draw_places(generator, G, params)
    bar, left = (place.repeat_interleave(M) for place in places)
    start = environment.reset(generator, bar, left, market, params)
    state, rollout, behaviour = collect(policy, start, market, params, n_accounts=M, horizon=T, generator=generator)
    return policy, market, params, state, rollout, behaviour


def test_accounts_of_a_place_stay_together(collected: Collected) -> None:
    _, _, params, state, rollout, _ = collected
    assert rollout.at.shape == (T, G)
    assert rollout.at.max() < len(rollout.seen)
    assert torch.equal(state.bar.reshape(G, M), state.bar[::M, None].expand(G, M))
    assert (state.bar <= params.last_bar).all()


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
    bar, left = torch.tensor([20, params.last_bar]), torch.tensor([3, 9])
    way = plan(torch.Generator().manual_seed(4), bar, left, 4, params)
    assert way.bars[:3, 0].tolist() == [20, 21, 22]
    assert way.cut[:3, 0].tolist() == [False, False, True]
    assert way.is_cut[:3] == (True, False, True)
    assert way.next_bars_left[:2, 0].tolist() == [2, 1]
    assert torch.equal(way.next_bars[:-1], way.bars[1:])
    assert params.first_bar <= way.bars.min()
    assert way.next_bars.max() <= params.last_bar


def test_every_bar_is_seen_once_and_found_again(collected: Collected) -> None:
    policy, market, params, _, _, _ = collected
    bar, left = torch.tensor([20, 21]), torch.tensor([9, 2])
    way = plan(torch.Generator().manual_seed(4), bar, left, 5, params)
    sight = sights(policy, market, way)
    for found, bars in ((sight.at, way.bars), (sight.after, way.bars + 1), (sight.restart, way.next_bars)):
        windows = market.windows(bars.flatten(), LOOKBACK)
        assert torch.equal(sight.seen[found.flatten()], policy.see(windows))
    assert len(torch.unique(sight.seen, dim=0)) == len(sight.seen)


class HostReads(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the operations that make a host wait for its device."""

    READS = ("aten._local_scalar_dense", "aten.nonzero", "aten.equal", "aten.is_nonzero", "aten.unique")

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.n: int = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.n += str(func).startswith(self.READS)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("learner", ["ppo", "apg"])
def test_nothing_is_read_from_the_device_between_steps(collected: Collected, learner: str) -> None:
    """Three times the steps, the same number of host reads; cuts and restarts included."""
    policy, market, params, state, _, _ = collected

    def n_reads(horizon: int) -> int:
        generator = torch.Generator().manual_seed(1)
        budget = Budget(updates=1, n_groups=G, n_accounts=M, horizon=horizon)
        with HostReads() as reads:
            if learner == "ppo":
                collect(policy, state, market, params, n_accounts=M, horizon=horizon, generator=generator)
            else:
                way = plan(generator, *places_of(state, M), horizon, params)
                optimizer = torch.optim.SGD(policy.parameters())
                trade(Learning(policy, optimizer, generator, state), market, params, budget, way, Behaviour())
        return reads.n

    assert n_reads(30) == n_reads(10) > 0
