"""Coinbase Advanced: the account where real money is traded, through Coinbase's own SDK."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import parsedate_to_datetime
from functools import cached_property, partial
from typing import Any, TypeVar

import polars as pl
import requests

from cappuccino.brokers import coinbase_answers as answers
from cappuccino.brokers.broker import (
    FeeTier,
    Holdings,
    Instrument,
    OrderReport,
    OrderRequest,
    Refusal,
    Refused,
    VenueState,
)
from cappuccino.brokers.sending import BrokerCalls, Said, refused_or_unknown
from cappuccino.clock import Clock
from cappuccino.credentials import Keys
from cappuccino.errors import BrokerError, ConfigError
from cappuccino.market.venues.failures import Failure
from cappuccino.market.venues.transport import pace
from cappuccino.settings import CoinbaseSettings

T = TypeVar("T")

API = "/api/v3/brokerage"
WALLETS_PER_PAGE, ORDERS_PER_PAGE, MAX_PAGES = 250, 250, 40
SEARCH_MARGIN = timedelta(minutes=10)
"""A search begins so long before an order was sent: clocks differ."""
YOUNG = timedelta(days=1)
"""Time after which an order that is not in the book yet counts as lost."""


class CoinbaseBroker:
    """An account of Coinbase Advanced, of the portfolio that the keys are bound to.

    The SDK's typed methods are passed by: their constructors fail on answers that Coinbase does give, such as a null
    `order_configuration` after an order was taken. Its `get` and `post` hand over what came, and we check it.
    """

    name = "coinbase"
    is_real_money = True

    def __init__(
        self,
        settings: CoinbaseSettings,
        keys: Keys,
        clock: Clock,
        calls: BrokerCalls | None = None,
        *,
        quote: str = "USD",
    ) -> None:
        """`quote` is the currency that is traded against, and so the cash: USD and USDC are different wallets."""
        self._settings, self._keys, self._clock, self._quote = settings, keys, clock, quote
        self._calls = calls or BrokerCalls(self.name, settings, settings.requests_per_minute)
        self._instruments: dict[str, Instrument] = {}
        self._account = ""

    def account_id(self) -> str:
        """Return the portfolio that the keys are bound to."""
        if not self._account:
            rights = self.permissions()
            self._account = rights.portfolio if rights else self._portfolio_of_wallets()
        return self._account

    def permissions(self) -> answers.Permissions | None:
        """Return what the keys may do; None where the venue does not tell."""
        return self._read("permissions", lambda: _unless_absent(self._request_permissions), "permissions of the keys")

    def instruments(self, symbols: tuple[str, ...]) -> Mapping[str, Instrument]:
        """Return what is accepted of each of `symbols`; one that Coinbase does not list is missing."""
        found = {symbol: self._instrument(symbol) for symbol in symbols}
        known = {symbol: instrument for symbol, instrument in found.items() if instrument}
        self._instruments.update(known)
        return known

    def fees(self) -> FeeTier:
        """Return the fee tier of spot trading."""
        return self._read("fees", self._request_fees, "fee tier")

    def holdings(self) -> Holdings:
        """Return cash and coins; raises BrokerError when the wallet of the quote currency is not among the pages."""
        wallets = self._wallets()
        return self._checked(lambda: answers.holdings(wallets, self._quote), "balances")

    def submit(self, request: OrderRequest) -> OrderReport | Refused:
        """Send an order once; Coinbase hands back the earlier one of the same id.

        Sizes and prices that are not on the increments are rounded down to them. Raises OrderUnknown when nobody knows
        whether the order was taken.
        """
        order = self._on_increments(request)
        if not order.units:
            return Refused(f"{request.units} {request.symbol} is less than one step", Refusal.TOO_SMALL)
        taken = self._calls.once("submit", lambda: self._request_submit(order))
        if isinstance(taken, Failure):
            return self._explained(refused_or_unknown(self.name, taken, _kind_of))
        return taken if isinstance(taken, Refused) else self._first_report(order, taken)

    def report(self, client_id: str, sent_at: datetime, venue_id: str = "") -> OrderReport | None:
        """Return what has become of an order; without `venue_id` the orders since `sent_at` are searched.

        There is no look-up by our id. An order that was just taken may be missing for a moment.
        """
        if not venue_id:
            return self._search(client_id, sent_at - SEARCH_MARGIN)
        found = self._order(venue_id)
        if found is not None and found.client_id != client_id:
            raise BrokerError(f"coinbase: order {venue_id} is {found.client_id!r}, not {client_id!r}")
        return found

    def open_orders(self) -> tuple[OrderReport, ...]:
        """Return all spot orders that may still be filled.

        The filter OPEN leaves out what is not in the book yet, so the orders of a day are looked through as well.
        """
        asked: tuple[dict[str, Any], ...] = (
            {"order_status": ["OPEN"]},
            {"start_date": _text(self._clock.now() - YOUNG)},
        )
        rows = [row for params in asked for row in self._orders(params) if answers.is_spot(row)]
        reports = self._checked(lambda: [answers.order_report(row, self._clock.now()) for row in rows], "open orders")
        # The later answer knows more of an order that is in both.
        newest = {report.venue_id: report for report in reports}
        return tuple(report for report in newest.values() if not report.state.is_final)

    def cancel(self, report: OrderReport) -> None:
        """Ask for the end of an order; that the request was taken is not yet the end."""
        if not report.venue_id:
            raise BrokerError(
                f"coinbase: order {report.client_id} has no id of the venue to cancel it by; find it first"
            )
        reason = self._read("cancel", lambda: self._request_cancel(report.venue_id), f"cancel of {report.venue_id}")
        if not reason:
            return
        now = self._order(report.venue_id)
        if now is None or not now.state.is_final:
            raise BrokerError(f"coinbase: order {report.venue_id} of {report.symbol} is not cancelled: {reason}")

    def clock_skew_s(self) -> float | None:
        """Return by how much our clock is ahead of Coinbase's."""
        return self._calls.read("time", self._request_skew, "time")

    def drain(self) -> pl.DataFrame:
        """Return how the calls went since the last time."""
        return self._calls.drain()

    @cached_property
    def _client(self) -> Any:
        """The SDK's client with our keys; raises ConfigError when they cannot sign."""
        key, secret = self._keys.key, self._keys.secret.get_secret_value()
        client = self._made(key, secret)
        _require_signature(client)
        return client

    @cached_property
    def _client_without_keys(self) -> Any:
        """For the time: with a clock that is wrong every signed question is refused."""
        return self._made(None, None)

    def _made(self, key: str | None, secret: str | None) -> Any:
        from coinbase.rest import RESTClient  # type: ignore[import-untyped]  # it ships no type information

        # It prints every failure with its body to stderr; ours are counted and raised.
        logging.getLogger("coinbase.RESTClient").setLevel(logging.CRITICAL)
        settings = self._calls.settings
        timeout_s = (settings.connect_timeout_s, settings.read_timeout_s)
        client = RESTClient(api_key=key, api_secret=secret, base_url=self._settings.base_url, timeout=timeout_s)
        # A redirect would send an order a second time, to somebody else.
        client.session.max_redirects = 0
        pace(client.session, settings, self._calls.before_request, self._settings.ca_bundle)
        return client

    def _read(self, endpoint: str, request: Callable[[], T], about: str) -> T:
        """Return what `request` returns, see `BrokerCalls.read`; a refusal of the keys tells the clocks apart."""
        try:
            return self._calls.read(endpoint, request, about)
        except BrokerError as error:
            raise BrokerError(f"{error}{self._clock_words()}" if "HTTP 401" in str(error) else str(error)) from None

    def _explained(self, refused: Refused) -> Refused:
        is_keys = refused.kind is Refusal.CREDENTIALS
        return replace(refused, reason=refused.reason + self._clock_words()) if is_keys else refused

    def _clock_words(self) -> str:
        """Return how our clock differs: a token of a wrong one is refused as wrong keys are."""
        try:
            skew_s = self.clock_skew_s()
        except BrokerError:
            return ""
        return "" if skew_s is None else f"; our clock is {skew_s:+.1f} s from the venue's, tokens bear 30"

    def _checked(self, read: Callable[[], T], about: str) -> T:
        """Return what `read` makes of answers; raises BrokerError when it cannot."""
        try:
            return read()
        except (ValueError, LookupError, TypeError) as error:
            raise BrokerError(f"coinbase: no {about}: {type(error).__name__}: {error}") from None

    def _request_permissions(self) -> answers.Permissions:
        return answers.permissions(self._client.get(f"{API}/key_permissions"))

    def _request_fees(self) -> FeeTier:
        return answers.fee_tier(self._client.get(f"{API}/transaction_summary", {"product_type": "SPOT"}))

    def _instrument(self, symbol: str) -> Instrument | None:
        return self._read("products", lambda: _unless_absent(partial(self._request_product, symbol)), symbol)

    def _request_product(self, symbol: str) -> Instrument:
        path = f"{API}/products/{answers.product_of(symbol)}"
        # `view_only` is only told when it is asked for.
        return answers.instrument(self._client.get(path, {"get_tradability_status": "true"}), symbol)

    def _wallets(self) -> list[answers.Wallet]:
        rows = list(self._pages("accounts", f"{API}/accounts", {"limit": WALLETS_PER_PAGE}))
        if not rows:
            raise BrokerError("coinbase: no balances: a list without a wallet, and every account has some")
        found = self._checked(lambda: [answers.wallet(row) for row in rows], "balances")
        return [wallet for wallet in found if wallet]

    def _portfolio_of_wallets(self) -> str:
        """Return the one portfolio that all wallets belong to."""
        portfolios = {wallet.portfolio for wallet in self._wallets()}
        (portfolio,) = portfolios if len(portfolios) == 1 else ("",)
        if not portfolio:
            raise BrokerError("coinbase: nothing tells which account the keys belong to")
        return portfolio

    def _on_increments(self, request: OrderRequest) -> OrderRequest:
        known = self._instruments.get(request.symbol)
        if known is None:
            return request
        limit_usd = None if request.limit_usd is None else known.rounded_price(request.limit_usd)
        return replace(request, units=known.rounded_units(request.units), limit_usd=limit_usd)

    def _request_submit(self, order: OrderRequest) -> str | Refused:
        body = {
            "client_order_id": order.client_id,
            "product_id": answers.product_of(order.symbol),
            "side": order.side.name,
            "order_configuration": _configuration(order),
        }
        return answers.created(self._client.post(f"{API}/orders", data=body), order.client_id)

    def _first_report(self, order: OrderRequest, venue_id: str) -> OrderReport:
        """Return what is known of an order that was just taken: reads may not show it yet."""
        found = self._calls.once("order", lambda: _unless_absent(partial(self._request_order, venue_id)))
        if isinstance(found, OrderReport) and found.client_id == order.client_id:
            return found
        return OrderReport(order.client_id, venue_id, order.symbol, order.side, VenueState.PENDING, order.units)

    def _order(self, venue_id: str) -> OrderReport | None:
        request = partial(self._request_order, venue_id)
        return self._read("order", lambda: _unless_absent(request), f"order {venue_id}")

    def _request_order(self, venue_id: str) -> OrderReport:
        found = answers.order_of(self._client.get(f"{API}/orders/historical/{venue_id}"), self._clock.now())
        if found.venue_id != venue_id:
            raise ValueError(f"asked for order {venue_id}, came {found.venue_id}")
        return found

    def _search(self, client_id: str, since: datetime) -> OrderReport | None:
        for row in self._orders({"start_date": _text(since)}):
            if row.get("client_order_id") == client_id:
                return self._checked(partial(answers.order_report, row, self._clock.now()), f"order {client_id}")
        return None

    def _orders(self, params: dict[str, Any]) -> Iterator[answers.Fields]:
        return self._pages("orders", f"{API}/orders/historical/batch", {"limit": ORDERS_PER_PAGE, **params})

    def _pages(self, key: str, path: str, params: dict[str, Any]) -> Iterator[answers.Fields]:
        """Yield the rows of all pages; raises BrokerError when they never end."""
        cursors: list[str] = []
        while len(cursors) < MAX_PAGES:
            request = partial(self._request_page, key, path, {**params, "cursor": cursors[-1] if cursors else None})
            page = self._read(key, request, f"list of {key}")
            yield from page.rows
            if not page.cursor:
                return
            if page.cursor in cursors:
                break
            cursors.append(page.cursor)
        raise BrokerError(f"coinbase: the pages of {key} do not end")

    def _request_page(self, key: str, path: str, params: dict[str, Any]) -> answers.Page:
        return answers.page(self._client.get(path, params), key)

    def _request_cancel(self, venue_id: str) -> str:
        return answers.canceled(
            self._client.post(f"{API}/orders/batch_cancel", data={"order_ids": [venue_id]}), venue_id
        )

    def _request_skew(self) -> float | None:
        before = self._clock.now()
        venue_s = self._request_time()
        ours_s = (before.timestamp() + self._clock.now().timestamp()) / 2
        return None if venue_s is None else ours_s - venue_s

    def _request_time(self) -> float | None:
        """Return the venue's time; without an answer that tells it, that of the answer itself."""
        try:
            return answers.unix_s(self._client_without_keys.get(f"{API}/time", public=True))
        except requests.HTTPError as error:
            if error.response is None or error.response.status_code not in (401, 403, 404):
                raise
            sent = error.response.headers.get("Date")
            return parsedate_to_datetime(sent).timestamp() if sent else None


def quote_of(symbols: tuple[str, ...]) -> str:
    """Return the one currency that all symbols are traded against; raises ConfigError when there are several."""
    quotes = sorted({symbol.partition("/")[2] for symbol in symbols})
    if len(quotes) != 1:
        raise ConfigError(f"market.symbols are traded against {', '.join(quotes)}; an account of Coinbase needs one")
    return quotes[0]


def _configuration(order: OrderRequest) -> dict[str, dict[str, Any]]:
    """Return the kind of an order with its numbers as text: at once at the market, or resting and never taking."""
    size = {"base_size": _plain(order.units)}
    if order.limit_usd is None:
        return {"market_market_ioc": size}
    return {"limit_limit_gtc": {**size, "limit_price": _plain(order.limit_usd), "post_only": True}}


def _kind_of(said: Said) -> Refusal:
    if said.status == 403:
        return Refusal.CREDENTIALS
    return answers.refusal_kind(answers.refusal_text(said.content if isinstance(said.content, Mapping) else {}))


def _unless_absent(request: Callable[[], T]) -> T | None:
    """Return what `request` returns; None when the venue knows of no such thing."""
    try:
        return request()
    except requests.HTTPError as error:
        if error.response is not None and error.response.status_code == 404:
            return None
        raise


def _require_signature(client: Any) -> None:
    """Raise ConfigError when the secret is no key: the SDK would find out at the first question, without a class."""
    try:
        client.set_headers("GET", "/")
    except Exception:
        raise ConfigError(
            "COINBASE_API_SECRET is no private key; set the whole of it as Coinbase gave it, from -----BEGIN to "
            "END-----, line ends as \\n"
        ) from None


def _plain(number: Decimal) -> str:
    """Return a number without an exponent."""
    return f"{number:f}"


def _text(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
