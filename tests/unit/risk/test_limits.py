"""What limits remember of an account, by hand."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from cappuccino.portfolio import engine
from cappuccino.portfolio.account import Accounts, open_accounts
from cappuccino.portfolio.engine import Fills
from cappuccino.risk.limits import count, reset_breaker
from cappuccino.risk.rules import Limits, Rules
from cappuccino.settings import CostSettings, LimitSettings, RiskSettings
from tests.unit.risk.candles import HOUR_US, each

RULES = Rules.of(RiskSettings(), CostSettings())
STREAK = Limits(losing_trades=3, pause_us=HOUR_US)


def observed(*values_usd: float, hours: int = 1) -> Accounts:
    """Return an account in cash after it was seen to be worth `values_usd`, one after the other."""
    accounts = open_accounts(1, 1, values_usd[0])
    for n, value in enumerate(values_usd):
        flat = open_accounts(1, 1, value)
        memory = {name: getattr(accounts, name) for name in accounts.to_rows()[0] if name != "cash_usd"}
        accounts = Accounts(cash_usd=flat.cash_usd, **memory)
        accounts = engine.observe(accounts, each(100.0), n * hours * HOUR_US, RULES)
    return accounts


def after_trades(*trades: tuple[list[float], list[float]], limits: Limits = STREAK) -> Accounts:
    """Return an account after steps that traded units, with profits, of each symbol."""
    accounts = open_accounts(1, len(trades[0][0]), 1_000.0)
    for n, (units, pnls) in enumerate(trades):
        accounts = count(accounts, each(*units)[None], each(*pnls)[None], n * HOUR_US, limits)
    return accounts


def test_a_day_begins_with_its_first_decision():
    accounts = observed(1_000.0, 990.0, 985.0, 970.0, hours=12)
    assert (accounts.day_start_usd.item(), accounts.peak_usd.item()) == (985.0, 1_000.0)
    assert accounts.lost_day.tolist() == [False]  # 1.5 % of the second day
    assert observed(1_000.0, 985.0, 980.0, 1_000.0).lost_day.tolist() == [True]


def test_a_sharpe_ratio_is_of_returns_between_decisions():
    accounts = observed(100.0, 110.0, 99.0)
    weight = 2 / 101
    assert accounts.mean_return_frac.item() == pytest.approx((1 - weight) * weight * 0.1 - weight * 0.1)
    assert accounts.mean_square_return.item() == pytest.approx((2 - weight) * weight * 0.01)


def test_a_reset_breaker_fires_again_from_its_new_peak():
    broken = observed(1_000.0, 840.0)
    assert broken.is_broken.tolist() == [True]
    reset = reset_breaker(broken)
    assert (reset.is_broken.item(), reset.peak_usd.item()) == (False, 840.0)
    assert not engine.observe(reset, each(100.0), 2 * HOUR_US, RULES).is_broken.item()


def test_losses_count_in_the_order_of_symbols():
    assert after_trades(([-1, -1, -1], [-5, 5, -5])).n_losses.tolist() == [1]
    assert after_trades(([-1, -1, -1], [5, -5, -5])).n_losses.tolist() == [2]
    assert after_trades(([-1, 1, 0], [-5, 0, 0]), ([0, 0, -1], [0, 0, -5])).n_losses.tolist() == [2]
    assert after_trades(([-1, 0, 0], [-5, 0, 0]), ([0, 0, -1], [0, 0, 0.0])).n_losses.tolist() == [0]


def test_a_streak_pauses_from_its_last_trade_and_begins_anew():
    paused = after_trades(([-1, -1, 0], [-5, -5, 0]), ([0, 0, -1], [0, 0, -5]))
    assert (paused.paused_until_us.item(), paused.n_losses.item()) == (2 * HOUR_US, 0)


def test_buys_of_a_day_are_counted():
    assert after_trades(([1, 2, -1], [0, 0, 5]), ([0, 1, 0], [0, 0, 0])).n_buys_today.tolist() == [3]


def test_an_order_that_fills_in_parts_can_count_once():
    accounts = open_accounts(1, 2, 1_000.0)
    part = each(1.0, 0.0)[None]
    zero = torch.zeros_like(part)
    fills = Fills(part, torch.full_like(part, 100.0), zero, zero, zero, zero)
    for is_first in (True, False):
        accounts = engine.book(
            accounts, fills, torch.zeros(1, dtype=torch.int64), each(100.0, 100.0), 0, RULES, part.bool() & is_first
        )
    assert (accounts.n_buys_today.item(), accounts.units[0, 0].item(), accounts.cash_usd.item()) == (1, 2.0, 800.0)


def test_a_fee_that_is_taken_in_coins_leaves_fewer_coins_at_the_price_paid():
    # 100 USD buy a coin at 100; a quarter of a percent of it goes to the exchange.
    units, zero = each(0.9975)[None], each(0.0)[None]
    fills = Fills(units, each(100.0)[None], each(0.25)[None], zero, zero, zero)
    after = engine.book(open_accounts(1, 1, 1_000.0), fills, torch.tensor([0]), each(100.0), 0, RULES)
    assert (after.cash_usd.item(), after.units.item()) == (900.0, 0.9975)
    assert after.average_entry_usd.item() == 100.0


@pytest.mark.parametrize("wrong", [{"daily_loss_frac": 2.0}, {"losing_trades": -1}, {"max_order_frac": -0.1}])
def test_a_limit_that_cannot_be_is_an_error(wrong):
    with pytest.raises(ValidationError):
        LimitSettings(**wrong)


def test_rules_that_remember_nothing_observe_nothing():
    accounts = open_accounts(1, 1, 1_000.0)
    assert engine.observe(accounts, each(100.0), 0, RULES.for_training()) is accounts
