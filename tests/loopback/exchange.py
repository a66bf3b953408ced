"""An exchange on this machine that speaks as Alpaca and as Coinbase do, and misbehaves when it is told to.

Its bars are those of the simulated market, so that a test knows what a right answer is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from http.server import ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import polars as pl
import pytest

from cappuccino.market.interval import Interval
from cappuccino.market.simulated import SimulatedSource
from tests.loopback import certificates
from tests.loopback.handler import Fault, Handler
from tests.loopback.trading_exchange import Faults, TradingVenue

SYMBOLS = ("BTC/USD", "ETH/USD", "LTC/USD")
END_OF_TIME = datetime(2200, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Row:
    """A bar on its way out. Edits change it before it is spelt the way of a venue."""

    symbol: str
    opened_at: datetime
    open: Any
    high: Any
    low: Any
    close: Any
    volume: Any

    def moved(self, by: timedelta) -> Row:
        return replace(self, opened_at=self.opened_at + by)


@lru_cache(maxsize=256)
def bars_of(
    market: SimulatedSource, symbols: tuple[str, ...], interval: Interval, start: datetime, stop: datetime
) -> pl.DataFrame:
    """Return bars that opened in [start, stop); most tests ask for the same ones."""
    return market.bars(symbols, interval, start, stop)


Edit = Callable[[list[Row]], list[Row]]


@dataclass
class Exchange:
    """What it serves, how it misbehaves next, and what it was asked."""

    alpaca_url: str
    coinbase_host: str
    market: SimulatedSource = field(default_factory=lambda: SimulatedSource(1))
    symbols: tuple[str, ...] = SYMBOLS
    now: datetime = END_OF_TIME
    """It has bars up to the one in progress."""
    page_rows: int = 10_000
    """Rows of an Alpaca page at most."""
    candles: int = 350
    """Candles of a Coinbase answer at most; a span of more than 350 is refused anyway."""
    faults: deque[Fault] = field(default_factory=deque)
    """What happens to the next requests, one each, instead of an answer."""
    edit: Edit = field(default=lambda rows: rows)
    books: dict[str, dict[str, list[tuple[Any, Any]]]] = field(default_factory=dict)
    """(price, size) of bids and asks of each symbol."""
    asked: list[tuple[str, dict[str, str], dict[str, str]]] = field(default_factory=list)
    """Path, query and headers of every request."""
    sent: list[tuple[str, str, Any]] = field(default_factory=list)
    """Method, path and body of every request."""
    at_alpaca: TradingVenue = field(default_factory=lambda: TradingVenue(fee_in_coin=True))
    at_coinbase: TradingVenue = field(
        default_factory=lambda: TradingVenue(False, maker_frac=Decimal("0.005"), taker_frac=Decimal("0.009"))
    )
    injected: Faults = field(default_factory=Faults)
    """What happens to requests of a kind: `exchange.on("POST orders", fault)`."""

    def reset(self) -> None:
        """Behave again, and forget."""
        fresh = Exchange(self.alpaca_url, self.coinbase_host)
        self.__dict__.update(fresh.__dict__)

    def on(self, kind: str, fault: Fault, times: int | None = 1) -> None:
        """Let the next requests of a kind fail, see `Faults.on`."""
        self.injected.on(kind, fault, times)

    def sent_to(self, method: str, word: str) -> list[Any]:
        """Return the bodies of the requests of that method whose path has that word."""
        return [body for sent, path, body in self.sent if sent == method and word in path]

    def rows(self, symbols: tuple[str, ...], interval: Interval, start: datetime, end: datetime) -> list[Row]:
        """Return the edited bars of known symbols that opened from `start` up to and including `end`."""
        known = tuple(symbol for symbol in symbols if symbol in self.symbols)
        stop = min(end, self.now) + timedelta(microseconds=1)
        bars = bars_of(self.market, known, interval, start, max(start, stop))
        return self.edit([Row(*row) for row in bars.iter_rows()])

    def truth(self, symbols: tuple[str, ...], interval: Interval, start: datetime, stop: datetime) -> pl.DataFrame:
        """Return the bars that a right answer holds."""
        return bars_of(self.market, symbols, interval, start, stop)


@contextmanager
def running(folder: Path) -> Iterator[Exchange]:
    """Serve as Alpaca over http and as Coinbase over https, trusted and without a proxy."""
    authority, context = certificates.make(folder)
    plain, secret = _server(), _server()
    # The handshake is left to the thread of each connection, where it can block nobody else.
    secret.socket = context.wrap_socket(secret.socket, server_side=True, do_handshake_on_connect=False)
    exchange = Exchange(f"http://127.0.0.1:{plain.server_port}", f"127.0.0.1:{secret.server_port}")
    threads = []
    for server in (plain, secret):
        server.exchange = exchange  # type: ignore[attr-defined]
        threads.append(Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}))
        threads[-1].start()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("REQUESTS_CA_BUNDLE", str(authority))
        environment.setenv("NO_PROXY", "127.0.0.1")
        environment.setenv("no_proxy", "127.0.0.1")
        try:
            yield exchange
        finally:
            for server, thread in zip((plain, secret), threads, strict=True):
                server.shutdown()
                thread.join()
                server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hung up is what some tests are about."""


def _server() -> _Server:
    return _Server(("127.0.0.1", 0), Handler)
