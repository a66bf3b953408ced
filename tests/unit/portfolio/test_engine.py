"""Hand-worked sums of single steps, gradients, and refusals."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from cappuccino.errors import DataError
from cappuccino.portfolio import engine
from cappuccino.portfolio.account import open_accounts
from cappuccino.portfolio.costs import Costs
from cappuccino.risk.rules import Limits, Rule, Rules
from cappuccino.settings import CostSettings, RiskSettings

FREE = Costs(fee_bps=0.0, slippage_bps=0.0, min_order_usd=0.0)
PAID = Costs(fee_bps=100.0, slippage_bps=200.0, min_order_usd=10.0)
NO_RULES = Rules.of(RiskSettings(), CostSettings()).without_protection()


def usd(*values: float) -> torch.Tensor:
    return torch.tensor([values], dtype=torch.float64)


def rules(costs: Costs = FREE, **thresholds: float) -> Rules:
    return dataclasses.replace(NO_RULES, costs=costs, **thresholds)


def traded(wanted, cash=1_000.0, price=(100.0, 50.0), under=None, accounts=None):
    """Return accounts and step after one bar whose prices all stand at `price`."""
    accounts = accounts or open_accounts(1, 2, cash)
    at = usd(*price)
    return engine.step(accounts, usd(*wanted), at, at, at, 0, 0, under or rules())


def test_weights_become_units_at_the_decisions_prices():
    after, step = traded((0.5, 0.25))
    assert after.units.tolist() == [[5.0, 5.0]]
    assert after.cash_usd.tolist() == [250.0]
    assert step.value_after_usd.tolist() == [1_000.0]


def test_a_buy_pays_slippage_and_fee():
    # 500 USD wanted at 100 = 5 units; filled at 102 = 510 USD, fee 1 % of it = 5.10.
    after, step = traded((0.5, 0.0), under=rules(PAID))
    assert after.cash_usd.item() == pytest.approx(1_000 - 510 - 5.10)
    assert after.average_entry_usd[0, 0].item() == pytest.approx(102.0)
    assert step.fills.fee_usd[0].tolist() == pytest.approx([5.10, 0.0])
    assert step.fills.slippage_usd[0].tolist() == pytest.approx([10.0, 0.0])


def test_a_sale_realises_its_profit_net_of_both_fees():
    bought, _ = traded((0.5, 0.0), under=rules(PAID))
    sold, step = traded((0.0, 0.0), price=(200.0, 50.0), under=rules(PAID), accounts=bought)
    # 5 units: bought at 102 (fee 5.10), sold at 200 less 2 % = 196 (fee 9.80).
    assert step.fills.realized_pnl_usd[0, 0].item() == pytest.approx(5 * (196 - 102) - 5.10 - 9.80)
    assert sold.cash_usd.item() == pytest.approx(1_000 + 5 * (196 - 102) - 5.10 - 9.80)
    assert sold.units.tolist() == [[0.0, 0.0]]
    assert sold.average_entry_usd.tolist() == [[0.0, 0.0]]


def test_a_second_buy_averages_the_entry_and_a_sale_keeps_it():
    first, _ = traded((0.2, 0.0))  # 2 units at 100
    second, _ = traded((0.8, 0.0), price=(200.0, 50.0), accounts=first)  # 0.8 * 1200 / 200 = 4.8 units
    assert second.average_entry_usd[0, 0].item() == pytest.approx((2 * 100 + 2.8 * 200) / 4.8)
    third, _ = traded((0.4, 0.0), price=(200.0, 50.0), accounts=second)
    assert third.average_entry_usd[0, 0].item() == second.average_entry_usd[0, 0].item()


def test_sales_pay_for_buys_of_the_same_bar():
    first, _ = traded((1.0, 0.0))
    after, _ = traded((0.0, 1.0), accounts=first)
    assert after.units.tolist() == [[0.0, 20.0]]
    assert after.cash_usd.tolist() == [0.0]


def test_buys_shrink_together_until_cash_covers_them_and_their_fees():
    costs = Costs(fee_bps=100.0, slippage_bps=0.0, min_order_usd=0.0)
    after, _ = traded((0.6, 0.4), under=rules(costs))
    assert after.cash_usd.item() == pytest.approx(0.0, abs=1e-9)
    assert (after.units * usd(100.0, 50.0))[0].tolist() == pytest.approx([600 / 1.01, 400 / 1.01])


def test_orders_fill_at_the_next_open_and_are_valued_at_the_next_close():
    after, step = engine.step(open_accounts(1, 1, 1_000.0), usd(1.0), usd(100.0), usd(80.0), usd(90.0), 0, 0, rules())
    assert after.units.item() == 10.0  # sized at the close of 100, paid at the open of 80
    assert after.cash_usd.item() == pytest.approx(200.0)
    assert step.value_before_usd.item() == 1_000.0
    assert step.value_after_usd.item() == pytest.approx(200 + 10 * 90)


@pytest.mark.parametrize(("wanted", "n_fills"), [(0.0099, 0), (0.0101, 1)])
def test_an_order_below_the_smallest_size_is_not_sent(wanted, n_fills):
    costs = Costs(fee_bps=0.0, slippage_bps=0.0, min_order_usd=10.0)
    _, step = traded((wanted, 0.0), under=rules(costs))
    assert torch.count_nonzero(step.fills.units).item() == n_fills


def test_the_last_crumbs_of_a_position_can_be_sold():
    costs = Costs(fee_bps=0.0, slippage_bps=0.0, min_order_usd=10.0)
    held, _ = traded((0.02, 0.0), under=rules(costs))
    after, _ = traded((0.0, 0.0), price=(1.0, 50.0), under=rules(costs), accounts=held)  # worth 0.20 USD
    assert after.units.tolist() == [[0.0, 0.0]]
    assert not after.in_cycle.item()


def test_wanting_what_is_held_trades_nothing_even_without_a_smallest_size():
    held, _ = traded((0.3, 0.37), price=(0.0137, 91_234.56))
    wanted = held.weights(usd(0.0151, 88_888.88))
    _, step = engine.step(held, wanted, *[usd(0.0151, 88_888.88)] * 3, 0, 0, rules())
    assert not step.fills.units.any()


def test_dampening_trades_a_share_of_the_way():
    after, _ = traded((0.8, 0.0), under=rules(dampening=0.25))
    assert after.units[0, 0].item() == pytest.approx(2.0)
    nearer, _ = traded((0.8, 0.0), under=rules(dampening=0.25), accounts=after)
    assert nearer.units[0, 0].item() == pytest.approx(2.0 + 0.25 * 6.0)


def test_a_dampened_exit_ends_flat():
    costs = Costs(fee_bps=0.0, slippage_bps=0.0, min_order_usd=10.0)
    accounts, _ = traded((0.5, 0.0), under=rules(costs))
    for _ in range(7):  # 500 USD halve to 7.81
        accounts, _ = traded((0.0, 0.0), under=rules(costs, dampening=0.5), accounts=accounts)
    assert accounts.units.tolist() == [[0.0, 0.0]]


def test_the_weight_cap_is_reported_when_it_changes_a_wish():
    after, step = traded((0.5, 0.1), under=rules(max_weight_frac=0.3))
    assert after.weights(usd(100.0, 50.0))[0].tolist() == pytest.approx([0.3, 0.1])
    assert Rule(step.rules.item()) == Rule.WEIGHT_CAP


def test_the_default_rules_are_the_settings():
    defaults = Rules.of(RiskSettings(), CostSettings())
    assert (defaults.portfolio_trailing_stop_frac, defaults.profit_take_frac) == (0.015, 0.03)
    assert (defaults.move_to_cash_frac, defaults.cash_us) == (0.0, 24 * 3_600_000_000)
    assert (defaults.stop_loss_frac, defaults.position_trailing_stop_frac) == (0.10, 0.0)
    assert (defaults.max_weight_frac, defaults.dampening) == (0.30, 1.0)
    assert defaults.costs == Costs(fee_bps=25.0, slippage_bps=5.0, min_order_usd=10.0, maker_fee_bps=15.0)
    assert defaults.limits == Limits(0.02, 0.15, 5, 24 * 3_600_000_000, 0.30, 0.0, 200, 0.8, 0.9)
    assert (defaults.min_conviction, defaults.sharpe_bars) == (0.6, 100)
    assert defaults.need_conditions
    assert not defaults.for_training().need_conditions
    assert not defaults.for_training().filter_buys
    assert defaults.without_protection().costs == defaults.costs
    assert not defaults.without_protection().filter_buys


def test_between_decisions_only_protective_sales_are_ordered():
    held, _ = traded((0.5, 0.4))
    calm = engine.protect(held, usd(95.0, 50.0), 0, rules(stop_loss_frac=0.1))
    assert not calm.units.any()
    fallen = engine.protect(held, usd(90.0, 50.0), 0, rules(stop_loss_frac=0.1))
    assert fallen.units.tolist() == [[-5.0, 0.0]]
    assert fallen.protective.tolist() == [[True, False]]


@pytest.mark.parametrize("bad", [math.nan, 0.0, -1.0, math.inf])
@pytest.mark.parametrize("moment", ["mark", "fill", "next mark"])
def test_a_price_that_is_no_price_stops_the_line(bad, moment):
    prices = [usd(100.0, bad if moment == name else 50.0) for name in ("mark", "fill", "next mark")]
    with pytest.raises(DataError, match=r"asset 1 .* is not a positive number"):
        engine.step(open_accounts(1, 2, 1_000.0), usd(0.5, 0.5), *prices, 0, 0, rules())


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_weight_that_is_no_number_stops_the_line(bad):
    with pytest.raises(DataError, match="target weight is NaN or infinite"):
        traded((0.5, bad))


def test_targets_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"targets \(1, 3\), accounts \(1, 2\)"):
        traded((0.5, 0.1, 0.1))


def test_actions_become_weights_within_the_cap_and_the_reserve():
    targets = engine.actions_to_targets(torch.tensor([[1.0, 0.5, -1.0], [1.0, 1.0, 1.0]]), 0.4, 0.1)
    assert targets.dtype == torch.float64
    assert targets[0].tolist() == pytest.approx([0.4, 0.2, 0.0])
    assert targets[1].tolist() == pytest.approx([0.3, 0.3, 0.3])  # 1.2 in all, 0.9 allowed


def test_each_account_may_keep_its_own_reserve():
    reserve = torch.tensor([0.0, 0.5], dtype=torch.float64)
    targets = engine.actions_to_targets(torch.ones(2, 2), 0.5, reserve)
    assert targets.sum(-1).tolist() == pytest.approx([1.0, 0.5])


@pytest.mark.parametrize("wanted", [(0.2, 0.25), (0.7, 0.6)], ids=["cash to spare", "cash runs out"])
def test_gradients_of_value_agree_with_finite_differences(wanted):
    held, _ = traded((0.5, 0.1), under=rules(PAID))
    training = Rules.of(RiskSettings(), CostSettings()).for_training()
    defaults = dataclasses.replace(training, max_weight_frac=0.9, dampening=0.8)

    def value_after_two_bars(targets):
        accounts = held
        for k in range(2):
            accounts, step = engine.step(
                accounts,
                targets[k : k + 1],
                usd(101.0, 51.0) + k,
                usd(102.0, 50.5) + k,
                usd(103.0, 52.0) + k,
                0,
                0,
                defaults,
            )
        return step.value_after_usd

    targets = torch.tensor([wanted, wanted[::-1]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(value_after_two_bars, (targets,), eps=1e-6, atol=1e-4)


def test_gradients_are_finite_where_nothing_is_held_or_wanted():
    targets = torch.zeros(1, 2, dtype=torch.float64, requires_grad=True)
    at = usd(100.0, 50.0)
    _, step = engine.step(open_accounts(1, 2, 1_000.0), targets, at, at, at, 0, 0, rules(PAID))
    step.value_after_usd.sum().backward()
    assert torch.isfinite(targets.grad).all()
