"""One order of the trader, as the ledger keeps it."""

from __future__ import annotations

import sqlite3
import uuid
from dataclasses import dataclass, fields, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from cappuccino.brokers.broker import OrderReport, OrderRequest, Side
from cappuccino.trading.ledger import Entry, Ledger, from_us, to_us
from cappuccino.trading.order_states import OrderEvent, OrderState, after, told_by

_NAMESPACE = uuid.UUID("6f0f6b1e-6f36-5c43-9d0c-6a7f5e0b8a11")


class Purpose(StrEnum):
    """Why an order was made."""

    WISH = "wish"
    """The model wants it."""
    PROTECTION = "protection"
    """A risk rule sells."""
    FLATTEN = "flatten"
    """The kill switch, or the end of an account, sells everything."""


@dataclass(frozen=True)
class Order:
    """An intent, and what has become of it. Sizes are not negative."""

    client_id: str
    account: str
    decision: str
    purpose: Purpose
    symbol: str
    side: Side
    units: Decimal
    expected_usd: Decimal
    """What the cost model expects to pay or get."""
    decision_usd: float
    """Price that was decided on: the mark."""
    bid_usd: float
    ask_usd: float
    """The quote it was made at."""
    is_protective: bool
    """It lowers risk: a sale."""
    rules: int
    """`Rule` flags of the decision."""
    recorded_at: datetime
    limit_usd: Decimal | None = None
    """None: at the market."""
    attempt: int = 0
    state: OrderState = OrderState.RECORDED
    venue_id: str = ""
    filled_units: Decimal = Decimal(0)
    filled_usd: Decimal = Decimal(0)
    fee_usd: Decimal = Decimal(0)
    fee_units: Decimal = Decimal(0)
    is_maker: bool | None = None
    reason: str = ""
    sent_at: datetime | None = None
    asked_at: datetime | None = None
    """When its end was asked for."""
    updated_at: datetime | None = None

    @property
    def rest(self) -> Decimal:
        """Units that are not filled."""
        return self.units - self.filled_units

    @property
    def market_usd(self) -> float:
        """The market's price when it was made."""
        return (self.bid_usd + self.ask_usd) / 2.0

    def request(self) -> OrderRequest:
        """Return the order as a broker takes it."""
        return OrderRequest(self.client_id, self.symbol, self.side, self.units, self.expected_usd, self.limit_usd)

    def told(self, event: OrderEvent, now: datetime, reason: str = "") -> Order:
        """Return the order after `event`; raises TraderError when that cannot be."""
        return replace(self, state=after(self.state, event), reason=reason or self.reason, updated_at=now)

    def reported(self, report: OrderReport, now: datetime) -> Order:
        """Return the order as the venue reports it; a report that lags behind what we know changes no figure."""
        # Why we asked for its end says more than that the venue did so.
        told = self.told(told_by(report.state), now, "" if self.state is OrderState.CANCELING else report.reason)
        told = replace(told, venue_id=report.venue_id or self.venue_id)
        if report.filled_units < self.filled_units:
            return told
        filled_usd = report.filled_units * report.average_usd
        maker = self.is_maker if report.is_maker is None else report.is_maker
        return replace(
            told,
            filled_units=report.filled_units,
            filled_usd=filled_usd,
            fee_usd=max(report.fee_usd, self.fee_usd),
            fee_units=max(report.fee_units, self.fee_units),
            is_maker=maker,
        )

    def again(self, units: Decimal, limit_usd: Decimal | None, expected_usd: Decimal, now: datetime) -> Order:
        """Return the next order for what this one left unfilled: another id, the same decision."""
        attempt = self.attempt + 1
        return Order(
            client_id=client_id(self.client_id, self.decision, self.symbol, self.side, attempt),
            account=self.account,
            decision=self.decision,
            purpose=self.purpose,
            symbol=self.symbol,
            side=self.side,
            units=units,
            expected_usd=expected_usd,
            decision_usd=self.decision_usd,
            bid_usd=self.bid_usd,
            ask_usd=self.ask_usd,
            is_protective=self.is_protective,
            rules=self.rules,
            recorded_at=now,
            limit_usd=limit_usd,
            attempt=attempt,
        )


def client_id(owner: str, decision: str, symbol: str, side: Side, attempt: int) -> str:
    """Return the order's id: the same for the same decision, whoever computes it, and however often."""
    return str(uuid.uuid5(_NAMESPACE, f"{owner}|{decision}|{symbol}|{side.name}|{attempt}"))


def record(entry: Entry, order: Order) -> None:
    """Store an intent, with the first line of its history."""
    entry.insert("orders", **_columns(order))
    _note(entry, order, "recorded")


def store(entry: Entry, order: Order, note: str) -> None:
    """Store what has become of an order, with a line of its history."""
    columns = _columns(order)
    entry.update("orders", {"client_id": columns.pop("client_id")}, **columns)
    _note(entry, order, note)


def open_orders(ledger: Ledger, account: str) -> list[Order]:
    """Return the account's orders that are not over, in the order in which they were made."""
    states = [state.value for state in OrderState if not state.is_final]
    places = ", ".join("?" * len(states))
    return _orders(ledger, f"account = ? and state in ({places})", account, *states)


def ended_since(ledger: Ledger, account: str, moment: datetime) -> list[Order]:
    """Return the account's sent orders that have ended and changed since `moment`: late fills may follow."""
    states = [state.value for state in OrderState if state.is_final and state is not OrderState.DENIED]
    places = ", ".join("?" * len(states))
    where = f"account = ? and state in ({places}) and updated_us >= ?"
    return _orders(ledger, where, account, *states, to_us(moment))


def order_named(ledger: Ledger, client_id: str) -> Order | None:
    """Return the order with that id, None without one."""
    found = _orders(ledger, "client_id = ?", client_id)
    return found[0] if found else None


def _orders(ledger: Ledger, where: str, *values: Any) -> list[Order]:
    rows = ledger.rows(f"select * from orders where {where} order by recorded_us, rowid", *values)
    return [_order(row) for row in rows]


def _note(entry: Entry, order: Order, note: str) -> None:
    at = order.updated_at or order.recorded_at
    entry.insert("order_events", client_id=order.client_id, at_us=to_us(at), state=order.state.value, note=note)


_TIMES = ("recorded_at", "sent_at", "asked_at", "updated_at")
_DECIMALS = ("units", "expected_usd", "limit_usd", "filled_units", "filled_usd", "fee_usd", "fee_units")


def _columns(order: Order) -> dict[str, Any]:
    values = {field.name: getattr(order, field.name) for field in fields(order)}
    for name in _TIMES:
        moment = values.pop(name)
        values[name.removesuffix("at") + "us"] = None if moment is None else to_us(moment)
    values["updated_us"] = values["updated_us"] or values["recorded_us"]
    for name in _DECIMALS:
        values[name] = None if values[name] is None else str(values[name])
    values |= {"side": int(order.side), "purpose": order.purpose.value, "state": order.state.value}
    values["is_protective"] = int(order.is_protective)
    values["is_maker"] = None if order.is_maker is None else int(order.is_maker)
    return values


def _order(row: sqlite3.Row) -> Order:
    values = {name: row[name] for name in tuple(row.keys()) if name != "version"}
    for name in _TIMES:
        us = values.pop(name.removesuffix("at") + "us")
        values[name] = None if us is None else from_us(us)
    for name in _DECIMALS:
        values[name] = None if values[name] is None else Decimal(values[name])
    values |= {"side": Side(row["side"]), "purpose": Purpose(row["purpose"]), "state": OrderState(row["state"])}
    values["is_protective"] = bool(row["is_protective"])
    values["is_maker"] = None if row["is_maker"] is None else bool(row["is_maker"])
    return Order(**values)
