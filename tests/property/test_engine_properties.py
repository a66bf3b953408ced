"""What holds for every market, every wish and every setting of the rules."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cappuccino.portfolio import engine
from cappuccino.portfolio.account import FRESH, Accounts, open_accounts
from cappuccino.portfolio.conditions import Conditions
from cappuccino.portfolio.costs import Costs
from cappuccino.risk.rules import Limits, Rule, Rules
from tests.unit.portfolio.oracle import Oracle

HOUR_US = 3_600_000_000
N_BARS = 60

off_or = lambda *values: st.sampled_from((0.0, *values))  # noqa: E731 - a strategy with a short name
every_rules = st.builds(
    Rules,
    costs=st.builds(
        Costs,
        fee_bps=st.sampled_from((0.0, 25.0, 100.0)),
        slippage_bps=st.sampled_from((0.0, 5.0, 50.0)),
        min_order_usd=st.sampled_from((0.0, 10.0, 200.0)),
        spread_bps=st.sampled_from((0.0, 8.0)),
        impact=st.sampled_from((0.0, 0.5, 2.0)),
        maker_fee_bps=st.sampled_from((0.0, 15.0)),
        maker_share_frac=st.sampled_from((0.0, 0.7, 1.0)),
    ),
    portfolio_trailing_stop_frac=off_or(0.015, 0.05),
    profit_take_frac=off_or(0.01, 0.03),
    move_to_cash_frac=off_or(0.02, 0.05),
    cash_us=st.just(6 * HOUR_US),
    stop_loss_frac=off_or(0.02, 0.1),
    position_trailing_stop_frac=off_or(0.01, 0.08),
    max_weight_frac=st.sampled_from((0.3, 0.7, 1.0)),
    dampening=st.sampled_from((0.3, 0.8, 1.0)),
)
every_limits = st.builds(
    Limits,
    daily_loss_frac=off_or(0.005, 0.02),
    drawdown_frac=off_or(0.03, 0.15),
    losing_trades=st.sampled_from((0, 2, 5)),
    pause_us=st.sampled_from((3 * HOUR_US, 24 * HOUR_US)),
    max_order_frac=off_or(0.1, 0.3),
    max_order_usd=off_or(400.0),
    max_buys_per_day=st.sampled_from((0, 4, 20)),
    correlated_from=st.sampled_from((0.0, 0.5, 0.8)),
    max_correlated_frac=off_or(0.4, 0.9),
)
filtered_rules = st.builds(
    dataclasses.replace,
    every_rules,
    limits=every_limits,
    min_conviction=off_or(0.5, 0.6, 0.7),
    sharpe_bars=st.sampled_from((10, 100)),
)
"""Also limits and conviction."""
by_asset = st.sampled_from((0.0, 0.03, 0.1))
varied_rules = st.builds(
    dataclasses.replace,
    every_rules,
    stop_loss_frac=off_or(1.5) | st.tuples(by_asset, by_asset, by_asset).map(torch.tensor).map(torch.Tensor.double),
    position_trailing_stop_frac=off_or(1.0),
    portfolio_trailing_stop_frac=off_or(0.5, 1.0),
    profit_take_frac=off_or(0.5),
    move_to_cash_frac=off_or(1.0),
    protection_scaled=st.just(True),
    position_scaled=st.booleans(),
)
"""Multiples of volatility, and thresholds of their own for assets."""
seeds = st.integers(0, 2**32 - 1)
quick = settings(max_examples=25, deadline=None, derandomize=True)


@dataclasses.dataclass
class Market:
    """Random bars of three assets, and what N agents want on each: often nothing, sometimes too much."""

    close: torch.Tensor
    open: torch.Tensor
    wanted: torch.Tensor
    conditions: Conditions
    """Unlike the prices, so that mixing up places shows; now and then a market that stands still."""
    agreement: torch.Tensor


def market(seed: int, n: int = 1, n_assets: int = 3) -> Market:
    rng = np.random.default_rng(seed)
    steps = rng.normal(0, rng.choice([0.003, 0.02]), (N_BARS, n_assets))
    close = 100 * np.exp(np.cumsum(steps, axis=0))
    opens = np.vstack([close[:1], close[:-1]]) * np.exp(rng.normal(0, 0.002, close.shape))
    wanted = rng.dirichlet(np.ones(n_assets), (N_BARS, n)) * rng.uniform(0.2, 1.1, (N_BARS, n, 1))
    wanted = np.where(rng.random((N_BARS, n, n_assets)) < 0.3, 0.0, wanted)
    wanted = np.where(rng.random((N_BARS, n, 1)) < 0.15, 0.0, wanted)
    repeat = rng.random(N_BARS) < 0.6  # agents keep their minds for a while
    for t in range(1, N_BARS):
        if repeat[t]:
            wanted[t] = wanted[t - 1]
    volume = rng.uniform(1e4, 1e6, (N_BARS, n_assets)) * (rng.random((N_BARS, n_assets)) > 0.05)
    sigma = rng.uniform(0.01, 0.06, (N_BARS, n_assets)) * (rng.random((N_BARS, n_assets)) > 0.05)
    restlessness = rng.lognormal(0, 0.5, (N_BARS, n_assets)) * (rng.random((N_BARS, n_assets)) > 0.05)
    correlation = rng.uniform(-0.2, 1, (N_BARS, n_assets))
    conditions = Conditions(*(torch.tensor(figure) for figure in (volume, sigma, restlessness, correlation)))
    agreement = torch.tensor(rng.integers(0, 11, (N_BARS, n, n_assets)) / 10)
    return Market(torch.tensor(close), torch.tensor(opens), torch.tensor(wanted), conditions, agreement)


def walk(bars: Market, rules: Rules, accounts: Accounts, start: int = 0):
    """Yield (accounts before, accounts after, step, bar) of each bar from `start` on."""
    for t in range(start, N_BARS - 1):
        now_us = t * HOUR_US
        after, step = engine.step(
            accounts,
            bars.wanted[t],
            bars.close[t],
            bars.open[t + 1],
            bars.close[t + 1],
            now_us,
            now_us,
            rules,
            bars.conditions.at(t),
            bars.agreement[t],
        )
        yield accounts, after, step, t
        accounts = after


@given(seeds, every_rules | varied_rules | filtered_rules)
@settings(quick, max_examples=60)
def test_the_engine_agrees_with_one_account_in_plain_python(seed, rules):
    bars = market(seed)
    oracle = Oracle.opened(rules, 5_000.0, 3)
    for _, after, step, t in walk(bars, rules, open_accounts(1, 3, 5_000.0)):
        fees, slippages, impacts, pnls, fired = oracle.step(
            bars.wanted[t, 0].tolist(),
            bars.close[t].tolist(),
            bars.open[t + 1].tolist(),
            bars.close[t + 1].tolist(),
            t * HOUR_US,
            bars.conditions.daily_volume_usd[t].tolist(),
            bars.conditions.daily_volatility_frac[t].tolist(),
            bars.conditions.restlessness[t].tolist(),
            bars.conditions.market_correlation[t].tolist(),
            bars.agreement[t, 0].tolist(),
        )
        near = {"rel": 1e-9, "abs": 1e-7}
        assert Rule(step.rules.item()) == Rule(fired)
        assert after.cash_usd.item() == pytest.approx(oracle.cash, **near)
        assert after.units[0].tolist() == pytest.approx(oracle.units, **near)
        assert after.average_entry_usd[0].tolist() == pytest.approx(oracle.entry, **near)
        assert after.peak_price_usd[0].tolist() == pytest.approx(oracle.peak_price, **near)
        assert after.cycle_base_usd.item() == pytest.approx(oracle.cycle_base, **near)
        assert after.cycle_peak_usd.item() == pytest.approx(oracle.cycle_peak, **near)
        flags = (after.in_cycle.item(), after.took_profit.item(), after.out_until_us.item())
        assert flags == (oracle.in_cycle, oracle.took_profit, oracle.out_until_us)
        for name, fresh in FRESH.items():
            expected = getattr(oracle, name)
            assert getattr(after, name).item() == (pytest.approx(expected, **near) if fresh == 0.0 else expected), name
        assert step.fills.fee_usd[0].tolist() == pytest.approx(fees, **near)
        assert step.fills.slippage_usd[0].tolist() == pytest.approx(slippages, **near)
        assert step.fills.impact_usd[0].tolist() == pytest.approx(impacts, **near)
        assert step.fills.realized_pnl_usd[0].tolist() == pytest.approx(pnls, **near)


def test_these_markets_make_every_rule_fire():
    layers = Rules(Costs(25.0, 5.0, 10.0), 0.05, 0.01, 0.03, 6 * HOUR_US, 0.02, 0.03, 0.3, 0.8)
    limits = Limits(0.01, 0.02, 3, 12 * HOUR_US, 0.2, 0.0, 10, 0.5, 0.4)
    fired = 0
    for seed in range(3):
        for rules in (layers, dataclasses.replace(layers, limits=limits, min_conviction=0.5)):
            for _, _, step, _ in walk(market(seed, n=8), rules, open_accounts(8, 3, 5_000.0)):
                for flags in step.rules.tolist():
                    fired |= flags
    assert Rule(fired) == sum(Rule)


@given(seeds, every_rules)
@quick
def test_value_changes_by_prices_and_costs_and_nothing_else(seed, rules):
    bars = market(seed, n=4)
    for before, after, step, t in walk(bars, rules, open_accounts(4, 3, 5_000.0)):
        at_open = before.value(bars.open[t + 1])
        costs = (step.fills.fee_usd + step.fills.slippage_usd).sum(-1)
        torch.testing.assert_close(after.value(bars.open[t + 1]), at_open - costs, rtol=1e-10, atol=1e-8)


@given(seeds, every_rules)
@quick
def test_realised_profits_of_a_round_trip_are_all_of_its_profit(seed, rules):
    bars, start = market(seed, n=4), open_accounts(4, 3, 5_000.0)
    realised = torch.zeros(4, dtype=torch.float64)
    for _, after, step, _ in walk(bars, rules, start):
        realised = realised + step.fills.realized_pnl_usd.sum(-1)
        cost_basis = (after.units * after.average_entry_usd).sum(-1) * (1 + rules.costs.fee_frac)
        torch.testing.assert_close(after.cash_usd + cost_basis, 5_000.0 + realised, rtol=1e-9, atol=1e-6)


@given(seeds, every_rules)
@quick
def test_cash_and_units_are_never_negative(seed, rules):
    for _, after, _, _ in walk(market(seed, n=4), rules, open_accounts(4, 3, 50.0)):
        assert (after.cash_usd >= 0).all()
        assert (after.units >= 0).all()


@given(seeds, every_rules | varied_rules | filtered_rules)
@quick
def test_a_batch_gives_what_each_account_gives_alone(seed, rules):
    bars = market(seed, n=3)
    together = [after for _, after, _, _ in walk(bars, rules, open_accounts(3, 3, 5_000.0))][-1]
    for n in range(3):
        own = dataclasses.replace(bars, wanted=bars.wanted[:, n : n + 1], agreement=bars.agreement[:, n : n + 1])
        alone = [after for _, after, _, _ in walk(own, rules, open_accounts(1, 3, 5_000.0))][-1]
        assert alone.to_rows() == together.select([n]).to_rows()


@given(seeds, every_rules | varied_rules | filtered_rules)
@quick
def test_no_rule_blocks_an_order_that_lowers_risk(seed, rules):
    bars = market(seed, n=4)
    undampened = dataclasses.replace(rules, dampening=1.0)
    for before, after, step, t in walk(bars, undampened, open_accounts(4, 3, 5_000.0)):
        free = engine.decide(before, bars.wanted[t], bars.close[t], 0, rules.without_protection())
        ruled = engine.decide(before, bars.wanted[t], bars.close[t], t * HOUR_US, undampened, bars.conditions.at(t))
        assert (ruled.units <= free.units).all()
        # What a rule sells is sold in full: not too small, not waiting for cash.
        sold = torch.where(ruled.protective, -step.fills.units, 0.0)
        assert torch.equal(sold, torch.where(ruled.protective, -ruled.units, 0.0))
        assert (after.units <= before.units)[ruled.protective].all()


@given(seeds, filtered_rules)
@quick
def test_limits_and_conviction_only_ever_make_buys_smaller(seed, rules):
    bars = market(seed, n=4)
    for before, _, _, t in walk(bars, rules, open_accounts(4, 3, 5_000.0)):
        moment = (before, bars.wanted[t], bars.close[t], t * HOUR_US)
        free = engine.decide(*moment, rules.for_training(), bars.conditions.at(t))
        ruled = engine.decide(*moment, rules, bars.conditions.at(t), bars.agreement[t])
        sales = free.units <= 0
        assert torch.equal(ruled.units[sales], free.units[sales])
        assert (ruled.units <= free.units).all()
        assert (ruled.units[~sales] >= 0).all()
        assert torch.equal(ruled.protective, free.protective)
        assert ((ruled.rules & free.rules) == free.rules).all()
        has_changed = (ruled.units < free.units).any(1)
        assert torch.equal(has_changed, ruled.rules > free.rules)


@given(seeds, filtered_rules)
@quick
def test_what_was_observed_before_is_decided_alike(seed, rules):
    bars = market(seed, n=2)
    for before, _, _, t in walk(bars, rules, open_accounts(2, 3, 5_000.0)):
        moment = (bars.close[t], t * HOUR_US, rules)
        once = engine.observe(before, *moment)
        assert engine.observe(once, *moment).to_rows() == once.to_rows()
        market_then = (bars.conditions.at(t), bars.agreement[t])
        seen, unseen = (engine.decide(who, bars.wanted[t], *moment, *market_then) for who in (once, before))
        assert torch.equal(seen.units, unseen.units)
        assert torch.equal(seen.rules, unseen.rules)


@given(seeds, filtered_rules)
@quick
def test_a_step_is_what_a_trader_does_in_parts(seed, rules):
    bars = market(seed, n=2)
    for before, after, step, t in walk(bars, rules, open_accounts(2, 3, 5_000.0)):
        conditions, now_us = bars.conditions.at(t), t * HOUR_US
        accounts = engine.observe(before, bars.close[t], now_us, rules)
        orders = engine.decide(accounts, bars.wanted[t], bars.close[t], now_us, rules, conditions, bars.agreement[t])
        planned = engine.plan(accounts, orders, bars.open[t + 1], rules, conditions)
        fills = engine.fills_of(accounts, planned, bars.open[t + 1], rules)
        accounts = engine.book(accounts, fills, orders.rules, bars.open[t + 1], now_us, rules)
        assert engine.mark(accounts, bars.close[t + 1]).to_rows() == after.to_rows()
        assert torch.equal(fills.units, step.fills.units)


@given(seeds, filtered_rules, st.integers(1, N_BARS - 2))
@quick
def test_an_account_that_was_stored_goes_on_as_if_it_had_not_been(seed, rules, stored_at):
    bars = market(seed, n=2)
    whole = [after for _, after, _, _ in walk(bars, rules, open_accounts(2, 3, 5_000.0))]
    stored = Accounts.from_rows(json.loads(json.dumps(whole[stored_at - 1].to_rows())))
    *_, (_, last, _, _) = walk(bars, rules, stored, stored_at)
    assert last.to_rows() == whole[-1].to_rows()


@given(seeds, every_rules | varied_rules)
@quick
def test_a_liquidated_account_is_flat_and_its_stop_does_not_fire_twice(seed, rules):
    liquidation = Rule.TRAILING_STOP.value | Rule.MOVE_TO_CASH.value
    was_liquidated = torch.zeros(4, dtype=torch.bool)
    for _, after, step, _ in walk(market(seed, n=4), rules, open_accounts(4, 3, 5_000.0)):
        liquidated = (step.rules & liquidation) > 0
        assert not (liquidated & was_liquidated).any()
        assert not after.units[liquidated].any()
        assert not after.in_cycle[liquidated].any()
        was_liquidated = liquidated


@given(seeds, every_rules | varied_rules)
@quick
def test_nobody_buys_while_move_to_cash_stays_out(seed, rules):
    for before, _, step, t in walk(market(seed, n=4), rules, open_accounts(4, 3, 5_000.0)):
        out = before.out_until_us > t * HOUR_US
        assert not (step.fills.units[out] > 0).any()


@given(seeds, every_rules)
@quick
def test_an_agent_never_buys_beyond_the_weight_cap(seed, rules):
    no_drift = market(seed, n=4)
    no_drift.open[1:] = no_drift.close[:-1]  # a fill at the decision's price: the cap holds to the cent
    for _, after, step, t in walk(no_drift, rules, open_accounts(4, 3, 5_000.0)):
        bought = step.fills.units > 0
        value = step.value_before_usd.unsqueeze(-1).expand(4, 3)
        worth = after.units * no_drift.close[t]
        assert (worth[bought] <= value[bought] * rules.max_weight_frac + 1e-6).all()


@given(seeds, st.lists(every_rules, min_size=3, max_size=3), st.booleans())
@quick
def test_accounts_with_thresholds_of_their_own_do_what_each_does_alone(seed, each, position_scaled):
    costs, shared = each[0].costs, {"dampening": 0.8, "max_weight_frac": 0.7, "cash_us": 6 * HOUR_US}
    each = [dataclasses.replace(one, costs=costs, position_scaled=position_scaled, **shared) for one in each]
    each[2] = dataclasses.replace(each[2], protection_scaled=True)
    portfolio = ("portfolio_trailing_stop_frac", "profit_take_frac", "move_to_cash_frac")
    positions = ("stop_loss_frac", "position_trailing_stop_frac")
    columns = {name: torch.tensor([getattr(one, name) for one in each]) for name in (*portfolio, *positions)}
    columns = {name: column[:, None] if name in positions else column for name, column in columns.items()}
    together = dataclasses.replace(
        each[0],
        **{name: column.double() for name, column in columns.items()},
        protection_scaled=torch.tensor([False, False, True]),
    )
    bars = market(seed, n=3)
    all_of_them = [after for _, after, _, _ in walk(bars, together, open_accounts(3, 3, 5_000.0))][-1]
    for n in range(3):
        own = dataclasses.replace(bars, wanted=bars.wanted[:, n : n + 1])
        alone = [after for _, after, _, _ in walk(own, each[n], open_accounts(1, 3, 5_000.0))][-1]
        assert alone.to_rows() == all_of_them.select([n]).to_rows()


@given(seeds, filtered_rules)
@quick
def test_accounts_survive_json_bit_for_bit(seed, rules):
    *_, (_, after, _, _) = walk(market(seed, n=2), rules, open_accounts(2, 3, 5_000.0))
    again = Accounts.from_rows(json.loads(json.dumps(after.to_rows())))
    for field in dataclasses.fields(Accounts):
        ours, theirs = getattr(after, field.name), getattr(again, field.name)
        assert ours.dtype == theirs.dtype
        assert torch.equal(ours, theirs)
