"""What Coinbase answers, checked and put into our words.

All functions here are pure and raise ValueError or LookupError for an answer that is empty, malformed or contradicts
itself: nothing is guessed, and a missing number is never a nought.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from cappuccino.brokers.broker import FeeTier, Holdings, Instrument, OrderReport, Refusal, Refused, Side, VenueState

Fields = Mapping[str, Any]

STATES = {
    "PENDING": VenueState.PENDING,
    "QUEUED": VenueState.PENDING,
    "UNKNOWN_ORDER_STATUS": VenueState.PENDING,
    "OPEN": VenueState.OPEN,
    "CANCEL_QUEUED": VenueState.OPEN,
    "EDIT_QUEUED": VenueState.OPEN,
    "FILLED": VenueState.FILLED,
    "CANCELLED": VenueState.CANCELED,
    "EXPIRED": VenueState.EXPIRED,
    "FAILED": VenueState.REJECTED,
}
_SIDES = {"BUY": Side.BUY, "SELL": Side.SELL}
_STOPS = ("trading_disabled", "is_disabled", "cancel_only", "view_only")
_NO_MARKET_ORDERS = ("limit_only", "post_only", "auction_mode")
_NOT_FOR_TRADING = ("ACCOUNT_TYPE_VAULT", "ACCOUNT_TYPE_PERP_FUTURES")
_ENDED_OR_ENDING = ("DUPLICATE_CANCEL_REQUEST",)
COUNTED_AFTER = timedelta(minutes=5)
"""So long after its last fill an order that is called filled is believed, whatever the sum of its fills."""

# The first words that occur in a refusal decide what is to be done about it.
_KINDS = (
    ("POST_ONLY", Refusal.WOULD_CROSS),
    ("PRECISION", Refusal.PRECISION),
    ("TOO_SMALL", Refusal.TOO_SMALL),
    ("TOO SMALL", Refusal.TOO_SMALL),
    ("MINIMUM", Refusal.TOO_SMALL),
    ("INSUFFICIENT", Refusal.FUNDS),
    ("LEDGER_BALANCE", Refusal.FUNDS),
    ("RATE_LIMIT", Refusal.RATE),
    ("PERMISSION", Refusal.CREDENTIALS),
    ("UNAUTHORIZED", Refusal.CREDENTIALS),
    ("SCOPES", Refusal.CREDENTIALS),
    ("PRODUCT", Refusal.NOT_TRADABLE),
    ("INELIGIBLE", Refusal.NOT_TRADABLE),
    ("DISABLED", Refusal.NOT_TRADABLE),
    ("NOT AVAILABLE", Refusal.NOT_TRADABLE),
    ("_ONLY", Refusal.NOT_TRADABLE),
)
_REASONS = ("new_order_failure_reason", "preview_failure_reason", "error")
_SAYS_NOTHING = ("", "UNKNOWN", "UNSPECIFIED")


@dataclass(frozen=True)
class Page:
    """Some rows of a list, and where the next ones are; no cursor is the end."""

    rows: tuple[Fields, ...]
    cursor: str


@dataclass(frozen=True)
class Wallet:
    """One currency of the account."""

    uuid: str
    currency: str
    free: Decimal
    held: Decimal
    portfolio: str = ""


@dataclass(frozen=True)
class Permissions:
    """What the keys may do, and with which portfolio: a key is bound to one when it is made."""

    portfolio: str
    can_trade: bool
    can_transfer: bool


def page(answer: Any, key: str) -> Page:
    """Return one page of a list; the list has to be there, an empty one is for the caller to judge."""
    fields = _fields(answer, "a list")
    rows, cursor = fields[key], fields.get("cursor") or ""
    if not isinstance(rows, list):
        raise ValueError(f"{key} is {rows!r}, no list")
    is_last = fields.get("has_next") is False or (fields.get("has_next") is None and not cursor)
    if not is_last and not cursor:
        raise ValueError(f"there is another page of {key}, but no cursor to it")
    return Page(tuple(_fields(row, key) for row in rows), "" if is_last else str(cursor))


def wallet(row: Fields) -> Wallet | None:
    """Return the balance of one currency; None for what cannot be traded with, as a vault."""
    if row.get("type") in _NOT_FOR_TRADING:
        return None
    currency = _text(row, "currency")
    available = _fields(row["available_balance"], "available_balance")
    if available.get("currency", currency) != currency:
        raise ValueError(f"the wallet of {currency} has a balance of {available.get('currency')}")
    hold = row.get("hold")
    held = _number(_fields(hold, "hold"), "value") if hold else Decimal(0)
    portfolio = str(row.get("retail_portfolio_id") or "")
    return Wallet(str(row.get("uuid") or currency), currency, _number(available, "value"), held, portfolio)


def holdings(wallets: Iterable[Wallet], quote: str) -> Holdings:
    """Return what the account holds, with the wallet of `quote` as its cash.

    Raises ValueError without that wallet: every account has one, so a page is missing.
    """
    # By identity, since a list that changes while it is paged can show a wallet twice.
    single = {wallet.uuid: wallet for wallet in wallets}
    free: dict[str, Decimal] = {}
    whole: dict[str, Decimal] = {}
    for each in single.values():
        free[each.currency] = free.get(each.currency, Decimal(0)) + each.free
        whole[each.currency] = whole.get(each.currency, Decimal(0)) + each.free + each.held
    if quote not in whole:
        found = ", ".join(sorted(whole)) or "nothing"
        raise ValueError(
            f"no wallet of {quote} in what came ({found}); a page must be missing, or the account has none"
        )
    return Holdings(
        cash_usd=whole.pop(quote),
        free_cash_usd=free.pop(quote),
        units={f"{currency}/{quote}": units for currency, units in whole.items() if units},
        free_units={f"{currency}/{quote}": units for currency, units in free.items() if units},
    )


def instrument(answer: Any, symbol: str) -> Instrument:
    """Return what is accepted of `symbol`."""
    fields = _fields(answer, "a product")
    if fields["product_id"] != product_of(symbol):
        raise ValueError(f"asked for {product_of(symbol)}, came {fields['product_id']!r}")
    least_usd = _number(fields, "quote_min_size")
    price_key = "price_increment" if fields.get("price_increment") else "quote_increment"
    return Instrument(
        symbol=symbol,
        units_step=_positive(fields, "base_increment"),
        price_step=_positive(fields, price_key),
        min_units=_number(fields, "base_min_size"),
        min_buy_usd=least_usd,
        min_sell_usd=least_usd,
        max_units=_positive(fields, "base_max_size") if fields.get("base_max_size") else None,
        halted=_halted(fields),
        takes_market=not any(_flag(fields, name) for name in _NO_MARKET_ORDERS),
    )


def _halted(fields: Fields) -> str:
    reasons = [name for name in _STOPS if _flag(fields, name)]
    status = fields.get("status") or "online"
    if status != "online":
        reasons.append(f"status {status}")
    return ", ".join(reasons)


def fee_tier(answer: Any) -> FeeTier:
    """Return the tier of now. A promotional one beside it is left aside: it ends without notice."""
    fields = _fields(answer, "a summary of transactions")
    tier = _fields(fields["fee_tier"], "fee_tier")
    maker, taker = _number(tier, "maker_fee_rate"), _number(tier, "taker_fee_rate")
    if max(maker, taker) >= Decimal("0.5"):
        raise ValueError(f"fee rates {maker} and {taker} are no fractions that a venue takes")
    volume = _number(fields, "total_volume") if fields.get("total_volume") is not None else Decimal(0)
    return FeeTier(str(tier.get("pricing_tier") or ""), maker, taker, volume)


def permissions(answer: Any) -> Permissions:
    """Return what the keys may do."""
    fields = _fields(answer, "permissions")
    return Permissions(_text(fields, "portfolio_uuid"), _flag(fields, "can_trade"), _flag(fields, "can_transfer"))


def unix_s(answer: Any) -> float:
    """Return the venue's time in seconds since 1970."""
    fields = _fields(answer, "a time")
    if fields.get("epochMillis"):
        return float(_positive(fields, "epochMillis")) / 1000
    return float(_positive(fields, "epochSeconds"))


def created(answer: Any, client_id: str) -> str | Refused:
    """Return the venue's id of the order, or why there is none.

    Raises ValueError when the answer leaves open which, and when it says that the order was there before.
    """
    fields = _fields(answer, "an order")
    if fields.get("success") is True:
        taken = _fields(fields["success_response"], "success_response")
        if taken.get("client_order_id", client_id) != client_id:
            raise ValueError(f"sent order {client_id}, came an answer to {taken['client_order_id']!r}")
        return _text(taken, "order_id")
    if fields.get("success") is not False:
        raise ValueError("the answer does not say whether the order was taken")
    error = fields.get("error_response")
    reason = refusal_text(error if isinstance(error, Mapping) else {}, fields.get("failure_reason"))
    if "DUPLICATE" in reason.upper():
        raise ValueError(f"there is such an order already: {reason}")
    return Refused(reason, refusal_kind(reason))


def refusal_text(error: Fields, other: Any = None) -> str:
    """Return every reason that a refusal gives: Coinbase puts it into one of three fields."""
    found = [str(error.get(key) or "") for key in _REASONS] + [other if isinstance(other, str) else ""]
    reasons = [word for word in dict.fromkeys(found) if not _is_empty(word)]
    details = [str(error[key]) for key in ("message", "error_details") if error.get(key)]
    return "; ".join(dict.fromkeys([*reasons, *details])) or "no reason given"


def refusal_kind(reason: str) -> Refusal:
    """Return what a refusal's words ask us to do."""
    upper = reason.upper()
    return next((kind for words, kind in _KINDS if words in upper), Refusal.OTHER)


def canceled(answer: Any, venue_id: str) -> str:
    """Return why the order cannot be cancelled; empty when the request was taken, which is not yet its end."""
    results = _fields(answer, "an answer to a cancel")["results"]
    mine = [row for row in results if _fields(row, "results").get("order_id") == venue_id]
    if len(mine) != 1 or not isinstance(mine[0].get("success"), bool):
        raise ValueError(f"the answer does not say what became of the cancel of {venue_id}: {results!r}"[:300])
    reason = str(mine[0].get("failure_reason") or "no reason given")
    return "" if mine[0]["success"] or reason in _ENDED_OR_ENDING else reason


def order_of(answer: Any, now: datetime) -> OrderReport:
    """Return the order in an answer that holds one."""
    return order_report(_fields(_fields(answer, "an answer")["order"], "order"), now)


def order_report(order: Fields, now: datetime) -> OrderReport:
    """Return what has become of an order; its `order_configuration` may be null."""
    updated_at = _time(order.get("last_fill_time")) or _time(order.get("created_time"))
    is_old = updated_at is not None and now - updated_at > COUNTED_AFTER
    configuration = _configuration(order)
    filled = _number_or_nought(order, "filled_size")
    units = _number(configuration, "base_size") if configuration.get("base_size") else filled
    return OrderReport(
        client_id=str(order.get("client_order_id") or ""),
        venue_id=_text(order, "order_id"),
        symbol=_text(order, "product_id").replace("-", "/"),
        side=_known(_SIDES, order, "side"),
        state=_state(order, units, filled, is_old),
        units=units,
        filled_units=filled,
        average_usd=_average(order, filled),
        fee_usd=_number_or_nought(order, "total_fees") if filled else Decimal(0),
        is_maker=_is_maker(order, configuration) if filled else None,
        reason=_ending(order),
        updated_at=updated_at,
    )


def is_spot(order: Fields) -> bool:
    """Return whether an order is one of the spot market: futures have their own account."""
    return order.get("product_type") in (None, "", "SPOT", "UNKNOWN_PRODUCT_TYPE")


def product_of(symbol: str) -> str:
    """Return Coinbase's spelling: BTC/USD is BTC-USD."""
    return symbol.replace("/", "-")


def _state(order: Fields, units: Decimal, filled: Decimal, is_old: bool) -> VenueState:
    state = _known(STATES, order, "status")
    # FILLED can come before its last fills are counted; it is believed once the sum is there, or does not change.
    is_counted = filled >= units > 0 or (filled > 0 and (order.get("settled") is True or is_old))
    return VenueState.OPEN if state is VenueState.FILLED and not is_counted else state


def _average(order: Fields, filled: Decimal) -> Decimal:
    if not filled:
        return Decimal(0)
    average = _number_or_nought(order, "average_filled_price")
    return average or _positive(order, "filled_value") / filled


def _configuration(order: Fields) -> Fields:
    """Return what was ordered, without the name of its kind; empty when the venue does not say."""
    kinds = order.get("order_configuration")
    found = next(iter(kinds.values()), None) if isinstance(kinds, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _is_maker(order: Fields, configuration: Fields) -> bool | None:
    if configuration.get("post_only") is True:
        return True
    kinds = order.get("order_configuration")
    return False if isinstance(kinds, Mapping) and "market_market_ioc" in kinds else None


def _ending(order: Fields) -> str:
    words = [str(order.get(key) or "") for key in ("reject_reason", "reject_message", "cancel_message")]
    return "; ".join(dict.fromkeys(word for word in words if not _is_empty(word)))


def _is_empty(word: str) -> bool:
    return word in _SAYS_NOTHING or word.startswith("UNKNOWN_") or word.endswith("_UNSPECIFIED")


def _known(words: Mapping[str, Any], fields: Fields, key: str) -> Any:
    if not isinstance(fields[key], str) or fields[key] not in words:
        raise ValueError(f"{key} {fields[key]!r} is none of {', '.join(words)}")
    return words[fields[key]]


def _fields(value: Any, name: str) -> Fields:
    if not isinstance(value, Mapping) or not value:
        raise ValueError(f"{name} is {str(value)[:100]!r}")
    return value


def _text(fields: Fields, key: str) -> str:
    found = fields[key]
    if not isinstance(found, str) or not found:
        raise ValueError(f"{key} is {found!r}")
    return found


def _flag(fields: Fields, key: str) -> bool:
    found = fields.get(key)
    if found not in (None, True, False):
        raise ValueError(f"{key} is {found!r}, neither true nor false")
    return bool(found)


def _number(fields: Fields, key: str) -> Decimal:
    """Return a finite number from 0 on."""
    found = fields[key]
    try:
        number = Decimal(str(found))
    except InvalidOperation:
        raise ValueError(f"{key} is {found!r}, no number") from None
    if isinstance(found, bool) or not number.is_finite() or number < 0:
        raise ValueError(f"{key} is {found!r}, no number from 0 on")
    return number


def _number_or_nought(order: Fields, key: str) -> Decimal:
    """Return a sum over the fills of an order, which is an empty text before the first."""
    return Decimal(0) if order[key] == "" else _number(order, key)


def _positive(fields: Fields, key: str) -> Decimal:
    number = _number(fields, key)
    if not number:
        raise ValueError(f"{key} is 0")
    return number


def _time(text: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo else None
