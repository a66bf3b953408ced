"""The five factors of conviction, and their score, by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from cappuccino.portfolio import engine
from cappuccino.portfolio.account import open_accounts
from cappuccino.portfolio.conditions import Conditions
from cappuccino.risk.conviction import WEIGHTS, calm, momentum, room, scores_of, size
from cappuccino.risk.rules import Rules
from cappuccino.settings import CostSettings, RiskSettings
from tests.unit.risk.candles import HOUR_US, each

RULES = Rules.of(RiskSettings(), CostSettings())
VALUE = each(1_000.0)


def market(*restlessness: float) -> Conditions:
    restless = each(*restlessness)
    return Conditions(restless * 0 + 1e9, restless * 0 + 0.04, restless, restless * 0)


def account(**numbers: float):
    changes = {name: torch.tensor([value], dtype=torch.float64) for name, value in numbers.items()}
    return replace(open_accounts(1, 2, 1_000.0), peak_usd=VALUE, **changes)


def test_the_weights_are_those_of_the_specification():
    assert WEIGHTS == {"size": 0.30, "momentum": 0.20, "agreement": 0.20, "calm": 0.15, "room": 0.15}
    assert sum(WEIGHTS.values()) == pytest.approx(1.0)


def test_size_is_the_share_of_the_largest_weight():
    assert size(each(150.0, 30.0, 900.0, -50.0)[None], VALUE, 0.3)[0].tolist() == pytest.approx([0.5, 0.1, 1.0, 0.0])


def test_momentum_is_half_without_a_history_and_says_how_sure_a_sharpe_ratio_is():
    assert momentum(account(), 100).item() == 0.5
    gains = account(mean_return_frac=0.001, mean_square_return=0.01**2)  # a Sharpe ratio of 0.1, in ten standard errors
    assert momentum(gains, 100).item() == pytest.approx(1 / (1 + math.exp(-1)))
    losses = replace(gains, mean_return_frac=-gains.mean_return_frac)
    assert momentum(losses, 100).item() == pytest.approx(1 / (1 + math.exp(1)))


def test_a_market_is_calm_until_its_day_is_wilder_than_usual():
    assert calm(market(0.0, 0.5, 1.0, 2.0, 4.0)).tolist() == [1.0, 1.0, 1.0, 0.5, 0.25]


def test_room_is_cash_and_the_distance_to_a_deep_drawdown():
    nothing = torch.zeros(1, 2, dtype=torch.float64)
    assert room(account(), nothing, VALUE).item() == 1.0
    assert room(account(cash_usd=200.0), nothing, VALUE).item() == pytest.approx(0.5 * (0.2 + 1))
    assert room(account(cash_usd=200.0), each(-300.0, 300.0)[None], VALUE).item() == pytest.approx(0.5 * (0.5 + 1))
    fallen = replace(account(), peak_usd=each(1_000 / 0.95))
    assert room(fallen, nothing, VALUE).item() == pytest.approx(0.5 * (1 + 1 - 0.05 / 0.15))
    assert room(replace(fallen, peak_usd=each(2_000.0)), nothing, VALUE).item() == 0.5


def test_the_score_is_the_weighted_sum():
    orders = each(150.0, 0.0)[None]
    scores = scores_of(account(), orders, VALUE, market(2.0, 1.0), each(0.8, 0.6)[None], RULES)
    # Cash 1,000 of 1,000.
    assert scores.score[0, 0].item() == pytest.approx(0.3 * 0.5 + 0.2 * 0.5 + 0.2 * 0.8 + 0.15 * 0.5 + 0.15 * 1)
    alone = scores_of(account(), orders, VALUE, market(2.0, 1.0), None, RULES)
    assert alone.score[0, 0].item() == pytest.approx(scores.score[0, 0].item() + 0.2 * 0.2)


def test_orders_carry_what_spoke_for_them():
    accounts = engine.observe(open_accounts(1, 2, 1_000.0), each(100.0, 50.0), HOUR_US, RULES)
    moment = (each(100.0, 50.0), HOUR_US, RULES, market(1.0, 1.0))
    orders = engine.decide(accounts, each(0.3, 0.0)[None], *moment)
    assert orders.conviction is not None
    assert orders.conviction.score[0, 0].item() == pytest.approx(0.3 + 0.2 * 0.5 + 0.2 + 0.15 + 0.15)
    assert engine.decide(accounts, each(0.0, 0.0)[None], *moment).conviction is None


def test_an_ensemble_that_disagrees_needs_a_larger_buy():
    accounts = replace(open_accounts(1, 2, 1_000.0), cash_usd=each(400.0), units=each(6.0, 0.0)[None])
    moment = (each(100.0, 50.0), HOUR_US, replace(RULES, max_weight_frac=0.7))
    # 0.3 size + 0.2 * 0.5 + 0.2 agreement + 0.15 + 0.075 * (0.4 + 1) = 0.355 + 0.3 * 0.2 / 0.7 + 0.2 agreement
    wanted = each(0.6, 0.2)[None]
    for agreement, is_bought in ((0.8, True), (0.7, False)):
        orders = engine.decide(accounts, wanted, *moment, market(1.0, 1.0), each(1.0, agreement)[None])
        assert bool(orders.units[0, 1] > 0) is is_bought, agreement
