"""From reports to the account, by sums that were worked by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cappuccino.brokers.broker import Side, VenueState
from cappuccino.risk.rules import Rules
from cappuccino.settings import CostSettings, RiskSettings
from cappuccino.trading.booking import Change, book
from cappuccino.trading.desk_account import DeskAccount
from cappuccino.trading.order_states import OrderState
from cappuccino.trading.orders import Order
from tests.unit.trading.small_orders import BTC, ETH, NOW, account, holding, order, report

RULES = Rules.of(RiskSettings(), CostSettings())
MARK = torch.tensor([100.0, 10.0], dtype=torch.float64)


def told(of: Order, filled: str, average: str, **fees: str) -> Change:
    return Change(of, of.reported(report(of, VenueState.OPEN, filled, average, **fees), NOW))


def booked(before: DeskAccount, *changes: Change) -> DeskAccount:
    return book(before, changes, MARK, NOW, RULES).account


def sent(side: Side = Side.BUY, units: str = "2", symbol: str = BTC) -> Order:
    return order(side, units, symbol, state=OrderState.SENDING, sent_at=NOW)


def test_a_fee_in_dollars_costs_cash() -> None:
    after = booked(account(), told(sent(), "2", "100", fee_usd="1"))
    assert (float(after.state.cash_usd[0]), after.units_of(BTC)) == (799, 2)


def test_a_fee_in_coins_costs_coins() -> None:
    after = booked(account(), told(sent(), "2", "100", fee_units="0.005"))
    assert (float(after.state.cash_usd[0]), after.units_of(BTC)) == (pytest.approx(800), pytest.approx(1.995))


def test_a_second_report_counts_what_is_new_only() -> None:
    first = told(sent(), "0.5", "100", fee_usd="0.25")
    second = told(first.after, "2", "106", fee_usd="1")
    assert second.price_usd == pytest.approx(108)
    after = booked(booked(account(), first), second)
    assert (float(after.state.cash_usd[0]), after.units_of(BTC)) == (pytest.approx(1000 - 212 - 1), 2)


def test_a_report_twice_counts_once() -> None:
    first = told(sent(), "2", "100", fee_usd="1")
    again = told(first.after, "2", "100", fee_usd="1")
    done = book(booked(account(), first), [again], MARK, NOW, RULES)
    assert (float(done.account.state.cash_usd[0]), done.fills) == (799, ())


def test_a_fee_that_comes_after_its_fill_is_booked_alone() -> None:
    first = told(sent(), "2", "100")
    late = told(first.after, "2", "100", fee_usd="1")
    done = book(booked(account(), first), [late], MARK, NOW, RULES)
    assert (float(done.account.state.cash_usd[0]), done.account.units_of(BTC)) == (799, 2)
    (row,) = done.fills
    assert (row.change.units, row.change.fee_usd, row.change.price_usd) == (0, 1, 100)


def test_parts_of_one_purchase_count_as_one() -> None:
    first = told(sent(), "0.5", "100")
    after = booked(booked(account(), first), told(first.after, "2", "100"))
    assert int(after.state.n_buys_today[0]) == 1


def test_a_sale_sells_no_more_than_the_book_has() -> None:
    after = booked(holding(1.0), told(sent(Side.SELL, "1.1"), "1.1", "100"))
    assert (after.units_of(BTC), float(after.state.cash_usd[0])) == (0, 1100)
    assert not bool(after.state.in_cycle[0])


def test_a_hand_over_from_one_coin_to_another_ends_no_cycle() -> None:
    before = holding(2.0)
    before.state.cycle_base_usd[0] = 123.0
    sale, purchase = told(sent(Side.SELL), "2", "100"), told(sent(Side.BUY, "20", ETH), "20", "10")
    after = booked(before, sale, purchase)
    assert (after.units_of(BTC), after.units_of(ETH), float(after.state.cycle_base_usd[0])) == (0, 20, 123)


cents = st.integers(1, 400)


@given(st.lists(st.tuples(cents, st.integers(9_000, 11_000), cents), min_size=1, max_size=6))
def test_cash_and_coins_of_a_purchase_add_up_however_it_is_reported(parts: list[tuple[int, int, int]]) -> None:
    before, now = account(10_000.0), sent(units="100")
    units, spent, fees = 0, 0.0, 0.0
    for n_cents, price_cents, fee_cents in parts:
        units, spent, fees = units + n_cents, spent + n_cents * price_cents / 1e4, fees + fee_cents / 1e4
        change = told(now, f"{units / 100}", repr(spent / (units / 100)), fee_usd=repr(fees))
        before, now = booked(before, change), change.after
    assert before.units_of(BTC) == pytest.approx(units / 100)
    assert float(before.state.cash_usd[0]) == pytest.approx(10_000 - spent - fees)


def test_the_realised_gain_of_a_sale_is_net_of_the_fees_of_both_sides() -> None:
    free = replace(RULES, costs=replace(RULES.costs, fee_bps=100.0, maker_fee_bps=100.0))
    done = book(holding(2.0, entry_usd=90.0), [told(sent(Side.SELL), "2", "100", fee_usd="2")], MARK, NOW, free)
    assert done.fills[0].realized_pnl_usd == pytest.approx(200 - 180 * 1.01 - 2)
