"""What Alpaca's trading interface sends, checked, and made the broker's own words.

Rows that lack what is needed, or hold numbers that cannot be, raise ValueError (pydantic's ValidationError is one).
"""

from __future__ import annotations

from decimal import ROUND_UP, Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, field_validator, model_validator

from cappuccino.brokers.broker import FeeTier, Instrument, OrderReport, Side, VenueState

STEP = Decimal("1e-9")
"""Smallest part of a coin: the venue takes and credits nine decimals."""
MIN_BUY_USD = Decimal(10)
_QUOTES = ("USDT", "USDC", "USD", "BTC")

Amount = Annotated[Decimal, Field(ge=0)]

_STATES = {
    "accepted": VenueState.PENDING,
    "pending_new": VenueState.PENDING,
    "accepted_for_bidding": VenueState.PENDING,
    "filled": VenueState.FILLED,
    "canceled": VenueState.CANCELED,
    "replaced": VenueState.CANCELED,
    "expired": VenueState.EXPIRED,
    "rejected": VenueState.REJECTED,
}
"""All other words are of orders that may still be filled."""

# Crypto fee page of 2025-09-24: 30-day volume in USD from which shares for maker and taker hold.
_TIERS = (
    (0, "0.0015", "0.0025"),
    (100_000, "0.0012", "0.0022"),
    (500_000, "0.0010", "0.0020"),
    (1_000_000, "0.0008", "0.0018"),
    (10_000_000, "0.0005", "0.0015"),
    (25_000_000, "0.0002", "0.0013"),
    (50_000_000, "0.0002", "0.0012"),
    (100_000_000, "0", "0.0010"),
)


class _Payload(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", coerce_numbers_to_str=True)


class OrderRow(_Payload):
    id: str
    client_order_id: str
    symbol: str
    side: Literal["buy", "sell"]
    status: str
    submitted_at: AwareDatetime
    updated_at: AwareDatetime | None = None
    qty: Amount | None = None
    limit_price: Amount | None = None
    filled_qty: Amount = Decimal(0)
    filled_avg_price: Amount | None = None

    @field_validator("filled_qty", mode="before")
    @classmethod
    def _none_is_nothing(cls, found: Any) -> Any:
        return 0 if found is None else found

    @model_validator(mode="after")
    def _fills_have_a_price(self) -> Self:
        if self.filled_qty and not self.filled_avg_price:
            raise ValueError(f"order {self.client_order_id}: {self.filled_qty} filled without a price")
        return self

    @property
    def notional_usd(self) -> Decimal:
        return self.filled_qty * self._average_usd

    @property
    def _average_usd(self) -> Decimal:
        return self.filled_avg_price if self.filled_qty and self.filled_avg_price else Decimal(0)

    def report(self, tier: FeeTier) -> OrderReport:
        """Return the row as a report; the venue tells no fees, so they are what the tier says.

        A limit that was filled at a better price than its own was taken at once, and paid for as such.
        """
        side = Side.BUY if self.side == "buy" else Side.SELL
        average = self._average_usd
        rested = self.limit_price is not None and average == self.limit_price
        fee_frac = tier.maker_frac if rested else tier.taker_frac
        buys = side is Side.BUY
        # Upwards: rather believe that a crumb less is there than sell one that is not.
        fee_units = (self.filled_qty * fee_frac).quantize(STEP, ROUND_UP) if buys else Decimal(0)
        return OrderReport(
            client_id=self.client_order_id,
            venue_id=self.id,
            symbol=slashed(self.symbol),
            side=side,
            state=_STATES.get(self.status, VenueState.OPEN),
            units=self.qty if self.qty is not None else self.filled_qty,
            filled_units=self.filled_qty,
            average_usd=average,
            fee_usd=Decimal(0) if buys else self.notional_usd * fee_frac,
            fee_units=fee_units,
            is_maker=rested if self.filled_qty else None,
            reason=self.status if self.status in ("canceled", "expired", "rejected", "replaced") else "",
            updated_at=self.updated_at or self.submitted_at,
        )


class AccountRow(_Payload):
    id: str = ""
    account_number: str = ""
    currency: Literal["USD"] = "USD"
    cash: Decimal
    non_marginable_buying_power: Decimal | None = None

    @model_validator(mode="after")
    def _has_a_name(self) -> Self:
        if not self.name:
            raise ValueError("an account without a number")
        return self

    @property
    def name(self) -> str:
        """What tells the account from others."""
        return self.account_number or self.id

    @property
    def free_cash_usd(self) -> Decimal:
        """Cash without what open orders hold back. `buying_power` may be a credit, which coins cannot be bought on."""
        settled = self.cash if self.non_marginable_buying_power is None else self.non_marginable_buying_power
        return max(min(self.cash, settled), Decimal(0))


class PositionRow(_Payload):
    symbol: str
    side: Literal["long"] = "long"
    qty: Amount
    qty_available: Amount | None = None

    @property
    def free_units(self) -> Decimal:
        return self.qty if self.qty_available is None else min(self.qty, self.qty_available)


class AssetRow(_Payload):
    symbol: str
    status: str = "active"
    tradable: bool = True
    min_order_size: Amount | None = None
    min_trade_increment: Amount | None = None
    price_increment: Amount | None = None

    def instrument(self) -> Instrument:
        symbol = slashed(self.symbol)
        is_active, is_in_usd = self.tradable and self.status == "active", symbol.endswith("/USD")
        halted = "" if is_active else f"Alpaca has it as {self.status}, {'' if self.tradable else 'not '}tradable"
        return Instrument(
            symbol=symbol,
            units_step=max(self.min_trade_increment or STEP, STEP),
            price_step=self.price_increment or Decimal(0),
            min_units=self.min_order_size or Decimal(0),
            min_buy_usd=MIN_BUY_USD,
            halted=halted if is_in_usd else "its quote is not USD, which is all that the account keeps",
        )


_ORDERS, _POSITIONS = TypeAdapter(list[OrderRow]), TypeAdapter(list[PositionRow])
_ASSETS, _ROWS = TypeAdapter(list[AssetRow]), TypeAdapter(list[dict[str, Any]])


def order(found: Any, client_id: str = "") -> OrderRow:
    """Return one order; with `client_id`, raises ValueError when it is another one."""
    row = OrderRow.model_validate(found)
    if client_id and row.client_order_id != client_id:
        raise ValueError(f"asked for order {client_id}, came {row.client_order_id}")
    return row


def orders(found: Any) -> list[OrderRow]:
    return _ORDERS.validate_python(_coins(found, "asset_class"))


def positions(found: Any) -> list[PositionRow]:
    return _POSITIONS.validate_python(_coins(found, "asset_class"))


def asset(found: Any) -> AssetRow:
    return AssetRow.model_validate(found)


def account(found: Any) -> AccountRow:
    return AccountRow.model_validate(found)


def assets(found: Any) -> list[AssetRow]:
    """Return what may be traded; raises ValueError for an empty list, which no venue has."""
    if not found:
        raise ValueError("no assets at all")
    return _ASSETS.validate_python(_coins(found, "class"))


def _coins(found: Any, key: str) -> list[dict[str, Any]]:
    """Return the rows about coins: an account may hold other things, which are not ours."""
    rows = _ROWS.validate_python(found)
    return [row for row in rows if row.get(key) in (None, "", "crypto")]


def tier_of(volume_usd: Decimal) -> FeeTier:
    """Return the fee tier of that 30-day volume; the interface does not tell it."""
    floor_usd, maker, taker = [tier for tier in _TIERS if volume_usd >= tier[0]][-1]
    return FeeTier(f"from {floor_usd:,} USD", Decimal(maker), Decimal(taker), volume_usd)


def slashed(symbol: str) -> str:
    """Return a pair in our spelling: positions are keyed BTCUSD, everything else BTC/USD."""
    if "/" in symbol:
        return symbol
    quote = next((quote for quote in _QUOTES if symbol.endswith(quote) and symbol != quote), "")
    return f"{symbol.removesuffix(quote)}/{quote}" if quote else symbol
