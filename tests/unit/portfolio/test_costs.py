"""Hand-worked costs: spread, maker's share, market impact."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from cappuccino.portfolio import engine
from cappuccino.portfolio.account import Accounts, open_accounts
from cappuccino.portfolio.conditions import Conditions
from cappuccino.portfolio.costs import Costs
from cappuccino.risk.rules import Rules
from cappuccino.settings import CostSettings, RiskSettings

NO_RULES = Rules.of(RiskSettings(), CostSettings()).without_protection()
FREE = Costs(fee_bps=0.0, slippage_bps=0.0, min_order_usd=0.0)


def market(volume_usd: float = 50_000.0, sigma: float = 0.04) -> Conditions:
    return Conditions(*(torch.tensor([figure], dtype=torch.float64) for figure in (volume_usd, sigma, 1.0, 0.0)))


def trade(want: float, costs: Costs, conditions: Conditions | None = None, accounts: Accounts | None = None):
    """Return accounts and step after a bar at 100 USD, wanting `want` of 1,000 USD."""
    at, wanted = (torch.tensor([[value]], dtype=torch.float64) for value in (100.0, want))
    rules = dataclasses.replace(NO_RULES, costs=costs)
    return engine.step(accounts or open_accounts(1, 1, 1_000.0), wanted, at, at, at, 0, 0, rules, conditions)


def test_a_fill_pays_half_the_spread_beside_slippage():
    costs = dataclasses.replace(FREE, slippage_bps=100.0, spread_bps=200.0)
    after, step = trade(0.5, costs)
    assert step.fills.price_usd.item() == pytest.approx(102.0)
    assert step.fills.slippage_usd.item() == pytest.approx(10.0)
    assert step.fills.impact_usd.item() == 0.0
    sold, _ = trade(0.0, costs, accounts=after)
    assert sold.cash_usd.item() == pytest.approx(1_000 - 5 * 102 + 5 * 98)


def test_a_maker_s_share_pays_its_own_fee_and_no_spread_or_slippage():
    # Three quarters rest: a quarter pays 2 % slippage and half the spread and the fee of 40 bp, the others 8 bp.
    costs = Costs(40.0, 100.0, 0.0, spread_bps=200.0, maker_fee_bps=8.0, maker_share_frac=0.75)
    _, step = trade(0.5, costs)
    assert step.fills.price_usd.item() == pytest.approx(100.5)
    assert step.fills.fee_usd.item() == pytest.approx(5 * 100.5 * (0.25 * 0.0040 + 0.75 * 0.0008))


def test_impact_grows_with_the_root_of_the_order_s_share_of_a_day_s_volume():
    # 500 USD of 50,000 a day: 0.5 * 4 % * sqrt(1 %) = 0.2 %; a quarter of it moves half as much.
    costs = dataclasses.replace(FREE, impact=0.5)
    _, large = trade(0.5, costs, market())
    assert large.fills.price_usd.item() == pytest.approx(100.2)
    assert large.fills.impact_usd.item() == pytest.approx(5 * 0.2)
    assert large.fills.slippage_usd.item() == pytest.approx(5 * 0.2)
    _, small = trade(0.125, costs, market())
    assert small.fills.price_usd.item() == pytest.approx(100.1)


def test_impact_adds_to_slippage_and_a_maker_is_not_spared():
    costs = Costs(0.0, 100.0, 0.0, impact=0.5, maker_share_frac=0.5)
    _, step = trade(0.5, costs, market())
    assert step.fills.price_usd.item() == pytest.approx(100.0 + 0.5 + 0.2)
    assert step.fills.slippage_usd.item() == pytest.approx(5 * 0.7)
    assert step.fills.impact_usd.item() == pytest.approx(5 * 0.2)


def test_impact_is_that_of_the_whole_order_where_cash_buys_less():
    # 1,000 USD are wanted, of which the fee leaves about half.
    costs = dataclasses.replace(FREE, fee_bps=10_000.0, impact=0.5)
    _, step = trade(1.0, costs, market(volume_usd=100_000.0))
    assert step.fills.price_usd.item() == pytest.approx(100 * (1 + 0.5 * 0.04 * 0.1))
    assert step.fills.units.item() == pytest.approx(500 / 100.2)


@pytest.mark.parametrize("volume_usd", [0.0, 1e-3])
def test_a_market_that_stands_still_costs_a_lot_but_not_everything(volume_usd):
    held, _ = trade(0.5, FREE)
    sold, step = trade(0.0, dataclasses.replace(FREE, impact=1.0), market(volume_usd), held)
    assert step.fills.price_usd.item() == pytest.approx(50.0)
    assert sold.cash_usd.item() == pytest.approx(500 + 250)


def test_impact_without_a_market_s_conditions_is_refused():
    with pytest.raises(ValueError, match="impact needs the market's conditions"):
        trade(0.5, dataclasses.replace(FREE, impact=0.5))


@pytest.mark.parametrize("want", [0.0, 1e-12, 0.3, 2.0], ids=["nothing", "a crumb", "some", "more than there is"])
def test_gradients_with_impact_are_finite(want):
    at = torch.tensor([[100.0]], dtype=torch.float64)
    wanted = torch.tensor([[want]], dtype=torch.float64, requires_grad=True)
    rules = dataclasses.replace(NO_RULES, costs=Costs(25.0, 5.0, -1.0, impact=1.0))
    _, step = engine.step(open_accounts(1, 1, 1_000.0), wanted, at, at, at, 0, 0, rules, market(volume_usd=0.0))
    step.value_after_usd.sum().backward()
    assert torch.isfinite(wanted.grad).all()


def test_the_gradient_of_impact_agrees_with_finite_differences():
    at = torch.tensor([[100.0]], dtype=torch.float64)
    rules = dataclasses.replace(NO_RULES, costs=Costs(25.0, 5.0, 0.0, spread_bps=4.0, impact=1.0))

    def value(wanted):
        return engine.step(open_accounts(1, 1, 1_000.0), wanted, at, at, at, 0, 0, rules, market())[1].value_after_usd

    wanted = torch.tensor([[0.4]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(value, (wanted,), eps=1e-6, atol=1e-4)


def test_costs_are_the_settings():
    settings = CostSettings(spread_bps=4, impact=0.8, maker_share_frac=0.7, maker_fee_bps=10)
    assert Costs.of(settings) == Costs(25.0, 5.0, 10.0, 4.0, 0.8, 10.0, 0.7)
    default = Costs.of(CostSettings())
    assert (default.fee_frac, default.slippage_frac, default.impact) == (25.0 / 1e4, 5.0 / 1e4, 0.0)
