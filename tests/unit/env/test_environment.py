"""The environment against the portfolio engine, one account at a time, and its ends."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cappuccino.env import environment
from cappuccino.env.environment import Params, State
from cappuccino.env.market import MarketArrays
from cappuccino.env.reward import RewardWeights
from cappuccino.env.wish import Wish
from cappuccino.errors import DataError
from cappuccino.market.interval import Interval
from cappuccino.portfolio import engine
from cappuccino.portfolio.account import Accounts, open_accounts
from cappuccino.risk.rules import Rules
from cappuccino.settings import CostSettings, RiskSettings

RULES = Rules.of(RiskSettings(), CostSettings())
DEMANDING = replace(
    RULES,
    costs=replace(RULES.costs, impact=1.0, spread_bps=4.0),
    protection_scaled=True,
    portfolio_trailing_stop_frac=0.2,
    position_scaled=True,
    stop_loss_frac=0.5,
)
"""Rules that ask for the market's volume and volatility."""
WISH = Wish(max_weight=0.3, cash_reserve=0.0, no_trade_band=0.05)
REWARD = RewardWeights(scale=100.0, concentration=1e-4, turnover=1e-4, time_decay=1e-4)


def wild_market(n_bars: int = 40, seed: int = 0) -> MarketArrays:
    """Three symbols that move by some percent a bar, so that the risk rules fire."""
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(0.02 * rng.standard_normal((n_bars, 3)), axis=0))
    opened = np.roll(close, 1, axis=0) * np.exp(0.002 * rng.standard_normal((n_bars, 3)))
    opened[0] = close[0]
    return MarketArrays(
        Interval.H1,
        torch.zeros(n_bars, 3, 2),
        torch.tensor(opened),
        torch.tensor(close),
        torch.arange(n_bars) * Interval.H1.us,
        torch.tensor(rng.uniform(0, 100, (n_bars, 3))),
    )


def params(first: int = 4, stop: int = 40, episode_bars: int = 1000) -> Params:
    return environment.params_for(((first, stop),), 1, RULES, REWARD, WISH, episode_bars)


def fresh(n: int, market: MarketArrays, chosen: Params, bar: int, bars_left: int = 1000) -> State:
    places = (torch.full((n,), bar), torch.full((n,), bars_left))
    return environment.reset(environment.draw_fresh(torch.Generator().manual_seed(5), *places, market), market, chosen)


@given(st.integers(0, 10_000), st.sampled_from([RULES, DEMANDING]))
@settings(max_examples=15, deadline=None, derandomize=True)
def test_many_accounts_do_what_each_does_alone_in_the_portfolio_engine(seed: int, rules: Rules) -> None:
    market, chosen = wild_market(seed=seed), replace(params(), rules=rules)
    generator = torch.Generator().manual_seed(seed)
    bar = torch.randint(4, 25, (6,), generator=generator)  # every account at another place
    places = environment.draw_fresh(generator, bar, torch.full((6,), 1000), market)
    state = environment.reset(places, market, chosen)
    alone = [state.accounts.select([n]) for n in range(6)]
    for _ in range(10):
        action = torch.rand(6, 3, generator=generator) * 2 - 1
        before = state
        state, done = environment.step(state, action, market, chosen)
        for n in range(6):
            t = int(before.bar[n])
            alone[n], taken = engine.step(
                alone[n],
                WISH.weights(action[[n]], alone[n].weights(market.close_usd[t])),
                market.close_usd[t],
                market.open_usd[t + 1],
                market.close_usd[t + 1],
                (t + 1) * Interval.H1.us,
                (t + 1) * Interval.H1.us,
                rules,
                market.conditions.at(t),
            )
            gain = 100 * torch.log(taken.value_after_usd / taken.value_before_usd)
            torch.testing.assert_close(done.parts.gain[[n]], gain)
            for field in fields(Accounts):
                torch.testing.assert_close(getattr(state.accounts, field.name)[[n]], getattr(alone[n], field.name))


def test_fresh_accounts_are_worth_the_same_and_half_of_them_are_invested_inside_the_cap() -> None:
    market, chosen = wild_market(), params()
    state = fresh(400, market, chosen, 9)
    accounts, mark = state.accounts, market.close_usd[9]
    torch.testing.assert_close(accounts.value(mark), torch.full((400,), 10_000.0, dtype=torch.float64))
    assert 0.4 < accounts.in_cycle.double().mean() < 0.6
    assert torch.equal(accounts.in_cycle, (accounts.units > 0).any(dim=1))
    assert accounts.weights(mark).max() <= 0.3 + 1e-12
    assert (accounts.cash_usd >= 0).all()
    assert (accounts.peak_price_usd >= mark * (accounts.units > 0)).all()


def test_equal_generators_give_equal_accounts() -> None:
    market, chosen = wild_market(), params()
    first, second = fresh(8, market, chosen, 9), fresh(8, market, chosen, 9)
    assert torch.equal(first.accounts.units, second.accounts.units)


def test_an_episode_is_cut_before_a_fill_would_leave_the_range() -> None:
    market, chosen = wild_market(), params(stop=12)
    places, left = environment.draw_places(torch.Generator().manual_seed(0), 500, chosen)
    assert int(left[places == 8][0]) == 3
    state = fresh(2, market, chosen, 8, bars_left=3)
    cuts = []
    while not any(cuts):
        state, done = environment.step(state, torch.zeros(2, 3), market, chosen)
        cuts.append(bool(done.truncated.all()))
    assert cuts == [False, False, True]  # decided at 8, 9 and 10; filled at 11, the last of [4, 12)
    assert state.bar.tolist() == [11, 11]


def test_nothing_after_the_range_is_read() -> None:
    chosen = params(stop=12)
    market, poisoned = wild_market(), wild_market()
    poisoned.close_usd[12:] = torch.nan
    poisoned.open_usd[12:] = torch.nan
    for one in (market, poisoned):
        environment.step(fresh(2, one, chosen, 10), torch.ones(2, 3), one, chosen)
    places = environment.draw_places(torch.Generator().manual_seed(0), 500, chosen)[0]
    assert (int(places.min()), int(places.max())) == (4, 10)


@given(st.integers(0, 10_000), st.integers(1, 40))
def test_no_episode_crosses_the_join_of_two_segments(seed: int, episode_bars: int) -> None:
    """The bar after a join is no neighbour: a place may start anywhere inside a segment and is cut at its end."""
    segments = ((4, 12), (20, 23), (30, 60))
    chosen = environment.params_for(segments, 2, RULES, REWARD, WISH, episode_bars)
    bar, left = environment.draw_places(torch.Generator().manual_seed(seed), 300, chosen)
    inside = [(bar > start) & (bar + left <= stop - 1) for start, stop in segments]  # a window of 2, a fill at the next
    assert torch.stack(inside).any(0).all()
    assert (left >= 1).all()
    assert (left <= episode_bars).all()


def test_places_of_all_segments_are_drawn_alike() -> None:
    chosen = environment.params_for(((0, 12), (50, 72)), 2, RULES, REWARD, WISH, 5)
    bar, _ = environment.draw_places(torch.Generator().manual_seed(0), 6000, chosen)
    found, counts = bar.unique(return_counts=True)
    assert found.tolist() == [*range(1, 11), *range(51, 71)]
    assert counts.min() > 140
    assert counts.max() < 260


def test_an_episode_is_cut_at_its_length() -> None:
    market, chosen = wild_market(), params()
    _, done = environment.step(fresh(1, market, chosen, 8, bars_left=1), torch.zeros(1, 3), market, chosen)
    assert done.truncated.item()
    assert not done.terminated.item()


def test_ruin_terminates_and_is_not_a_cut() -> None:
    market, chosen = wild_market(), params()
    market.open_usd[9:] *= 0.01
    market.close_usd[9:] *= 0.01
    uncapped = replace(chosen, wish=Wish(1.0, 0.0, 0.0), rules=RULES.without_protection())
    flat = open_accounts(1, 3, 10_000.0)
    rich = replace(flat, cash_usd=flat.cash_usd * 0, units=1000 / market.close_usd[[8]])
    state = State(rich, torch.tensor([8]), torch.tensor([1]), rich.value(market.close_usd[8]))
    _, done = environment.step(state, torch.ones(1, 3), market, uncapped)
    assert done.terminated.item()
    assert not done.truncated.item()


def test_only_ended_accounts_start_again() -> None:
    market, chosen = wild_market(), params()
    state = fresh(3, market, chosen, 8)
    state, _ = environment.step(state, torch.ones(3, 3), market, chosen)
    ended = torch.tensor([False, True, False])
    places = (torch.tensor([20, 20, 20]), torch.tensor([7, 7, 7]))
    fresh_ones = environment.draw_fresh(torch.Generator().manual_seed(1), *places, market)
    after = environment.restart(ended, fresh_ones, state, market, chosen)
    assert after.bar.tolist() == [9, 20, 9]
    assert after.bars_left.tolist() == [999, 7, 999]
    assert torch.equal(after.accounts.units[[0, 2]], state.accounts.units[[0, 2]])
    assert after.accounts.value(market.close_usd[after.bar])[1].item() == pytest.approx(10_000)


def test_a_range_shorter_than_a_window_and_a_fill_is_refused() -> None:
    assert environment.params_for(((0, 6),), 5, RULES, REWARD, WISH, 10).spans == ((4, 4),)
    with pytest.raises(DataError, match="6 are needed"):
        environment.params_for(((0, 9), (20, 25)), 5, RULES, REWARD, WISH, 10)


def test_gradients_with_impact_are_finite_where_little_or_nothing_is_wanted() -> None:
    market, chosen = wild_market(), replace(params(), rules=DEMANDING)
    for wish in (-0.5, 0.0, 1e-7, 0.4):
        action = torch.full((8, 3), wish, dtype=torch.float64, requires_grad=True)
        _, done = environment.smooth_step(fresh(8, market, chosen, 9), action, market, chosen)
        done.reward.sum().backward()  # type: ignore[no-untyped-call]
        assert action.grad is not None
        assert torch.isfinite(action.grad).all()
        assert action.grad.any()


def test_a_market_without_volumes_refuses_rules_that_need_them() -> None:
    market, chosen = replace(wild_market(), volume=None), replace(params(), rules=DEMANDING)
    with pytest.raises(DataError, match="need volumes"):
        environment.step(fresh(2, market, chosen, 9), torch.zeros(2, 3), market, chosen)
