"""Rows of a trader's ledger, as the trader would have written them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cappuccino.portfolio.account import open_accounts
from cappuccino.trading.ledger import Entry, Ledger, to_us

SYMBOLS = ("BTC/USD", "ETH/USD")
HOUR = timedelta(hours=1)
T0 = datetime(2025, 3, 26, tzinfo=UTC)
"""When accounts here are opened, unless they say otherwise."""
STATE = json.dumps(open_accounts(1, len(SYMBOLS), 1_000.0).to_rows()[0])


def account_row(account: str = "s/1", **changes: Any) -> dict[str, Any]:
    study, _, trial = account.partition("/")
    return {
        "account": account,
        "broker": "simulated",
        "stage": "sandbox",
        "study": study,
        "trial": int(trial or 0),
        "symbols": json.dumps(SYMBOLS),
        "interval": "1h",
        "opened_us": to_us(T0),
        "cash_usd": 1_000.0,
        "state": STATE,
        "decided_us": None,
        "marked_us": None,
    } | changes


def decision_row(account: str, at: datetime, **changes: Any) -> dict[str, Any]:
    study, _, trial = account.partition("/")
    return {
        "decision": f"{account}@{at:%dT%H%M}",
        "account": account,
        "study": study,
        "trial": int(trial or 0),
        "kind": "bar",
        "closed_us": to_us(at),
        "decided_us": to_us(at + timedelta(seconds=12)),
        "marks": json.dumps(dict(zip(SYMBOLS, (100.0, 50.0), strict=True))),
        "quotes": json.dumps({symbol: [99.0, 101.0] for symbol in SYMBOLS}),
        "action": json.dumps(dict(zip(SYMBOLS, (0.5, -1.0), strict=True))),
        "targets": json.dumps(dict(zip(SYMBOLS, (0.15, 0.0), strict=True))),
        "wanted": json.dumps({"BTC/USD": 1.5}),
        "rules": 0,
        "state": STATE,
        "latency_s": 0.25,
    } | changes


def order_row(client_id: str, account: str, at: datetime, **changes: Any) -> dict[str, Any]:
    return {
        "client_id": client_id,
        "account": account,
        "decision": f"{account}@{at:%dT%H%M}",
        "purpose": "wish",
        "symbol": "BTC/USD",
        "side": 1,
        "units": "1.5",
        "limit_usd": None,
        "expected_usd": "100.05",
        "decision_usd": 100.0,
        "bid_usd": 99.9,
        "ask_usd": 100.1,
        "attempt": 0,
        "is_protective": 0,
        "rules": 0,
        "state": "recorded",
        "recorded_us": to_us(at),
        "updated_us": to_us(at),
    } | changes


def event_row(client_id: str, at: datetime, state: str, note: str = "") -> dict[str, Any]:
    return {"client_id": client_id, "at_us": to_us(at), "state": state, "note": note or state}


def fill_row(fill: str, account: str, at: datetime, units: float = 1.0, **changes: Any) -> dict[str, Any]:
    study, _, trial = account.partition("/")
    return {
        "fill": fill,
        "client_id": fill.partition(":")[0],
        "account": account,
        "study": study,
        "trial": int(trial or 0),
        "symbol": "BTC/USD",
        "units": units,
        "price_usd": 100.0,
        "fee_usd": 0.1,
        "fee_units": 0.0,
        "slippage_usd": 0.02,
        "shortfall_usd": 0.12,
        "realized_pnl_usd": 0.0,
        "is_maker": 1,
        "filled_us": to_us(at),
    } | changes


def equity_row(account: str, at: datetime, value_usd: float = 1_000.0, **changes: Any) -> dict[str, Any]:
    study, _, trial = account.partition("/")
    return {
        "account": account,
        "closed_us": to_us(at),
        "stage": "sandbox",
        "study": study,
        "trial": int(trial or 0),
        "value_usd": value_usd,
        "benchmark_usd": 990.0,
        "exposure_frac": 0.15,
        "fee_usd": 0.1,
        "slippage_usd": 0.02,
        "turnover_usd": 150.0,
        "rules": 0,
    } | changes


def look_row(account: str, at: datetime, value_usd: float = 1_000.0) -> dict[str, Any]:
    return {"account": account, "at_us": to_us(at), "value_usd": value_usd, "cash_usd": 850.0, "exposure_frac": 0.15}


def position_row(account: str, symbol: str = "BTC/USD", **changes: Any) -> dict[str, Any]:
    return {
        "account": account,
        "symbol": symbol,
        "units": 1.5,
        "entry_usd": 100.0,
        "peak_usd": 110.0,
        "price_usd": 102.0,
        "value_usd": 153.0,
        "venue_units": None,
        "at_us": to_us(T0 + HOUR),
    } | changes


def vote_rows(decision: str) -> list[dict[str, Any]]:
    return [
        {
            "decision": decision,
            "symbol": symbol,
            "member_study": "m",
            "member_trial": member,
            "vote": 0.5 * member,
            "weight": 0.5,
            "is_active": 1,
        }
        for symbol in SYMBOLS
        for member in (1, 2)
    ]


def conviction_row(decision: str, symbol: str = "BTC/USD", **changes: Any) -> dict[str, Any]:
    factors = dict.fromkeys(("size", "momentum", "agreement", "volatility", "context"), 0.8)
    return {"decision": decision, "symbol": symbol, "score": 0.8, **factors, "passed": 1} | changes


def heartbeat_row(at: datetime, poll: int = 1) -> dict[str, Any]:
    figures = {"took_s": 0.5, "memory_mb": 300.0, "open_files": 20, "accounts": 1, "trouble": ""}
    return {"at_us": to_us(at), "pid": 7, "phase": "waiting", "poll": poll, **figures}


def put(entry: Entry, table: str, *rows: dict[str, Any]) -> None:
    """Add `rows`, or put them into the places of those with their keys."""
    for row in rows:
        entry.upsert(table, **row)


def live_an_hour(ledger: Ledger, account: str, close: datetime, value_usd: float = 1_000.0) -> str:
    """Decide at `close`, order, fill in two parts, and value the account an hour later; return the order's id."""
    client_id, decision = f"order-{account}-{close:%dT%H}", f"{account}@{close:%dT%H%M}"
    with ledger.write() as entry:
        put(entry, "decisions", decision_row(account, close))
        put(entry, "votes", *vote_rows(decision))
        put(entry, "convictions", conviction_row(decision))
        put(entry, "orders", order_row(client_id, account, close))
        put(entry, "order_events", event_row(client_id, close, "recorded"))
    with ledger.write() as entry:
        filled = {"state": "filled", "filled_units": "1.5", "filled_usd": "150.3", "fee_usd": "0.2", "is_maker": 1}
        entry.update("orders", {"client_id": client_id}, **filled)
        put(entry, "order_events", event_row(client_id, close, "working"), event_row(client_id, close, "filled"))
        put(entry, "fills", fill_row(f"{client_id}:0.5", account, close, 0.5, price_usd=99.0))
        put(entry, "fills", fill_row(f"{client_id}:1.5", account, close, 1.0, price_usd=102.0))
        put(entry, "positions", position_row(account))
    with ledger.write() as entry:
        put(entry, "equity", equity_row(account, close + HOUR, value_usd))
        put(entry, "looks", look_row(account, close + HOUR, value_usd))
        put(entry, "heartbeats", heartbeat_row(close + HOUR))
    return client_id


def ledger_with(folder: Path, *accounts: dict[str, Any]) -> Ledger:
    """Return a new ledger in `folder` that keeps `accounts`."""
    ledger = Ledger(folder)
    with ledger.write() as entry:
        put(entry, "accounts", *accounts)
    return ledger
