"""Book beside venue: what is taken over, what is somebody else's, and what is wrong."""

from __future__ import annotations

from decimal import Decimal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cappuccino.brokers.broker import Holdings
from cappuccino.settings import TraderSettings
from cappuccino.trading.desk_account import CASH, DeskAccount
from cappuccino.trading.reconcile import differences, mismatch, taken_over, without_dust
from tests.unit.trading.small_orders import BTC, ETH, holding

SETTINGS = TraderSettings()
PRICES = {BTC: 100.0, ETH: 10.0}


def there(cash: str, btc: str = "2", eth: str = "0") -> Holdings:
    units = {BTC: Decimal(btc), ETH: Decimal(eth)}
    return Holdings(Decimal(cash), Decimal(cash), units, units)


def wrong(account: DeskAccount, holdings: Holdings) -> str:
    return mismatch(differences(account, holdings, PRICES, SETTINGS))


@pytest.mark.parametrize(
    ("holdings", "words"),
    [
        (there("1000"), ""),
        (there("999.5", "1.995"), ""),
        (there("2000"), ""),
        (there("990"), "USD"),
        (there("1000", "1.9"), "BTC/USD"),
        (there("1000", "2.1"), "BTC/USD"),
        (there("1000", "2", "1"), "ETH/USD"),
        (there("1200", "0"), "BTC/USD"),
    ],
)
def test_a_difference_is_wrong_when_fees_do_not_round_to_it(holdings: Holdings, words: str) -> None:
    found = wrong(holding(2.0), holdings)
    assert found.startswith(words)
    assert bool(found) == bool(words)


def test_what_is_foreign_is_no_difference() -> None:
    account = holding(2.0, foreign={BTC: Decimal(3), CASH: Decimal(500)})
    assert not differences(account, there("1500", "5"), PRICES, SETTINGS)


def test_what_a_purchase_cost_beyond_our_money_was_somebody_else_s() -> None:
    account = holding(2.0, cash_usd=0.0, foreign={CASH: Decimal(500)})
    found = differences(account, there("499.5"), PRICES, SETTINGS)
    assert not mismatch(found)
    after = taken_over(account, found, PRICES)
    assert (float(after.state.cash_usd[0]), after.foreign[CASH]) == (0, Decimal("499.5"))
    assert not differences(after, there("499.5"), PRICES, SETTINGS)


def test_coins_that_are_adopted_enter_at_their_present_price() -> None:
    account = holding(2.0, entry_usd=70.0)
    after = taken_over(account, differences(account, there("1000", "3"), PRICES, SETTINGS), PRICES, all_of_them=True)
    assert float(after.state.average_entry_usd[0, 0]) == pytest.approx((2 * 70 + 100) / 3)


def test_an_account_whose_coins_are_all_gone_is_out_of_its_cycle() -> None:
    account = holding(2.0)
    after = taken_over(account, differences(account, there("1200", "0"), PRICES, SETTINGS), PRICES, all_of_them=True)
    assert not bool(after.state.in_cycle[0])
    assert (after.units_of(BTC), float(after.state.average_entry_usd[0, 0])) == (0, 0)


amounts = st.decimals("0", "5000", places=2)


@given(amounts, st.decimals("0", "9", places=6), st.decimals("0", "9", places=6))
def test_after_adoption_nothing_differs(cash: Decimal, btc: Decimal, eth: Decimal) -> None:
    account, holdings = holding(2.0), there(str(cash), str(btc), str(eth))
    after = taken_over(account, differences(account, holdings, PRICES, SETTINGS), PRICES, all_of_them=True)
    assert not differences(after, holdings, PRICES, SETTINGS)


@given(st.floats(0, 5))
def test_dust_goes_to_somebody_else_and_all_else_stays(units: float) -> None:
    before = holding(units)
    after = without_dust(before, PRICES, {BTC: 7.0, ETH: 1.0})
    ours, theirs = after.units_of(BTC), float(after.foreign.get(BTC, 0))
    assert ours + theirs == units
    assert ours in (0.0, units)
    assert (ours == 0.0) == (units * 100.0 < 7.0)


def adopted(before: DeskAccount, holdings: Holdings) -> DeskAccount:
    found = differences(before, holdings, PRICES, SETTINGS)
    return taken_over(before, found, PRICES, all_of_them=True)


@pytest.mark.parametrize(
    ("holdings", "ours_usd", "foreign_usd"),
    [
        (there("6000"), 1000, 5000),
        (there("6000", "1.5"), 1050, 4950),
        (there("1030", "1.5"), 1030, 0),
        (there("6000", "1.5", "3"), 1020, 4980),
        (there("6000", "2", "3"), 1000, 5000),
        (there("400"), 400, 0),
    ],
)
def test_money_becomes_ours_only_as_far_as_missing_coins_explain_it(
    holdings: Holdings, ours_usd: float, foreign_usd: float
) -> None:
    after = adopted(holding(2.0), holdings)
    assert float(after.state.cash_usd[0]) == pytest.approx(ours_usd)
    assert float(after.foreign.get(CASH, 0)) == pytest.approx(foreign_usd)


def test_money_beyond_ours_never_becomes_ours_however_little_it_is() -> None:
    account, total = holding(2.0), 1000.0
    for _ in range(100):
        total += 0.9
        found = differences(account, there(str(round(total, 2))), PRICES, SETTINGS)
        assert found[0].is_small
        account = taken_over(account, found, PRICES)
    assert float(account.state.cash_usd[0]) == 1000
    assert float(account.foreign[CASH]) == pytest.approx(90)


def test_what_was_adopted_is_no_profit_and_no_loss_to_the_rules() -> None:
    before = holding(2.0)
    for name, value_usd in (("cycle_base_usd", 1000), ("cycle_peak_usd", 1300), ("peak_usd", 1500)):
        getattr(before.state, name)[0] = value_usd
    after = adopted(before, there("700", "1")).state  # 1200 before, 800 then
    assert [round(float(x[0])) for x in (after.cycle_base_usd, after.cycle_peak_usd, after.peak_usd)] == [
        667,
        867,
        1000,
    ]
    assert float(after.day_start_usd[0]) == 0


@given(amounts, st.decimals("0", "9", places=6), st.decimals("0", "9", places=6))
def test_the_account_is_never_worth_more_by_money_that_came(cash: Decimal, btc: Decimal, eth: Decimal) -> None:
    before, prices = holding(2.0), torch.tensor([100.0, 10.0], dtype=torch.float64)
    after, came = adopted(before, there(str(cash), str(btc), str(eth))), float(btc) * 100 + float(eth) * 10
    assert float(after.state.value(prices)[0]) <= 1000 + max(came, 200) + 1e-6
