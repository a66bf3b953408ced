"""The words that all brokers share."""

from __future__ import annotations

from decimal import Decimal

import hypothesis.strategies as st
import pytest
from hypothesis import given

from cappuccino.brokers.alpaca_payloads import slashed, tier_of
from cappuccino.brokers.broker import Instrument, Refusal, Side, VenueState, exact

BITCOIN = Instrument(
    "BTC/USD", Decimal("0.001"), Decimal("0.5"), Decimal("0.002"), Decimal(10), Decimal(1), max_units=Decimal(5)
)


@given(st.decimals(0, 10_000, places=9))
def test_sizes_are_rounded_down_to_the_step(units: Decimal) -> None:
    rounded = BITCOIN.rounded_units(units)
    assert rounded % BITCOIN.units_step == 0
    assert rounded == min(units, Decimal(5)) or 0 < min(units, Decimal(5)) - rounded < BITCOIN.units_step


def test_without_steps_nothing_is_rounded() -> None:
    assert Instrument("BTC/USD").rounded_units(Decimal("1.23456789012")) == Decimal("1.23456789012")
    assert BITCOIN.rounded_price(Decimal("100.9")) == Decimal("100.5")


@pytest.mark.parametrize(
    ("side", "units", "expected"),
    [
        (Side.BUY, "0.001", "smallest size"),
        (Side.BUY, "0.002", "smallest order of 10"),
        (Side.SELL, "0.002", ""),
        (Side.BUY, "0.1", ""),
        (Side.SELL, "0", "smallest size"),
    ],
)
def test_what_is_too_small_is_said_with_numbers(side: Side, units: str, expected: str) -> None:
    found = BITCOIN.too_small(side, Decimal(units), Decimal(1000))
    assert expected in found
    assert bool(found) is bool(expected)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_survives_as_a_decimal(number: float) -> None:
    assert float(exact(number)) == number


def test_final_states_and_passing_refusals() -> None:
    assert {state for state in VenueState if not state.is_final} == {VenueState.PENDING, VenueState.OPEN}
    assert {kind for kind in Refusal if kind.may_pass} == {Refusal.RATE, Refusal.UNREACHED, Refusal.WOULD_CROSS}


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("BTC/USD", "BTC/USD"),
        ("BTCUSD", "BTC/USD"),
        ("ETHBTC", "ETH/BTC"),
        ("ETHUSDT", "ETH/USDT"),
        ("USDTUSD", "USDT/USD"),
        ("USDCUSD", "USDC/USD"),
        ("USD", "USD"),
    ],
)
def test_alpacas_pairs_get_their_slash_back(theirs: str, ours: str) -> None:
    assert slashed(theirs) == ours


@pytest.mark.parametrize(
    ("volume", "maker", "taker"),
    [
        (0, "0.0015", "0.0025"),
        (99_999, "0.0015", "0.0025"),
        (100_000, "0.0012", "0.0022"),
        (999_999_999, "0", "0.0010"),
    ],
)
def test_alpacas_tiers_begin_with_their_volume(volume: int, maker: str, taker: str) -> None:
    tier = tier_of(Decimal(volume))
    assert (tier.maker_frac, tier.taker_frac, tier.volume_usd) == (Decimal(maker), Decimal(taker), volume)
