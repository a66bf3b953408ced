"""Alpaca's paper venue, through its own SDK.

What the venue does not have is made here: a post-only order is an ordinary limit that is refused by us, after a look at
the quote, when it would be filled at once; in the moment between look and arrival it still may. Fees, which the
interface does not tell, are those of the published tiers: of purchases they are taken out of the coins.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from decimal import ROUND_DOWN, Decimal
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit
from uuid import UUID

import polars as pl
import requests

from cappuccino.brokers import alpaca_payloads as payloads
from cappuccino.brokers.alpaca_payloads import AccountRow, AssetRow, OrderRow
from cappuccino.brokers.broker import FeeTier, Holdings, Instrument, OrderReport, OrderRequest, Refusal, Refused, Side
from cappuccino.brokers.sending import BrokerCalls, Said, refused_or_unknown, said
from cappuccino.clock import Clock
from cappuccino.credentials import Keys
from cappuccino.errors import BrokerError, ConfigError, OrderUnknown, SourceError
from cappuccino.market.quotes import QuoteSource
from cappuccino.market.venues.alpaca_client import tame
from cappuccino.market.venues.failures import Failure, failure_of
from cappuccino.settings import AlpacaSettings

if TYPE_CHECKING:  # it takes two seconds to load, which `--help` need not wait for
    from alpaca.trading.client import TradingClient

T = TypeVar("T")

LIVE_HOST = "api.alpaca.markets"
PAGE_ROWS = 500
"""Most orders of one list."""
SMALLEST_PAGE, MAX_PAGES = 50, 40
"""A list of fewer orders than the smallest page is whole, whatever the venue's own limit."""
VOLUME_TIME, TIER_AGE = timedelta(days=30), timedelta(hours=1)


class AlpacaBroker:
    """One paper account."""

    name = "alpaca"
    is_real_money = False

    def __init__(
        self,
        settings: AlpacaSettings,
        keys: Keys,
        clock: Clock,
        quotes: QuoteSource,
        calls: BrokerCalls | None = None,
    ) -> None:
        """`quotes` is asked before post-only orders. Raises ConfigError for the address of real money."""
        if urlsplit(settings.trading_url).hostname == LIVE_HOST:
            raise ConfigError(
                f"alpaca.trading_url is {settings.trading_url}, where money is real; this broker trades on paper "
                "accounts only, such as https://paper-api.alpaca.markets"
            )
        self._settings, self._keys, self._clock, self._quotes = settings, keys, clock, quotes
        self._calls = calls or BrokerCalls(self.name, settings, settings.requests_per_minute)
        self._tier: tuple[datetime, FeeTier] | None = None
        self._skew_s: float | None = None

    @cached_property
    def _client(self) -> TradingClient:
        from alpaca.trading.client import TradingClient

        client = TradingClient(
            self._keys.key,
            self._keys.secret.get_secret_value(),
            paper=True,
            raw_data=True,
            url_override=self._settings.trading_url,
        )
        paced = self._settings.model_copy(update={"read_timeout_s": self._calls.settings.read_timeout_s})
        try:
            session = tame(client, paced, self._calls.before_request)
        except SourceError as error:
            raise BrokerError(str(error)) from None
        session.hooks["response"].append(self._note_time)
        return client

    def account_id(self) -> str:
        return self._account().name

    def instruments(self, symbols: tuple[str, ...]) -> Mapping[str, Instrument]:
        """Return what is accepted of each of `symbols`; the account keeps USD, so that other quotes are halted."""
        found = {instrument.symbol: instrument for instrument in map(AssetRow.instrument, self._assets(symbols))}
        return {symbol: found[symbol] for symbol in symbols if symbol in found}

    def fees(self) -> FeeTier:
        """Return the tier of the account's own volume of 30 days; it is counted anew every hour."""
        now = self._clock.now()
        if self._tier is None or now - self._tier[0] >= TIER_AGE:
            closed = self._list("closed", now - VOLUME_TIME)
            self._tier = now, payloads.tier_of(sum((row.notional_usd for row in closed), Decimal(0)))
        return self._tier[1]

    def holdings(self) -> Holdings:
        account = self._account()
        rows = self._read("positions", lambda: payloads.positions(self._client.get_all_positions()))
        held = {payloads.slashed(row.symbol): row for row in rows if row.qty}
        return Holdings(
            cash_usd=account.cash,
            free_cash_usd=account.free_cash_usd,
            units={symbol: row.qty for symbol, row in held.items()},
            free_units={symbol: row.free_units for symbol, row in held.items()},
        )

    def submit(self, request: OrderRequest) -> OrderReport | Refused:
        """Send an order once; see `Broker.submit`. A market order is an IOC: what cannot be filled now is cancelled."""
        crossing = self._crossing(request)
        if crossing:
            return self._earlier(request.client_id) or crossing
        client, order = self._client, _order(request)
        answer = self._calls.once("order", lambda: payloads.order(client.submit_order(order), request.client_id))
        if not isinstance(answer, Failure):
            return answer.report(self._newest_tier())
        return self._not_answered(request, answer)

    def report(self, client_id: str, sent_at: datetime, venue_id: str = "") -> OrderReport | None:
        return self._find(client_id, venue_id)

    def open_orders(self) -> tuple[OrderReport, ...]:
        tier = self._newest_tier()
        return tuple(row.report(tier) for row in self._list("open"))

    def cancel(self, report: OrderReport) -> None:
        """Ask for the end of an order; the venue takes the wish (204), and may fill the order all the same."""
        found = report if report.venue_id else self._find(report.client_id)
        if found is not None:
            self._read("cancel", lambda: _unless(_has_ended, lambda: self._client.cancel_order_by_id(found.venue_id)))

    def clock_skew_s(self) -> float | None:
        """Return by how much our clock is ahead, as the newest answer's header Date tells it, to about a second."""
        return self._skew_s

    def drain(self) -> pl.DataFrame:
        return self._calls.drain()

    def _read(self, endpoint: str, request: Callable[[], T], about: str = "") -> T:
        return self._calls.read(endpoint, request, about)

    def _account(self) -> AccountRow:
        return self._read("account", lambda: payloads.account(self._client.get_account()))

    def _assets(self, symbols: tuple[str, ...]) -> list[AssetRow]:
        """Return the list of all coins, or one by one where the venue has no list."""
        from alpaca.trading.enums import AssetClass
        from alpaca.trading.requests import GetAssetsRequest

        coins = GetAssetsRequest(asset_class=AssetClass.CRYPTO)
        client = self._client
        found = self._read("assets", lambda: _unless(_is_absent, lambda: payloads.assets(client.get_all_assets(coins))))
        return [row for symbol in symbols if (row := self._asset(symbol))] if found is None else found

    def _asset(self, symbol: str) -> AssetRow | None:
        client, spelt = self._client, symbol.replace("/", "")  # a slash would be part of the path
        return self._read("assets", lambda: _unless(_is_absent, lambda: payloads.asset(client.get_asset(spelt))))

    def _find(self, client_id: str, venue_id: str = "") -> OrderReport | None:
        row = self._read("order", lambda: _unless(_is_no_order, lambda: self._request_order(client_id, venue_id)))
        return row.report(self._newest_tier()) if row else None

    def _request_order(self, client_id: str, venue_id: str) -> OrderRow:
        if _is_uuid(venue_id):
            return payloads.order(self._client.get_order_by_id(venue_id), client_id)
        return payloads.order(self._client.get_order_by_client_id(client_id), client_id)

    def _list(self, status: str, after: datetime | None = None) -> list[OrderRow]:
        """Return all orders of a status that came after a moment, newest first.

        There are no page tokens: each page ends where the one before began, and pages overlap by a microsecond, since
        orders may have come at the same time.
        """
        found: dict[str, OrderRow] = {}
        until: datetime | None = None
        for _ in range(MAX_PAGES):
            page = self._page(status, after, until)
            n_before, found = len(found), {**found, **{row.id: row for row in page}}
            if len(page) < SMALLEST_PAGE or len(found) == n_before:
                return list(found.values())
            until = min(row.submitted_at for row in page) + timedelta(microseconds=1)
        raise BrokerError(f"{self.name}: more than {MAX_PAGES * PAGE_ROWS:,} {status} orders; look at the account")

    def _page(self, status: str, after: datetime | None, until: datetime | None) -> list[OrderRow]:
        from alpaca.trading.enums import QueryOrderStatus
        from alpaca.trading.requests import GetOrdersRequest

        wanted = GetOrdersRequest(status=QueryOrderStatus(status), limit=PAGE_ROWS, after=after, until=until)
        return self._read("orders", lambda: payloads.orders(self._client.get_orders(wanted)), f"{status} orders")

    def _newest_tier(self) -> FeeTier:
        """Return the tier that `fees` told last, else the dearest, which most accounts have; nothing is asked.

        An order that protects must not wait for a history to be counted.
        """
        return self._tier[1] if self._tier else payloads.tier_of(Decimal(0))

    def _crossing(self, request: OrderRequest) -> Refused | None:
        if request.limit_usd is None:
            return None
        try:
            quote = self._quotes.quotes((request.symbol,)).get(request.symbol)
        except SourceError as error:
            return Refused(f"no quote to rest beside: {error}", Refusal.UNREACHED)
        if quote is None:
            return Refused(f"{request.symbol} has no quote to rest beside", Refusal.NOT_TRADABLE)
        limit_usd, buys = float(request.limit_usd), request.side is Side.BUY
        rests = limit_usd < quote.ask_usd if buys else limit_usd > quote.bid_usd
        words = f"{limit_usd} would be filled at once: {quote.bid_usd} bid, {quote.ask_usd} asked"
        return None if rests else Refused(words, Refusal.WOULD_CROSS)

    def _not_answered(self, request: OrderRequest, failure: Failure) -> OrderReport | Refused:
        """Return what became of an order that was not answered as it should be; raises OrderUnknown."""
        refused = refused_or_unknown(self.name, failure, _kind)
        if _is_duplicate(failure):
            earlier = self._earlier(request.client_id)
            if earlier is None:
                raise OrderUnknown(f"{refused.reason}; the earlier order of that id cannot be found yet")
            return earlier
        # A copy of an order that was taken lacks the money that the first one holds back.
        return (self._earlier(request.client_id) if refused.kind is Refusal.FUNDS else None) or refused

    def _earlier(self, client_id: str) -> OrderReport | None:
        try:
            return self._find(client_id)
        except BrokerError:
            return None

    def _note_time(self, response: requests.Response, *args: Any, **options: Any) -> None:
        try:
            venue_time = parsedate_to_datetime(response.headers.get("Date", ""))
            # The header counts whole seconds: its moment is half a second later on average.
            self._skew_s = (self._clock.now() - venue_time).total_seconds() - 0.5
        except (ValueError, TypeError):
            return


def _order(request: OrderRequest) -> Any:
    """Return the SDK's words for an order. It makes floats of numbers, so they are rounded to what the venue takes."""
    from alpaca.trading.enums import OrderSide, TimeInForce
    from alpaca.trading.requests import LimitOrderRequest, MarketOrderRequest

    common: dict[str, Any] = {
        "symbol": request.symbol,
        "qty": _float(request.units),
        "side": OrderSide.BUY if request.side is Side.BUY else OrderSide.SELL,
        "client_order_id": request.client_id,
    }
    if request.limit_usd is None:
        return MarketOrderRequest(**common, time_in_force=TimeInForce.IOC)
    return LimitOrderRequest(**common, time_in_force=TimeInForce.GTC, limit_price=_float(request.limit_usd))


def _float(number: Decimal) -> float:
    return float(number.quantize(payloads.STEP, ROUND_DOWN))


def _kind(words: Said) -> Refusal:
    """Read a refusal. One code, 40310000, is shared by several, so the message decides."""
    code, message = _code_and_message(words)
    for kind, phrases in _PHRASES.items():
        if any(phrase in message for phrase in phrases):
            return kind
    return Refusal.CREDENTIALS if words.status == 403 and code != 40310000 else Refusal.OTHER


_PHRASES = {
    Refusal.FUNDS: ("insufficient", "buying power"),
    Refusal.TOO_SMALL: ("cost basis", "minimal", "minimum"),
    Refusal.PRECISION: ("increment", "precision", "decimal"),
    Refusal.NOT_TRADABLE: ("not tradable", "not active", "unknown symbol", "invalid symbol", "asset", "halted"),
}


def _code_and_message(words: Said) -> tuple[int, str]:
    content = words.content if isinstance(words.content, dict) else {}
    code, message = content.get("code"), content.get("message")
    return (code if isinstance(code, int) else 0), str(message or "").lower().replace("_", " ")


def _is_duplicate(failure: Failure) -> bool:
    words = said(failure)
    if words is None or words.status != 422:
        return False
    _, message = _code_and_message(words)
    return "client order id" in message and "unique" in message


def _unless(excuses: Callable[[Said], bool], request: Callable[[], T]) -> T | None:
    """Return what `request` returns; None when the venue refuses with words that `excuses` it."""
    from alpaca.common.exceptions import APIError

    try:
        return request()
    except APIError as error:
        failure = failure_of(error)
        words = said(failure) if failure else None
        if words is not None and excuses(words):
            return None
        raise


def _is_absent(words: Said) -> bool:
    return words.status == 404


def _is_no_order(words: Said) -> bool:
    """True when the venue looked for an order and has none; a path that nobody knows is no such answer."""
    code, message = _code_and_message(words)
    return words.status == 404 and (code == 40410000 or "order" in message)


def _has_ended(words: Said) -> bool:
    """True when an order that shall be cancelled is not open any more, or there is none."""
    return words.status in (404, 422)


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
