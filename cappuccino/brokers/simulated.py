"""A virtual account that fills orders as the cost model expects: paper trading, and the backtest's twin.

Market orders are filled at once and whole at `OrderRequest.expected_usd`, which the cost model set: no rule of costs is
written here. Cash and units are float64, in the engine's own order of operations, so that a trader on this account
equals a backtest to the last bits. Post-only limits rest until a quote touches them. The account lives in memory;
whoever starts again gives it the cash and units that he recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

import polars as pl

from cappuccino.brokers.broker import (
    FeeTier,
    Holdings,
    Instrument,
    OrderReport,
    OrderRequest,
    Refusal,
    Refused,
    Side,
    VenueState,
    exact,
)
from cappuccino.market.quotes import Quote
from cappuccino.market.venues.account import SCHEMA

ROUNDING_FRAC, ROUNDING_USD = 1e-9, 1e-6
"""What float64 leaves of "sell all" and "spend all cash": an order may want so much more than there is."""

QuoteNow = Callable[[str], Quote | None]


class SimulatedBroker:
    """An account without a venue, a clock or a delay; deterministic."""

    name = "simulated"
    is_real_money = False

    def __init__(
        self,
        cash_usd: Decimal | float,
        instruments: Mapping[str, Instrument],
        quote: QuoteNow,
        *,
        taker_frac: float,
        maker_frac: float,
        units: Mapping[str, Decimal | float] | None = None,
        account: str = "simulated",
    ) -> None:
        """`quote` gives the present quote of a symbol, None without one: resting orders are judged by it."""
        self._cash_usd = float(cash_usd)
        self._units = {symbol: float(held) for symbol, held in (units or {}).items()}
        self._instruments, self._quote, self._account = dict(instruments), quote, account
        self._taker_frac, self._maker_frac = taker_frac, maker_frac
        self._orders: dict[str, OrderReport] = {}
        self._limits_usd: dict[str, float] = {}
        """Of resting orders, by client id."""

    def account_id(self) -> str:
        return self._account

    def instruments(self, symbols: tuple[str, ...]) -> Mapping[str, Instrument]:
        return {symbol: self._instruments[symbol] for symbol in symbols if symbol in self._instruments}

    def fees(self) -> FeeTier:
        return FeeTier("simulated", exact(self._maker_frac), exact(self._taker_frac))

    def holdings(self) -> Holdings:
        self._match()
        units = {symbol: exact(held) for symbol, held in self._units.items() if held}
        free = {symbol: exact(self._free_units(symbol)) for symbol in units}
        return Holdings(exact(self._cash_usd), exact(self._free_cash_usd()), units, free)

    def submit(self, request: OrderRequest) -> OrderReport | Refused:
        self._match()
        earlier = self._orders.get(request.client_id)
        if earlier:
            return earlier
        refused = self._refusal(request)
        if refused:
            return refused
        report = OrderReport(
            client_id=request.client_id,
            venue_id=request.client_id,
            symbol=request.symbol,
            side=request.side,
            state=VenueState.OPEN,
            units=request.units,
        )
        if request.limit_usd is None:
            self._fill(report, float(request.expected_usd), is_maker=False)
        else:
            self._orders[request.client_id] = report
            self._limits_usd[request.client_id] = float(request.limit_usd)
        return self._orders[request.client_id]

    def report(self, client_id: str, sent_at: datetime, venue_id: str = "") -> OrderReport | None:
        self._match()
        return self._orders.get(client_id)

    def open_orders(self) -> tuple[OrderReport, ...]:
        self._match()
        return tuple(self._orders[client_id] for client_id in self._limits_usd)

    def cancel(self, report: OrderReport) -> None:
        self._match()
        if self._limits_usd.pop(report.client_id, None) is not None:
            resting = self._orders[report.client_id]
            self._orders[report.client_id] = replace(resting, state=VenueState.CANCELED, reason="cancelled by us")

    def clock_skew_s(self) -> None:
        return None

    def drain(self) -> pl.DataFrame:
        return pl.DataFrame(schema=SCHEMA)

    def _refusal(self, request: OrderRequest) -> Refused | None:
        """Return why a venue would not take this order; None when it would."""
        instrument = self._instruments.get(request.symbol)
        if instrument is None:
            return Refused(f"there is no {request.symbol} here", Refusal.NOT_TRADABLE)
        if instrument.halted:
            return Refused(f"{request.symbol}: {instrument.halted}", Refusal.NOT_TRADABLE)
        price_usd = request.expected_usd if request.limit_usd is None else request.limit_usd
        if not (price_usd.is_finite() and price_usd > 0 and request.units.is_finite() and request.units > 0):
            return Refused(f"{request.units} at {price_usd} USD is no order", Refusal.OTHER)
        if instrument.rounded_units(request.units) != request.units:
            return Refused(f"{request.units} is not on the step {instrument.units_step}", Refusal.PRECISION)
        if request.limit_usd is not None and instrument.rounded_price(price_usd) != price_usd:
            return Refused(f"{price_usd} is not on the tick {instrument.price_step}", Refusal.PRECISION)
        too_small = instrument.too_small(request.side, request.units, price_usd)
        if too_small:
            return Refused(too_small, Refusal.TOO_SMALL)
        return self._crossing(request) or self._unfunded(request, float(price_usd))

    def _crossing(self, request: OrderRequest) -> Refused | None:
        if request.limit_usd is None:
            return None
        quote = self._quote(request.symbol)
        if quote is None:
            return Refused(f"{request.symbol} has no quote to rest beside", Refusal.NOT_TRADABLE)
        if _touches(request.side, float(request.limit_usd), quote):
            words = f"{request.limit_usd} would be filled at once: {quote.bid_usd} bid, {quote.ask_usd} asked"
            return Refused(words, Refusal.WOULD_CROSS)
        return None

    def _unfunded(self, request: OrderRequest, price_usd: float) -> Refused | None:
        units = float(request.units)
        if request.side is Side.SELL:
            wanted, free, what = units, self._free_units(request.symbol), request.symbol
            allowed = free * (1.0 + ROUNDING_FRAC)
        else:
            fee_frac = self._taker_frac if request.limit_usd is None else self._maker_frac
            wanted, free, what = units * price_usd * (1.0 + fee_frac), self._free_cash_usd(), "USD"
            allowed = free + ROUNDING_USD
        if wanted > allowed:
            return Refused(f"{wanted:.9g} {what} wanted, {free:.9g} free", Refusal.FUNDS)
        return None

    def _free_units(self, symbol: str) -> float:
        held_back = sum(float(order.units) for order in self._resting(Side.SELL) if order.symbol == symbol)
        return max(self._units.get(symbol, 0.0) - held_back, 0.0)

    def _free_cash_usd(self) -> float:
        costs = (float(order.units) * self._limits_usd[order.client_id] for order in self._resting(Side.BUY))
        return max(self._cash_usd - sum(costs) * (1.0 + self._maker_frac), 0.0)

    def _resting(self, side: Side) -> list[OrderReport]:
        resting = (self._orders[client_id] for client_id in self._limits_usd)
        return [order for order in resting if order.side is side]

    def _match(self) -> None:
        """Fill every resting order that its quote touches, at its limit."""
        for client_id, limit_usd in list(self._limits_usd.items()):
            order = self._orders[client_id]
            quote = self._quote(order.symbol)
            if quote is not None and _touches(order.side, limit_usd, quote):
                del self._limits_usd[client_id]
                self._fill(order, limit_usd, is_maker=True, at=quote.at)

    def _fill(self, order: OrderReport, price_usd: float, *, is_maker: bool, at: datetime | None = None) -> None:
        units = float(order.units)
        # The engine's own order of operations: see portfolio.engine.fills_of and book.
        fee_usd = units * price_usd * (self._maker_frac if is_maker else self._taker_frac)
        self._cash_usd = max(self._cash_usd - (order.side * units * price_usd + fee_usd), 0.0)
        self._units[order.symbol] = max(self._units.get(order.symbol, 0.0) + order.side * units, 0.0)
        self._orders[order.client_id] = replace(
            order,
            state=VenueState.FILLED,
            filled_units=order.units,
            average_usd=exact(price_usd),
            fee_usd=exact(fee_usd),
            is_maker=is_maker,
            updated_at=at,
        )


def _touches(side: Side, limit_usd: float, quote: Quote) -> bool:
    return quote.ask_usd <= limit_usd if side is Side.BUY else quote.bid_usd >= limit_usd
