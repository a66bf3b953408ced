"""What of an account is kept for people to look at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from cappuccino.trading.desk_account import DeskAccount
from cappuccino.trading.ledger import to_us


def position_rows(
    account: DeskAccount, prices_usd: Mapping[str, float], now: datetime, venue_units: Mapping[str, str] | None = None
) -> Iterator[dict[str, Any]]:
    """Yield one row of the ledger's `positions` for each symbol, also for those that are not held."""
    state = account.state
    for a, symbol in enumerate(account.symbols):
        units, price_usd = float(state.units[0, a]), prices_usd[symbol]
        yield {
            "account": account.key,
            "symbol": symbol,
            "units": units,
            "entry_usd": float(state.average_entry_usd[0, a]),
            "peak_usd": float(state.peak_price_usd[0, a]),
            "price_usd": price_usd,
            "value_usd": units * price_usd,
            "venue_units": (venue_units or {}).get(symbol),
            "at_us": to_us(now),
        }
