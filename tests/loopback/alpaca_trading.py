"""Alpaca's trading language (v2) for the venue of the loopback exchange, with its spellings, codes and words."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import NAMESPACE_DNS, uuid5

from cappuccino.brokers.broker import Side
from tests.loopback.trading_exchange import NotTakenError, Order, Pair, Seen, TradingVenue

PREFIX = "/v2/"
KEY, SECRET = "PKLOOPBACK", "secret-of-the-loopback"
ACCOUNT = "PA3LOOPBACK1"

Answer = tuple[int, str]

_CODES = {
    "unknown_symbol": (422, 42210000),
    "halted": (422, 42210000),
    "too_small": (403, 40310000),
    "precision": (422, 42210000),
    "funds": (403, 40310000),
    "would_cross": (422, 42210000),
    "duplicate": (422, 40010001),
    "other": (403, 40310000),
}
_PARTLY, _NEW = "partially_filled", "new"


def answer(
    venue: TradingVenue, method: str, path: str, query: Mapping[str, str], body: Any, headers: Any
) -> tuple[int, str]:
    """Return status and body."""
    if headers.get("APCA-API-KEY-ID") != KEY or headers.get("APCA-API-SECRET-KEY") != SECRET:
        return _error(401, 40110000, "request is not authorized")
    word, _, rest = path.removeprefix(PREFIX).partition("/")
    found = _ANSWERS.get((method, word))
    return found(venue, rest, query, body) if found else _error(404, 40410000, "endpoint not found")


def _error(status: int, code: int, message: str) -> Answer:
    return status, json.dumps({"code": code, "message": message})


def _submit(venue: TradingVenue, rest: str, query: Mapping[str, str], body: Any) -> Answer:
    if body["time_in_force"] not in ("gtc", "ioc"):
        return _error(422, 42210000, "invalid crypto time_in_force")
    limit = Decimal(str(body["limit_price"])) if body["type"] == "limit" else None
    symbol = _ours(venue, body["symbol"])
    side = Side.BUY if body["side"] == "buy" else Side.SELL
    try:
        order = venue.submit(
            body["client_order_id"], symbol, side, Decimal(repr(body["qty"])), limit, body["time_in_force"]
        )
    except NotTakenError as refusal:
        return _error(*_CODES[refusal.why], refusal.words)
    return 200, json.dumps(_spelt(order, status="pending_new"))


def _list(venue: TradingVenue, rest: str, query: Mapping[str, str], body: Any) -> Answer:
    if rest:
        return _one(venue.seen().orders.get(rest), rest)
    orders = [order for order in venue.seen().orders.values() if _matches(order, query)]
    newest_first = sorted(orders, key=lambda order: order.submitted_at, reverse=query.get("direction") != "asc")
    return 200, json.dumps([_spelt(order) for order in newest_first[: min(int(query.get("limit", "50")), 500)]])


def _matches(order: Order, query: Mapping[str, str]) -> bool:
    status = query.get("status", "open")
    if status != "all" and order.is_live != (status == "open"):
        return False
    after, until = (datetime.fromisoformat(query[name]) if name in query else None for name in ("after", "until"))
    return (after is None or order.submitted_at > after) and (until is None or order.submitted_at < until)


def _by_client_id(venue: TradingVenue, rest: str, query: Mapping[str, str], body: Any) -> Answer:
    wanted = query["client_order_id"]
    return _one(next((o for o in venue.seen().orders.values() if o.client_id == wanted), None), wanted)


def _one(order: Order | None, wanted: str) -> Answer:
    if order is None:
        return _error(404, 40410000, f"order not found for {wanted}")
    return 200, json.dumps(_spelt(order))


def _cancel(venue: TradingVenue, rest: str, query: Mapping[str, str], body: Any) -> Answer:
    if rest not in venue.orders:
        return _error(404, 40410000, f"order not found for {rest}")
    if not venue.cancel(rest):
        return _error(422, 42210000, f'order is already in "{venue.orders[rest].state}" state')
    return 204, ""


def _account(venue: TradingVenue, rest: str, query: Mapping[str, str], body: Any) -> Answer:
    cash = venue.seen().balances["USD"]
    free = cash - venue.held("USD", venue.seen())
    fields = {
        "id": str(uuid5(NAMESPACE_DNS, ACCOUNT)),
        "account_number": ACCOUNT,
        "status": "ACTIVE",
        "crypto_status": "ACTIVE",
        "currency": "USD",
        "cash": str(cash),
        "buying_power": str(2 * free),
        "non_marginable_buying_power": str(free),
        "trading_blocked": False,
        "account_blocked": False,
    }
    return 200, json.dumps(fields)


def _positions(venue: TradingVenue, rest: str, query: Mapping[str, str], body: Any) -> Answer:
    seen = venue.seen()
    pairs = [pair for pair in venue.pairs.values() if seen.balances.get(pair.base)]
    if not rest:
        return 200, json.dumps([_position(venue, pair, seen) for pair in pairs])
    found = [pair for pair in pairs if pair.symbol.replace("/", "") == rest]
    if not found:
        return _error(404, 40410000, "position does not exist")
    return 200, json.dumps(_position(venue, found[0], seen))


def _position(venue: TradingVenue, pair: Pair, seen: Seen) -> dict[str, Any]:
    units = seen.balances[pair.base]
    return {
        "asset_id": str(uuid5(NAMESPACE_DNS, "another id than that of the asset" + pair.symbol)),
        "symbol": pair.symbol.replace("/", ""),
        "exchange": "CRYPTO",
        "asset_class": "crypto",
        "side": "long",
        "qty": f"{units:f}",
        "qty_available": f"{units - venue.held(pair.base, seen):f}",
        "avg_entry_price": "1",
        "cost_basis": f"{units:f}",
        "current_price": str(pair.bid),
        "market_value": f"{units * pair.bid:f}",
    }


def _assets(venue: TradingVenue, rest: str, query: Mapping[str, str], body: Any) -> Answer:
    return 200, json.dumps([_asset(pair) for pair in venue.pairs.values()])


def _asset(pair: Pair) -> dict[str, Any]:
    return {
        "id": _asset_id(pair.symbol),
        "class": "crypto",
        "exchange": "CRYPTO",
        "symbol": pair.symbol,
        "name": pair.symbol,
        "status": "active",
        "tradable": not pair.halted,
        "marginable": False,
        "shortable": False,
        "easy_to_borrow": False,
        "fractionable": True,
        "min_order_size": f"{pair.min_units:f}",
        "min_trade_increment": f"{pair.units_step:f}",
        "price_increment": f"{pair.price_step:f}",
        **pair.flags,
    }


def _asset_id(symbol: str) -> str:
    return str(uuid5(NAMESPACE_DNS, symbol))


def quotes(venue: TradingVenue, symbols: tuple[str, ...]) -> dict[str, Any]:
    """Return the newest quotes of those symbols that there are."""
    known = [venue.pairs[symbol] for symbol in symbols if symbol in venue.pairs]
    return {pair.symbol: _quote(pair, venue.now()) for pair in known}


def _quote(pair: Pair, now: datetime) -> dict[str, Any]:
    prices = {"bp": float(pair.bid), "ap": float(pair.ask)}
    return {"t": time_text(now), **prices, "bs": float(pair.bid_units), "as": float(pair.ask_units)}


def _ours(venue: TradingVenue, symbol: str) -> str:
    """Return our spelling of a symbol: orders accept both."""
    spellings = {pair.replace("/", ""): pair for pair in venue.pairs}
    return spellings.get(symbol.replace("/", ""), symbol)


def _spelt(order: Order, status: str = "") -> dict[str, Any]:
    words = {"pending": "pending_new", "open": _PARTLY if order.fills else _NEW}
    return {
        "id": order.venue_id,
        "client_order_id": order.client_id,
        "created_at": time_text(order.submitted_at),
        "updated_at": time_text(order.updated_at),
        "submitted_at": time_text(order.submitted_at),
        "asset_id": _asset_id(order.symbol),
        "symbol": order.symbol,
        "asset_class": "crypto",
        "notional": None,
        "qty": f"{order.units:f}",
        "filled_qty": f"{order.filled_units:f}",
        "filled_avg_price": f"{order.average:f}" if order.fills else None,
        "order_class": "",
        "type": "market" if order.limit is None else "limit",
        "order_type": "market" if order.limit is None else "limit",
        "side": "buy" if order.side is Side.BUY else "sell",
        "time_in_force": order.time_in_force,
        "limit_price": None if order.limit is None else f"{order.limit:f}",
        "status": status or words.get(order.state, order.state),
        "extended_hours": False,
    }


def time_text(moment: datetime) -> str:
    """Return a time with nine decimals, of which Python keeps six."""
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}123Z"


_ANSWERS: dict[tuple[str, str], Callable[[TradingVenue, str, Mapping[str, str], Any], Answer]] = {
    ("POST", "orders"): _submit,
    ("GET", "orders"): _list,
    ("GET", "orders:by_client_order_id"): _by_client_id,
    ("DELETE", "orders"): _cancel,
    ("GET", "account"): _account,
    ("GET", "positions"): _positions,
    ("GET", "assets"): _assets,
}
