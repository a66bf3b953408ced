"""What every broker offers, and the words that traders and venues share.

Money and sizes are `Decimal` here, as venues have them, and `float64` in research; `exact` and `float` are the only
ways between the two. A refusal is a value, since it is expected; an answer that leaves open whether an order arrived is
`OrderUnknown`, and whoever gets it asks `report` before anything else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import ROUND_DOWN, Decimal
from enum import IntEnum, StrEnum
from typing import Protocol

import polars as pl


class Side(IntEnum):
    """Sign of a trade's units."""

    BUY = 1
    SELL = -1


class VenueState(StrEnum):
    """What a venue says about an order."""

    PENDING = "pending"
    """Taken, and not in the book yet."""
    OPEN = "open"
    """In the book, perhaps partly filled."""
    FILLED = "filled"
    CANCELED = "canceled"
    """By us, or by the venue, as an order that could be filled at once only in part."""
    EXPIRED = "expired"
    REJECTED = "rejected"

    @property
    def is_final(self) -> bool:
        """True when nothing more will be filled; fills of before may still be reported late."""
        return self not in (VenueState.PENDING, VenueState.OPEN)


@dataclass(frozen=True)
class Instrument:
    """What a venue accepts of one symbol; a step or minimum of 0 is none."""

    symbol: str
    units_step: Decimal = Decimal(0)
    price_step: Decimal = Decimal(0)
    min_units: Decimal = Decimal(0)
    min_buy_usd: Decimal = Decimal(0)
    """Smallest notional value of a purchase."""
    min_sell_usd: Decimal = Decimal(0)
    max_units: Decimal | None = None
    halted: str = ""
    """Why nothing can be ordered now; empty when it can."""
    takes_market: bool = True
    takes_post_only: bool = True

    def rounded_units(self, units: Decimal) -> Decimal:
        """Return `units` rounded down to the step, at most the largest size."""
        capped = units if self.max_units is None else min(units, self.max_units)
        return _on_step(capped, self.units_step)

    def rounded_price(self, price: Decimal) -> Decimal:
        """Return `price` rounded down to the tick."""
        return _on_step(price, self.price_step)

    def too_small(self, side: Side, units: Decimal, price_usd: Decimal) -> str:
        """Return why the venue would refuse an order for its size, with the numbers; empty when it would not."""
        least_usd = self.min_buy_usd if side is Side.BUY else self.min_sell_usd
        if units <= 0 or units < self.min_units:
            return f"{units} {self.symbol} is below the venue's smallest size of {self.min_units}"
        if units * price_usd < least_usd:
            return f"{units * price_usd:.2f} USD of {self.symbol} is below the venue's smallest order of {least_usd}"
        return ""


@dataclass(frozen=True)
class FeeTier:
    """What a venue takes of each fill, as shares of its notional value."""

    name: str
    maker_frac: Decimal
    taker_frac: Decimal
    volume_usd: Decimal = Decimal(0)
    """What was traded in 30 days, which decides on the tier."""


@dataclass(frozen=True)
class Holdings:
    """What an account holds, as the venue tells it."""

    cash_usd: Decimal
    """All of it, what open orders hold back included."""
    free_cash_usd: Decimal
    """What a purchase may spend: no credit."""
    units: Mapping[str, Decimal] = field(default_factory=dict)
    """Base units by symbol (BTC/USD), what open orders hold back included; no entry is none."""
    free_units: Mapping[str, Decimal] = field(default_factory=dict)
    """What a sale may take."""


@dataclass(frozen=True)
class OrderRequest:
    """One order on its way out."""

    client_id: str
    """Ours, a function of the decision: the same order has the same one however often it is tried. A UUID's text."""
    symbol: str
    side: Side
    units: Decimal
    """Base units, on the instrument's step."""
    expected_usd: Decimal
    """Price at which the cost model expects the fill; the simulated broker fills market orders there."""
    limit_usd: Decimal | None = None
    """None: at the market, now. Otherwise a post-only limit, on the instrument's tick."""


@dataclass(frozen=True)
class OrderReport:
    """What a venue says has become of an order so far: everything is cumulative."""

    client_id: str
    venue_id: str
    symbol: str
    side: Side
    state: VenueState
    units: Decimal
    """Ordered."""
    filled_units: Decimal = Decimal(0)
    average_usd: Decimal = Decimal(0)
    """Mean price of what was filled; 0 before."""
    fee_usd: Decimal = Decimal(0)
    """Fees taken in USD."""
    fee_units: Decimal = Decimal(0)
    """Fees taken in the coin: so much less than `filled_units` was credited."""
    is_maker: bool | None = None
    """Whether the fills rested in the book; None when the venue does not say, or for a mixture."""
    reason: str = ""
    """Why it was refused or ended, in the venue's words."""
    updated_at: datetime | None = None


@dataclass(frozen=True)
class Refused:
    """The venue did not take the order, and there is none."""

    reason: str
    """With the venue's own words."""
    kind: Refusal


class Refusal(StrEnum):
    """Why an order was not taken; the trader does something else for each."""

    TOO_SMALL = "too_small"
    PRECISION = "precision"
    """Not on the increments: they are read again."""
    FUNDS = "funds"
    """More than is there: holdings are read again."""
    WOULD_CROSS = "would_cross"
    """A post-only order that would have been filled at once: it is quoted anew."""
    NOT_TRADABLE = "not_tradable"
    CREDENTIALS = "credentials"
    """Keys, permissions, or a clock that is wrong."""
    RATE = "rate"
    """Too many requests; nothing was taken, and it may be tried again later."""
    UNREACHED = "unreached"
    """The request did not leave, so nothing was taken: no connection, or the circuit breaker is open."""
    OTHER = "other"

    @property
    def may_pass(self) -> bool:
        """True when the same order may be taken a little later."""
        return self in (Refusal.RATE, Refusal.UNREACHED, Refusal.WOULD_CROSS)


class Broker(Protocol):
    """An account at a venue. Every call has a time-out; all may raise BrokerError when the venue fails.

    Reads may lag behind: an order that was just taken can be unknown to `report` for a moment.
    """

    @property
    def name(self) -> str:
        """Short name for tables and messages: simulated, alpaca, coinbase."""
        ...

    @property
    def is_real_money(self) -> bool: ...

    def account_id(self) -> str:
        """Return what tells this account from all others: an operator confirms it before real money moves."""
        ...

    def instruments(self, symbols: tuple[str, ...]) -> Mapping[str, Instrument]:
        """Return what the venue accepts of each of `symbols`; one that it does not know is missing."""
        ...

    def fees(self) -> FeeTier:
        """Return the fee tier of now."""
        ...

    def holdings(self) -> Holdings:
        """Return cash and coins; raises BrokerError for an answer that is empty or malformed: it is never "flat"."""
        ...

    def submit(self, request: OrderRequest) -> OrderReport | Refused:
        """Send an order once, and return what the venue says of it.

        An order of the same `client_id` that the venue has already is returned as it is, and no other is made. Raises
        OrderUnknown when nobody knows whether it was taken.
        """
        ...

    def report(self, client_id: str, sent_at: datetime, venue_id: str = "") -> OrderReport | None:
        """Return what has become of an order, None while the venue knows of none.

        `sent_at` is when we sent it, for venues that have to be searched; `venue_id` saves the search.
        """
        ...

    def open_orders(self) -> tuple[OrderReport, ...]:
        """Return all orders of the account that may still be filled, also those that are not ours."""
        ...

    def cancel(self, report: OrderReport) -> None:
        """Ask for the end of an order; `report` tells whether and how it came. Nothing for one that has ended."""
        ...

    def clock_skew_s(self) -> float | None:
        """Return by how much our clock is ahead of the venue's; None when it does not tell the time."""
        ...

    def drain(self) -> pl.DataFrame:
        """Return how the calls went since the last time, in columns of `market.venues.account.SCHEMA`."""
        ...


def exact(number: float) -> Decimal:
    """Return the very number that a float is: `float(exact(x)) == x`."""
    return Decimal(number)


def _on_step(number: Decimal, step: Decimal) -> Decimal:
    if not step:
        return number
    return (number / step).to_integral_value(ROUND_DOWN) * step
