"""Coinbase's trading language for the loopback exchange: signed tokens, pages, and refusals with status 200."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import NAMESPACE_DNS, UUID, uuid5

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from cappuccino.brokers.broker import Side
from tests.loopback.trading_exchange import NotTakenError, Order, Pair, TradingVenue

PREFIX = "/api/v3/brokerage/"
KEY = "organizations/0ad1b2c3-0000-4000-8000-000000000001/apiKeys/0ad1b2c3-0000-4000-8000-000000000002"
PORTFOLIO = "7c1f2a90-5b6d-4e8f-9a01-23456789abcd"
TIER = "Intro 1"

_PRIVATE = ec.generate_private_key(ec.SECP256R1())
SECRET = _PRIVATE.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
).decode()
"""Made anew for every process: an ECDSA key in the form that Coinbase hands out."""

Answer = tuple[int, str]
Query = Mapping[str, str]

# Coinbase puts the reason into one of three fields.
_REFUSALS = {
    "unknown_symbol": {"preview_failure_reason": "PREVIEW_INVALID_PRODUCT_ID"},
    "halted": {"new_order_failure_reason": "ORDER_ENTRY_DISABLED"},
    "too_small": {"preview_failure_reason": "PREVIEW_INVALID_BASE_SIZE_TOO_SMALL"},
    "precision": {"error": "INVALID_SIZE_PRECISION"},
    "funds": {"preview_failure_reason": "PREVIEW_INSUFFICIENT_FUND"},
    "would_cross": {"new_order_failure_reason": "INVALID_LIMIT_PRICE_POST_ONLY"},
    "other": {"error": "UNKNOWN_FAILURE_REASON"},
}
_STATES = {
    "pending": "PENDING",
    "open": "OPEN",
    "filled": "FILLED",
    "canceled": "CANCELLED",
    "expired": "EXPIRED",
    "rejected": "FAILED",
}


def answer(venue: TradingVenue, method: str, path: str, query: Query, body: Any, headers: Any) -> Answer:
    """Return status and body."""
    word = path.removeprefix(PREFIX)
    refused = _refuse_token(venue, method, path, headers, needed=word != "time")
    if refused:
        return 401, refused
    for (wanted, start), found in _ANSWERS.items():
        if method == wanted and (word == start or word.startswith(start + "/")):
            return found(venue, word.removeprefix(start).strip("/"), query, body)
    return 404, '{"error": "NOT_FOUND", "message": "no such endpoint"}'


def _refuse_token(venue: TradingVenue, method: str, path: str, headers: Any, needed: bool) -> str:
    """Return what is wrong with the token, as the plain text that Coinbase answers; empty when nothing is."""
    token = str(headers.get("Authorization", "")).removeprefix("Bearer ")
    if not token:
        return "Unauthorized" if needed else ""
    try:
        claims = jwt.decode(
            token, _PRIVATE.public_key(), algorithms=["ES256"], options={"verify_exp": False, "verify_nbf": False}
        )
    except jwt.InvalidTokenError:
        return "Unauthorized"
    now_s = venue.now().timestamp()
    is_ours = claims["sub"] == KEY and claims["uri"] == f"{method} {headers['Host']}{path}"
    return "" if is_ours and claims["nbf"] - 30 <= now_s <= claims["exp"] else "Unauthorized"


def _json(answer: object) -> Answer:
    return 200, json.dumps(answer)


def _accounts(venue: TradingVenue, rest: str, query: Query, body: Any) -> Answer:
    """Every wallet is a row, used or not, and the default page is short."""
    seen = venue.seen()
    empty = {f"X{n:03}": Decimal(0) for n in range(venue.empty_wallets)}
    rows = [_wallet(venue, currency, units) for currency, units in {**empty, **seen.balances}.items()]
    return _json(_page("accounts", rows, query, default=49, most=250))


def _wallet(venue: TradingVenue, currency: str, units: Decimal) -> dict[str, Any]:
    held = venue.held(currency, venue.seen())
    return {
        "uuid": str(uuid5(NAMESPACE_DNS, currency)),
        "name": f"{currency} Wallet",
        "currency": currency,
        "available_balance": {"value": f"{units - held:f}", "currency": currency},
        "hold": {"value": f"{held:f}", "currency": currency},
        "active": True,
        "ready": True,
        "type": "ACCOUNT_TYPE_FIAT" if currency == "USD" else "ACCOUNT_TYPE_CRYPTO",
        "retail_portfolio_id": PORTFOLIO,
    }


def _page(key: str, rows: list[Any], query: Query, default: int, most: int) -> dict[str, Any]:
    first = int(query.get("cursor") or 0)
    last = first + min(int(query.get("limit", default)), most)
    has_next = last < len(rows)
    return {key: rows[first:last], "has_next": has_next, "cursor": str(last) if has_next else ""}


def _products(venue: TradingVenue, rest: str, query: Query, body: Any) -> Answer:
    products = {pair.symbol.replace("/", "-"): _product(pair) for pair in venue.pairs.values()}
    if not rest:
        return _json({"products": list(products.values()), "num_products": len(products)})
    if rest not in products:
        return 404, '{"error": "NOT_FOUND", "error_details": "", "message": "ProductID is invalid"}'
    return _json(products[rest])


def _product(pair: Pair) -> dict[str, Any]:
    base, quote = pair.symbol.split("/")
    flags = dict.fromkeys(("is_disabled", "cancel_only", "limit_only", "post_only", "view_only", "auction_mode"), False)
    return {
        "product_id": f"{base}-{quote}",
        "price": f"{pair.bid:f}",
        "base_increment": f"{pair.units_step:f}",
        "quote_increment": "0.01",
        "price_increment": f"{pair.price_step:f}",
        "quote_min_size": f"{pair.min_buy_usd:f}",
        "base_min_size": f"{pair.min_units:f}",
        "base_max_size": "3400",
        "base_currency_id": base,
        "quote_currency_id": quote,
        "status": "online",
        "product_type": "SPOT",
        "trading_disabled": pair.halted,
        **flags,
        **pair.flags,
    }


def _summary(venue: TradingVenue, rest: str, query: Query, body: Any) -> Answer:
    if query.get("product_type") != "SPOT":
        return 400, '{"error": "INVALID_ARGUMENT", "message": "product_type"}'
    rates = {"maker_fee_rate": f"{venue.maker_frac:f}", "taker_fee_rate": f"{venue.taker_frac:f}"}
    tier = {"pricing_tier": TIER, "usd_from": "0", "usd_to": "10000", **rates}
    return _json({"total_volume": float(venue.volume_usd), "total_fees": 0, "fee_tier": tier, "has_promo_fee": False})


def _permissions(venue: TradingVenue, rest: str, query: Query, body: Any) -> Answer:
    rights = {"can_view": True, "can_trade": True, "can_transfer": False}
    return _json({**rights, "portfolio_uuid": PORTFOLIO, "portfolio_type": "DEFAULT"})


def _time(venue: TradingVenue, rest: str, query: Query, body: Any) -> Answer:
    now = venue.now()
    seconds = int(now.timestamp())
    return _json({"iso": _iso(now), "epochSeconds": str(seconds), "epochMillis": str(int(now.timestamp() * 1000))})


def _submit(venue: TradingVenue, rest: str, query: Query, body: Any) -> Answer:
    """A refusal is status 200, and a client id that was there hands the earlier order back."""
    try:
        asked = _asked(body)
    except (KeyError, TypeError, ValueError) as error:
        return 400, json.dumps({"error": "INVALID_ARGUMENT", "error_details": str(error), "message": str(error)})
    try:
        order = venue.submit(body["client_order_id"], **asked)
    except NotTakenError as refusal:
        if refusal.why != "duplicate" or refusal.order is None:
            said = {"error": "UNKNOWN_FAILURE_REASON", "message": refusal.words, "error_details": ""}
            said.update(_REFUSALS.get(refusal.why, {}))
            return _json({"success": False, "failure_reason": "UNKNOWN_FAILURE_REASON", "error_response": said})
        order = refusal.order
    taken = {
        "order_id": order.venue_id,
        "product_id": order.symbol.replace("/", "-"),
        "side": order.side.name,
        "client_order_id": order.client_id,
    }
    # Its constructor in the SDK fails on the null.
    return _json({"success": True, "success_response": taken, "order_configuration": None})


def _asked(body: Any) -> dict[str, Any]:
    """Return what an order asks for; raises ValueError for what Coinbase does not read."""
    UUID(body["client_order_id"])
    ((kind, fields),) = body["order_configuration"].items()
    if kind not in ("market_market_ioc", "limit_limit_gtc"):
        raise ValueError(f"{kind} is not supported")
    if not all(isinstance(fields.get(key, ""), str) for key in ("base_size", "limit_price")):
        raise ValueError("sizes and prices are text")
    is_limit = kind == "limit_limit_gtc"
    return {
        "symbol": body["product_id"].replace("-", "/"),
        "side": Side[body["side"]],
        "units": Decimal(fields["base_size"]),
        "limit": Decimal(fields["limit_price"]) if is_limit else None,
        "time_in_force": "gtc" if is_limit else "ioc",
        "post_only": is_limit and fields["post_only"] is True,
    }


def _cancel(venue: TradingVenue, rest: str, query: Query, body: Any) -> Answer:
    results = []
    for venue_id in body["order_ids"]:
        known = venue_id in venue.orders
        taken = known and venue.cancel(venue_id)
        reason = "UNKNOWN_CANCEL_FAILURE_REASON" if taken else "UNKNOWN_CANCEL_ORDER"
        results.append({"success": taken, "failure_reason": reason, "order_id": venue_id})
    return _json({"results": results})


def _one(venue: TradingVenue, rest: str, query: Query, body: Any) -> Answer:
    order = venue.seen().orders.get(rest)
    if order is None:
        return 404, '{"error": "NOT_FOUND", "error_details": "", "message": "order not found"}'
    return _json({"order": _spelt(order)})


def _list(venue: TradingVenue, rest: str, query: Query, body: Any) -> Answer:
    """Newest first. The filter OPEN leaves out what is pending."""
    status, start = query.get("order_status"), query.get("start_date")
    since = datetime.fromisoformat(start) if start else datetime.fromisoformat("2000-01-01T00:00:00+00:00")
    rows = [
        _spelt(order)
        for order in sorted(venue.seen().orders.values(), key=lambda order: order.submitted_at, reverse=True)
        if order.submitted_at >= since and status in (None, _STATES[order.state])
    ]
    return _json(_page("orders", rows, query, default=venue.page_orders, most=venue.page_orders))


def _spelt(order: Order) -> dict[str, Any]:
    size = {"base_size": f"{order.units:f}"}
    if order.limit is None:
        configuration: dict[str, Any] = {"market_market_ioc": size}
    else:
        limits = {"limit_price": f"{order.limit:f}", "post_only": order.post_only}
        configuration = {"limit_limit_gtc": {**size, **limits}}
    return {
        "order_id": order.venue_id,
        "product_id": order.symbol.replace("/", "-"),
        "user_id": "loopback",
        "order_configuration": configuration,
        "side": order.side.name,
        "client_order_id": order.client_id,
        "status": _STATES[order.state],
        "time_in_force": "IMMEDIATE_OR_CANCEL" if order.limit is None else "GOOD_UNTIL_CANCELLED",
        "created_time": _iso(order.submitted_at),
        "completion_percentage": f"{100 * order.filled_units / order.units:f}",
        "filled_size": f"{order.filled_units:f}",
        "average_filled_price": f"{order.average:f}",
        "fee": "",
        "number_of_fills": str(len(order.fills)),
        "filled_value": f"{order.filled_units * order.average:f}",
        "total_fees": f"{order.fee_usd:f}",
        "settled": order.state == "filled",
        "product_type": "SPOT",
        "reject_reason": "REJECT_REASON_UNSPECIFIED",
        "reject_message": "",
        "cancel_message": order.reason,
        "last_fill_time": _iso(order.fills[-1].at) if order.fills else None,
        "retail_portfolio_id": PORTFOLIO,
    }


def _iso(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z"


_ANSWERS: dict[tuple[str, str], Callable[[TradingVenue, str, Query, Any], Answer]] = {
    ("GET", "accounts"): _accounts,
    ("GET", "products"): _products,
    ("GET", "transaction_summary"): _summary,
    ("GET", "key_permissions"): _permissions,
    ("GET", "time"): _time,
    ("GET", "orders/historical/batch"): _list,
    ("GET", "orders/historical"): _one,
    ("POST", "orders/batch_cancel"): _cancel,
    ("POST", "orders"): _submit,
}
