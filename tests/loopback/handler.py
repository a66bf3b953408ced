"""The two languages of the loopback exchange, and its ways to fail."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from threading import Event
from time import time
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from cappuccino.market.interval import Interval
from tests.loopback import alpaca_trading, coinbase_trading
from tests.loopback.trading_exchange import TradingVenue

Fault = Callable[["Handler"], None]
ALPACA, COINBASE = "/v1beta3/crypto/us", "/api/v3/brokerage/market"
TIME_FRAMES = {"1Min": "1m", "5Min": "5m", "15Min": "15m", "30Min": "30m", "1Hour": "1h"}
GRANULARITIES = {
    "ONE_MINUTE": "1m",
    "FIVE_MINUTE": "5m",
    "FIFTEEN_MINUTE": "15m",
    "THIRTY_MINUTE": "30m",
    "ONE_HOUR": "1h",
    "FOUR_HOUR": "4h",
    "ONE_DAY": "1d",
}


class Handler(BaseHTTPRequestHandler):
    """One connection. `server.exchange` says what to answer."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body leave together; apart, delayed acknowledgements cost 40 ms a request

    is_mute = False
    """Answers go nowhere: a fault has the request carried out, and says something else."""

    def setup(self) -> None:
        super().setup()
        self.exchange: Any = self.server.exchange  # type: ignore[attr-defined]

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def date_time_string(self, timestamp: float | None = None) -> str:
        """Return the venue's time for the header Date."""
        return super().date_time_string(time() + self._venue().ahead_s)

    def do_GET(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length", "0")))  # Coinbase's SDK sends one with a GET
        url = urlsplit(self.path)
        self.url_path, self.query = url.path, dict(parse_qsl(url.query))
        self.body: Any = json.loads(content) if content else None
        self.exchange.asked.append((url.path, self.query, dict(self.headers)))
        self.exchange.sent.append((self.command, url.path, self.body))
        fault = self.exchange.faults.popleft() if self.exchange.faults else None
        fault = fault or self.exchange.injected.next(self.command, url.path)
        if fault:
            fault(self)
        else:
            self.answer()

    def do_POST(self) -> None:
        self.do_GET()

    def do_DELETE(self) -> None:
        self.do_GET()

    def answer(self) -> None:
        """Carry the request out, and say what came of it."""
        path = self.url_path
        if path.startswith(ALPACA):
            self._alpaca(path.removeprefix(ALPACA))
        elif path.startswith(COINBASE):
            self._coinbase(path.removeprefix(COINBASE))
        else:
            venue = self._venue()
            answer = alpaca_trading.answer if path.startswith(alpaca_trading.PREFIX) else coinbase_trading.answer
            with venue.lock:
                venue.tick()
                status, said = answer(venue, self.command, path, self.query, self.body, self.headers)
            self.send(status, said)

    def _venue(self) -> TradingVenue:
        is_alpaca = self.url_path.startswith((alpaca_trading.PREFIX, ALPACA))
        venue: TradingVenue = self.exchange.at_alpaca if is_alpaca else self.exchange.at_coinbase
        return venue

    def send(
        self, status: int, body: str, headers: Mapping[str, str] | None = None, kind: str = "application/json"
    ) -> None:
        if self.is_mute:
            return
        content = body.encode()
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def _json(self, answer: object, status: int = 200) -> None:
        self.send(status, json.dumps(answer))

    # Alpaca

    def _alpaca(self, path: str) -> None:
        symbols = tuple(self.query["symbols"].split(","))
        odd = [symbol for symbol in symbols if "/" not in symbol]
        if odd:
            self._json({"message": f"invalid symbol: {odd[0]}"}, 400)
        elif path == "/bars":
            self._bars(symbols)
        elif path == "/latest/bars":
            now = alpaca_trading.time_text(self._venue().now())
            bars = {symbol: {"t": now, "c": 1.0} for symbol in symbols if symbol in self.exchange.symbols}
            self._json({"bars": bars})
        elif path == "/latest/quotes":
            self._json({"quotes": alpaca_trading.quotes(self._venue(), symbols)})
        else:
            self._json({"orderbooks": {symbol: self._orderbook(symbol) for symbol in self._with_book(symbols)}})

    def _bars(self, symbols: tuple[str, ...]) -> None:
        """Both ends count, sorted by symbol and time, paged over all symbols."""
        interval = Interval(TIME_FRAMES[self.query["timeframe"]])
        start, end = (datetime.fromisoformat(self.query[name]).astimezone(UTC) for name in ("start", "end"))
        rows = self.exchange.rows(symbols, interval, start, end)
        first = int(self.query.get("page_token", "0"))
        last = first + min(self.exchange.page_rows, int(self.query["limit"]))
        bars: dict[str, list[dict[str, Any]]] = {}
        for row in rows[first:last]:
            bars.setdefault(row.symbol, []).append(_alpaca_bar(row))
        self._json({"bars": bars, "next_page_token": str(last) if last < len(rows) else None})

    def _with_book(self, symbols: tuple[str, ...]) -> list[str]:
        return [symbol for symbol in symbols if symbol in self.exchange.books]

    def _orderbook(self, symbol: str) -> dict[str, object]:
        sides = {
            side[0]: [{"p": price, "s": size} for price, size in levels]
            for side, levels in self.exchange.books[symbol].items()
        }
        return {"t": "2024-03-01T00:00:00.123456789Z", **sides}

    # Coinbase

    def _coinbase(self, path: str) -> None:
        if path == "/products":
            products = [{"product_id": symbol.replace("/", "-")} for symbol in self.exchange.symbols]
            self._json({"products": products, "num_products": len(products)})
        elif path == "/product_book":
            self._product_book(self.query["product_id"])
        else:
            self._candles(path.split("/")[2])

    def _candles(self, product: str) -> None:
        """Both ends count, newest first, everything text."""
        symbol, interval = product.replace("-", "/"), Interval(GRANULARITIES[self.query["granularity"]])
        start, end = (datetime.fromtimestamp(int(self.query[name]), UTC) for name in ("start", "end"))
        if symbol not in self.exchange.symbols:
            details = {"error": "NOT_FOUND", "message": "ProductID is invalid"}
            self._json(details, 404)
        elif (end - start) / interval.duration > 350:
            self._json({"error": "INVALID_ARGUMENT", "message": "number of candles requested must be below 350"}, 400)
        else:
            rows = self.exchange.rows((symbol,), interval, start, end)[::-1]
            self._json({"candles": [_candle(row) for row in rows[: self.exchange.candles]]})

    def _product_book(self, product: str) -> None:
        sides = {
            side: [{"price": str(price), "size": str(size)} for price, size in levels[: int(self.query["limit"])]]
            for side, levels in self.exchange.books.get(product.replace("-", "/"), {"bids": [], "asks": []}).items()
        }
        self._json({"pricebook": {"product_id": product, **sides, "time": "2024-03-01T00:00:00Z"}})


def _alpaca_bar(row: Any) -> dict[str, Any]:
    values = {"o": row.open, "h": row.high, "l": row.low, "c": row.close, "v": row.volume, "n": 7, "vw": row.close}
    return {"t": f"{row.opened_at:%Y-%m-%dT%H:%M:%SZ}", **values}


def _candle(row: Any) -> dict[str, str]:
    values = {name: getattr(row, name) for name in ("low", "high", "open", "close", "volume")}
    return {"start": str(int(row.opened_at.timestamp())), **{name: str(value) for name, value in values.items()}}


# Faults


def status(code: int, body: str = '{"message": "no"}', **headers: str) -> Fault:
    """Return the answer of that status; underscores in names of headers become hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler: handler.send(code, body, named)


def html(code: int) -> Fault:
    """Return a page such as load balancers send."""
    body = f"<html><head><title>{code}</title></head>\n<body>Sorry</body></html>"
    return lambda handler: handler.send(code, body, kind="text/html")


def body(text: str) -> Fault:
    """Return 200 with that body."""
    return lambda handler: handler.send(200, text)


def reset(handler: Handler) -> None:
    """Drop the connection without a word."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.close_connection = True
    handler.connection.close()


def late(seconds: float) -> Fault:
    """Return an answer that comes when nobody waits for it any more."""

    def answer(handler: Handler) -> None:
        Event().wait(seconds)
        handler.close_connection = True
        handler.send(200, "{}")

    return answer


def after_acceptance(fault: Fault) -> Fault:
    """Return the fault of a venue that carries the request out first."""

    def run(handler: Handler) -> None:
        handler.is_mute = True
        handler.answer()
        handler.is_mute = False
        fault(handler)

    return run


def cut(handler: Handler) -> None:
    """Promise more than comes."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"bars": {')
    handler.close_connection = True
