"""Orders and reports by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from cappuccino.brokers.broker import OrderReport, Side, VenueState
from cappuccino.market.interval import Interval
from cappuccino.portfolio.account import open_accounts
from cappuccino.registry.identity import ModelId
from cappuccino.trading.desk_account import DeskAccount
from cappuccino.trading.orders import Order, Purpose

NOW = datetime(2025, 3, 3, 12, tzinfo=UTC)
BTC, ETH = "BTC/USD", "ETH/USD"


def order(side: Side = Side.BUY, units: str = "2", symbol: str = BTC, **fields: Any) -> Order:
    """Return an order made at a market of 100."""
    usual: dict[str, Any] = {
        "client_id": f"{symbol}-{side.name}",
        "account": "alpaca",
        "decision": "alpaca@12",
        "purpose": Purpose.WISH,
        "symbol": symbol,
        "side": side,
        "units": Decimal(units),
        "expected_usd": Decimal(100),
        "decision_usd": 100.0,
        "bid_usd": 99.0,
        "ask_usd": 101.0,
        "is_protective": False,
        "rules": 0,
        "recorded_at": NOW,
    }
    return Order(**(usual | fields))


def report(of: Order, state: VenueState, filled: str = "0", average: str = "0", **fees: str) -> OrderReport:
    """Return what a venue says of an order."""
    taken = {name: Decimal(amount) for name, amount in fees.items()}
    return OrderReport(
        of.client_id, "v1", of.symbol, of.side, state, of.units, Decimal(filled), Decimal(average), **taken
    )


def account(cash_usd: float = 1000.0, **fields: Any) -> DeskAccount:
    """Return an account at a venue that trades two symbols and holds nothing."""
    usual: dict[str, Any] = {
        "key": "alpaca",
        "broker": "alpaca",
        "market": "simulated",
        "stage": "production",
        "model": ModelId("s", 1),
        "symbols": (BTC, ETH),
        "interval": Interval.H1,
        "opened_at": NOW,
        "cash_usd": cash_usd,
        "state": open_accounts(1, 2, cash_usd),
    }
    return DeskAccount(**(usual | fields))


def holding(units: float, entry_usd: float = 100.0, cash_usd: float = 1000.0, **fields: Any) -> DeskAccount:
    """Return an account that holds bitcoins."""
    found = account(cash_usd, **fields)
    found.state.units[0, 0] = units
    found.state.average_entry_usd[0, 0] = found.state.peak_price_usd[0, 0] = entry_usd
    found.state.in_cycle[0] = units > 0
    return found
