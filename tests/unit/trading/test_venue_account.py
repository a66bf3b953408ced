"""The account at a venue from its opening to its hand-over."""

from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace
from typing import cast

import pytest

from cappuccino.arena.candidate import Candidate
from cappuccino.brokers.broker import Holdings, Instrument
from cappuccino.market.interval import Interval
from cappuccino.registry.identity import ModelId
from cappuccino.settings import TraderSettings
from cappuccino.trading.desk_account import CASH
from cappuccino.trading.venue_account import Compared, compared, handed_over, open_venue_account, with_capital
from tests.unit.trading.small_orders import BTC, ETH, NOW, account, holding

SETTINGS = TraderSettings()
PRICES = {BTC: 100.0, ETH: 10.0, "LTC/USD": 1.0}
OTHER = ModelId("s", 2)


def candidate(*symbols: str) -> Candidate:
    manifest = SimpleNamespace(model=OTHER)
    return cast(Candidate, SimpleNamespace(symbols=symbols, interval=Interval.H4, manifest=manifest))


def there(cash: str, btc: str = "2") -> Holdings:
    units = {BTC: Decimal(btc), "LTC/USD": Decimal(7)}
    return Holdings(Decimal(cash), Decimal(cash), units, units)


def look(cash: str, btc: str = "2", n_surplus: int = 0, least: str = "0") -> Compared:
    instruments = {BTC: Instrument(BTC, min_units=Decimal(least))}
    return compared(holding(2.0), there(cash, btc), PRICES, SETTINGS, instruments, n_surplus)


def test_an_account_opens_on_money_alone_and_on_no_more_than_its_capital() -> None:
    found = open_venue_account("coinbase", "coinbase", "live", candidate(BTC, ETH), there("5000"), 1000.0, NOW)
    assert (float(found.state.cash_usd[0]), found.cash_usd, found.units_of(BTC)) == (1000, 1000, 0)
    assert found.foreign == {BTC: Decimal(2), CASH: Decimal(4000)}


def test_another_model_finds_its_columns_and_what_was_decided_stays_decided() -> None:
    before = holding(2.0, decided_at=NOW)
    after = handed_over(before, candidate(ETH, "LTC/USD", BTC), "production", there("1000"))
    assert after is not None
    assert (after.model, after.interval, after.decided_at) == (OTHER, Interval.H4, NOW)
    assert (after.units_of(BTC), after.units_of(ETH), float(after.state.average_entry_usd[0, 2])) == (2, 0, 100)
    assert after.foreign == {"LTC/USD": Decimal(7)}


def test_what_the_other_model_does_not_trade_has_to_be_sold_first() -> None:
    assert handed_over(holding(2.0), candidate(ETH), "production") is None
    assert handed_over(account(), candidate(ETH), "production") is not None


def test_more_capital_comes_out_of_what_is_there() -> None:
    before = account(1000.0, foreign={CASH: Decimal(300)})
    after = with_capital(before, 2000.0, there("1300"), PRICES)
    assert (float(after.state.cash_usd[0]), after.foreign[CASH]) == (1300, 0)


def test_a_capital_step_leaves_drawdowns_and_returns_as_they_are() -> None:
    before = holding(2.0, foreign={CASH: Decimal(5000)})  # worth 1200
    for name, value_usd in (("cycle_base_usd", 1000), ("cycle_peak_usd", 1250), ("peak_usd", 1500)):
        getattr(before.state, name)[0] = value_usd
    for capital_usd, worth_usd in ((2000.0, 2200.0), (700.0, 900.0)):
        state = with_capital(before, capital_usd, there("6000"), PRICES).state
        remembered = (state.cycle_base_usd, state.cycle_peak_usd, state.peak_usd, state.day_start_usd)
        shares = [float(value[0]) / worth_usd for value in remembered]
        assert shares == pytest.approx([1000 / 1200, 1250 / 1200, 1500 / 1200, 0])


def test_what_is_there_of_a_symbol_that_comes_back_is_somebody_else_s_as_it_is_now() -> None:
    before = account(foreign={"LTC/USD": Decimal(3), "XRP/USD": Decimal(4), BTC: Decimal(1)})
    after = handed_over(before, candidate(ETH, "LTC/USD", "XRP/USD"), "production", there("1000"))
    assert after is not None
    assert after.foreign == {"LTC/USD": Decimal(7), BTC: Decimal(1)}


def test_more_money_than_ours_is_somebody_else_s_at_the_second_look() -> None:
    first = look("1500")
    assert (first.mismatch, first.account.foreign, first.n_surplus) == ("", {}, 1)
    second = look("1500", n_surplus=first.n_surplus)
    assert second.account.foreign == {CASH: Decimal(500)}
    assert look("1000", n_surplus=1).n_surplus == 0
    small = look("1000.5")
    assert (small.account.foreign, small.n_surplus, small.notes) == ({}, 1, ())
    assert look("1000.5", n_surplus=1).account.foreign == {CASH: Decimal("0.5")}


def test_nothing_is_taken_over_from_a_look_that_finds_something_wrong() -> None:
    found = look("1200", btc="0", n_surplus=5)
    assert "BTC/USD" in found.mismatch
    assert (float(found.account.state.cash_usd[0]), found.account.foreign, found.n_surplus) == (1000, {}, 0)


def test_what_the_venue_does_not_sell_is_dust_up_to_a_bound() -> None:
    assert look("1000", least="3").account.units_of(BTC) == 2
    crumb = holding(0.1)
    seen = Holdings(Decimal(1000), Decimal(1000), {BTC: Decimal("0.1")}, {})
    found = compared(crumb, seen, PRICES, SETTINGS, {BTC: Instrument(BTC, min_units=Decimal("0.15"))})
    assert (found.account.units_of(BTC), float(found.account.foreign[BTC])) == (0, 0.1)
