"""The chance of a resting order, by hand and by its laws."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cappuccino.brokers.broker import Side
from cappuccino.market.quotes import Quote
from cappuccino.trading.resting import SECONDS_PER_DAY, fill_probability
from tests.unit.trading.small_desk import START

SIDES = st.sampled_from(Side)
SPREADS, UNITS, TIMES_S = st.floats(0.0, 0.05), st.floats(0.1, 1e6), st.floats(0.1, 3600.0)


def book(spread_frac: float = 0.001, bid_units: float = 0.0, ask_units: float = 0.0) -> Quote:
    return Quote("A/USD", 100.0 * (1 - spread_frac / 2), 100.0 * (1 + spread_frac / 2), START, bid_units, ask_units)


def test_by_hand() -> None:
    """Half a spread of 0.05 % against a deviation of 4 % * sqrt(86.4 s / 86,400 s) = 0.1265 %: z = 0.3953."""
    z = 0.0005 / (0.04 * math.sqrt(0.001))
    assert z == pytest.approx(0.39528, abs=1e-5)
    reached = 2 * 0.34632  # 2 * Phi(-z), of a table
    assert fill_probability(book(), Side.BUY, 86.4) == pytest.approx(reached, abs=1e-4)
    assert fill_probability(book(0.001, 3.0, 1.0), Side.BUY, 86.4) == pytest.approx(reached / 2, abs=1e-4)
    assert fill_probability(book(0.001, 3.0, 1.0), Side.SELL, 86.4) == 1.0


def test_without_a_spread_it_is_the_queue_that_decides() -> None:
    assert fill_probability(book(0.0, 9.0, 1.0), Side.BUY, 10.0) == pytest.approx(0.2)
    assert fill_probability(book(0.0), Side.SELL, 10.0) == 1.0


def test_no_time_no_fill() -> None:
    assert fill_probability(book(), Side.BUY, 0.0) == 0.0
    assert fill_probability(book(), Side.BUY, SECONDS_PER_DAY, daily_volatility_frac=0.0) == 0.0


@given(SPREADS, UNITS, UNITS, SIDES, TIMES_S)
def test_it_is_a_probability(spread: float, bids: float, asks: float, side: Side, horizon_s: float) -> None:
    assert 0.0 <= fill_probability(book(spread, bids, asks), side, horizon_s) <= 1.0


@given(SPREADS, UNITS, UNITS, SIDES, TIMES_S)
def test_more_time_and_a_narrower_book_never_lower_it(
    spread: float, bids: float, asks: float, side: Side, horizon_s: float
) -> None:
    least = fill_probability(book(spread, bids, asks), side, horizon_s)
    assert fill_probability(book(spread, bids, asks), side, 2 * horizon_s) >= least
    assert fill_probability(book(spread / 2, bids, asks), side, horizon_s) >= least


@given(SPREADS, UNITS, UNITS, SIDES, TIMES_S)
def test_a_longer_queue_on_our_own_side_never_raises_it(
    spread: float, bids: float, asks: float, side: Side, horizon_s: float
) -> None:
    longer = book(spread, 2 * bids, asks) if side is Side.BUY else book(spread, bids, 2 * asks)
    assert fill_probability(longer, side, horizon_s) <= fill_probability(book(spread, bids, asks), side, horizon_s)
