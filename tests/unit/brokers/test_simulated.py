"""The virtual account, beside what tests/contract asks of all brokers: its sums are the engine's."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from typing import Any

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given

from cappuccino.brokers.broker import Instrument, OrderReport, OrderRequest, Refusal, Refused, Side, VenueState, exact
from cappuccino.brokers.simulated import SimulatedBroker
from cappuccino.market.quotes import Quote
from cappuccino.portfolio import engine
from cappuccino.portfolio.account import open_accounts
from cappuccino.portfolio.costs import Costs
from cappuccino.risk.rules import Rules

NOW = datetime(2024, 6, 1, tzinfo=UTC)
SYMBOLS = ("BTC/USD", "ETH/USD")


def make(cash_usd: float = 10_000.0, quotes: dict[str, Quote] | None = None, **fields: Any) -> SimulatedBroker:
    chosen: dict[str, Any] = {"taker_frac": 0.0025, "maker_frac": 0.0015, **fields}
    instruments = {symbol: Instrument(symbol) for symbol in SYMBOLS}
    return SimulatedBroker(cash_usd, instruments, (quotes or {}).get, **chosen)


NUMBERS = count(1)


def order(side: Side, units: float, expected_usd: float, symbol: str = "BTC/USD") -> OrderRequest:
    return OrderRequest(str(next(NUMBERS)), symbol, side, exact(units), exact(expected_usd))


def test_a_market_order_is_filled_at_once_at_the_price_that_was_expected() -> None:
    report = make().submit(order(Side.BUY, 0.25, 20_000.0))
    assert isinstance(report, OrderReport)
    assert (report.state, report.filled_units, report.average_usd) == (VenueState.FILLED, Decimal("0.25"), 20_000)
    assert (report.fee_usd, report.fee_units, report.is_maker) == (Decimal("12.5"), 0, False)


def test_all_cash_can_be_spent_although_it_is_a_float() -> None:
    broker = make(10_000.0)
    price_usd = 20_000.0 / 3
    units = 10_000.0 / (price_usd * 1.0025)
    assert isinstance(broker.submit(order(Side.BUY, units * (1 + 1e-15), price_usd)), OrderReport)
    assert 0 <= broker.holdings().cash_usd < Decimal("1e-9")


def test_an_account_starts_with_what_is_known_of_it() -> None:
    broker = make(5.0, units={"BTC/USD": Decimal("0.5"), "ETH/USD": 0.0}, account="agent 7")
    assert broker.account_id() == "agent 7"
    assert broker.holdings().units == {"BTC/USD": Decimal("0.5")}


def test_a_resting_order_needs_a_quote() -> None:
    limit = OrderRequest("1", "BTC/USD", Side.BUY, Decimal(1), Decimal(100), Decimal(99))
    refused = make().submit(limit)
    assert isinstance(refused, Refused)
    assert refused.kind is Refusal.NOT_TRADABLE


def test_a_maker_pays_its_own_fee_when_the_market_comes() -> None:
    quotes = {"BTC/USD": Quote("BTC/USD", 100.0, 101.0, NOW)}
    broker = make(quotes=quotes)
    assert isinstance(
        broker.submit(OrderRequest("1", "BTC/USD", Side.BUY, Decimal(2), Decimal(100), Decimal(100))), OrderReport
    )
    quotes["BTC/USD"] = Quote("BTC/USD", 99.0, 100.0, NOW)
    report = broker.report("1", NOW)
    assert report is not None
    assert (report.state, report.is_maker, report.updated_at) == (VenueState.FILLED, True, NOW)
    assert float(report.fee_usd) == 2 * 100 * 0.0015


@pytest.mark.parametrize("units", ["NaN", "-1", "0", "Infinity"])
def test_what_is_no_size_is_refused(units: str) -> None:
    refused = make().submit(OrderRequest("1", "BTC/USD", Side.BUY, Decimal(units), Decimal(100)))
    assert isinstance(refused, Refused)


@pytest.mark.parametrize("price", ["NaN", "-1", "0", "Infinity"])
def test_what_is_no_price_is_refused(price: str) -> None:
    refused = make().submit(OrderRequest("1", "BTC/USD", Side.BUY, Decimal(1), Decimal(price)))
    assert isinstance(refused, Refused)


@given(
    weights=st.lists(st.tuples(st.floats(0, 0.5), st.floats(0, 0.5)), min_size=1, max_size=8),
    prices=st.lists(st.tuples(st.floats(0.01, 90_000), st.floats(0.01, 90_000)), min_size=8, max_size=8),
)
def test_an_account_here_is_the_engines_account(
    weights: list[tuple[float, float]], prices: list[tuple[float, float]]
) -> None:
    rules = Rules(Costs(25.0, 5.0, 0.0), 0.0, 0.0, 0.0, 0, 0.0, 0.0, max_weight_frac=1.0, dampening=1.0)
    accounts, broker = open_accounts(1, 2, 10_000.0), make()
    for n, (wanted, price) in enumerate(zip(weights, prices, strict=False)):
        market = torch.tensor([price], dtype=torch.float64)
        orders = engine.decide(accounts, torch.tensor([wanted], dtype=torch.float64), market, n, rules)
        planned = engine.plan(accounts, orders, market, rules)
        trades = list(zip(SYMBOLS, planned.units[0].tolist(), planned.price_usd[0].tolist(), strict=True))
        for symbol, units, price_usd in sorted(trades, key=lambda trade: trade[1]):
            if units:
                side = Side.BUY if units > 0 else Side.SELL
                assert isinstance(broker.submit(order(side, abs(units), price_usd, symbol)), OrderReport)
        fills = engine.fills_of(accounts, planned, market, rules)
        accounts = engine.book(accounts, fills, orders.rules, market, n, rules)
        holdings = broker.holdings()
        assert float(holdings.cash_usd) == pytest.approx(accounts.cash_usd.item(), rel=1e-12, abs=1e-9)
        assert [float(holdings.units.get(symbol, 0)) for symbol in SYMBOLS] == accounts.units[0].tolist()
