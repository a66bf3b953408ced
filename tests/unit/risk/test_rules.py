"""Rules from settings, and thresholds by symbol that find their places."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from pydantic import ValidationError

from cappuccino.portfolio import engine
from cappuccino.portfolio.account import open_accounts
from cappuccino.risk.rules import Rules
from cappuccino.settings import CostSettings, PositionSettings, ProtectionSettings, RiskSettings, Settings

SYMBOLS = ("BTC/USD", "ETH/USD", "LTC/USD")
BY_SYMBOL = RiskSettings(
    position=PositionSettings(
        stop_loss_by_symbol={"ETH/USD": 0.05, "UNI/USD": 0.2}, trailing_stop_by_symbol={"LTC/USD": 0.04}
    )
)


def test_thresholds_by_symbol_stand_in_the_columns_of_their_symbols():
    rules = Rules.of(BY_SYMBOL, CostSettings()).on(SYMBOLS)
    assert rules.stop_loss_frac.tolist() == [0.10, 0.05, 0.10]
    assert rules.position_trailing_stop_frac.tolist() == [0.0, 0.0, 0.04]
    assert rules.portfolio_trailing_stop_frac == 0.015
    assert rules.on(SYMBOLS).stop_loss_frac.tolist() == [0.10, 0.05, 0.10]


def test_an_account_s_own_threshold_keeps_its_row_beside_an_exception():
    own = dataclasses.replace(
        Rules.of(BY_SYMBOL, CostSettings()), stop_loss_frac=torch.tensor([[0.1], [0.3]], dtype=torch.float64)
    )
    assert own.on(SYMBOLS).stop_loss_frac.tolist() == [[0.1, 0.05, 0.1], [0.3, 0.05, 0.3]]


def test_rules_without_exceptions_stay_numbers():
    rules = Rules.of(RiskSettings(), CostSettings())
    assert rules.on(SYMBOLS) == rules


def test_exceptions_without_a_place_are_refused():
    at = torch.full((1, 3), 100.0, dtype=torch.float64)
    with pytest.raises(ValueError, match="no places yet"):
        engine.protect(open_accounts(1, 3, 1_000.0), at, 0, Rules.of(BY_SYMBOL, CostSettings()))


def test_without_protection_nothing_is_scaled_or_excepted():
    scaled = dataclasses.replace(Rules.of(BY_SYMBOL, CostSettings()), protection_scaled=True, position_scaled=True)
    plain = scaled.without_protection()
    assert plain == Rules.of(RiskSettings(), CostSettings()).without_protection()
    assert not plain.need_conditions


def test_multiples_of_volatility_may_be_above_one_and_fractions_may_not():
    protection = ProtectionSettings(volatility_scaled=True, trailing_stop_frac=1.5, profit_take_frac=2.0)
    position = PositionSettings(volatility_scaled=True, stop_loss_frac=3.0, stop_loss_by_symbol={"BTC/USD": 2.0})
    rules = Rules.of(RiskSettings(protection=protection, position=position), CostSettings())
    assert (rules.protection_scaled, rules.position_scaled) == (True, True)
    assert rules.need_conditions
    for wrong in ({"stop_loss_frac": 3.0}, {"trailing_stop_frac": 1.1}, {"stop_loss_by_symbol": {"BTC/USD": 2.0}}):
        with pytest.raises(ValidationError, match="volatility_scaled"):
            PositionSettings(**wrong)
    with pytest.raises(ValidationError, match=r"trailing_stop_frac is 1\.5"):
        ProtectionSettings(trailing_stop_frac=1.5)


def test_a_threshold_for_a_symbol_that_nobody_trades_is_an_error_by_name():
    risk = {"position": {"stop_loss_by_symbol": {"DOGE/USD": 0.05}}}
    with pytest.raises(ValidationError, match=r"DOGE/USD, which market\.symbols has not"):
        Settings(risk=risk)
    assert Settings(risk=BY_SYMBOL).risk == BY_SYMBOL
