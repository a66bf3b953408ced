"""What venues accept, as they said last: a start does not have to wait for all of their answers to sell."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import datetime
from decimal import Decimal

from cappuccino.brokers.broker import Instrument
from cappuccino.trading.ledger import Entry, Ledger, to_us

_AMOUNTS = frozenset(field.name for field in fields(Instrument) if "Decimal" in str(field.type))


def store_instruments(entry: Entry, broker: str, instruments: Mapping[str, Instrument], now: datetime) -> None:
    """Put what the venue accepts into the ledger."""
    for symbol, instrument in instruments.items():
        text = json.dumps(asdict(instrument), default=str)
        entry.upsert("instruments", broker=broker, symbol=symbol, instrument=text, at_us=to_us(now))


def known_instruments(ledger: Ledger, broker: str, symbols: tuple[str, ...]) -> dict[str, Instrument]:
    """Return what the venue said last of each of `symbols`; one that it never spoke of is missing."""
    rows = ledger.rows("select symbol, instrument from instruments where broker = ?", broker)
    return {row["symbol"]: _instrument(row["instrument"]) for row in rows if row["symbol"] in symbols}


def _instrument(text: str) -> Instrument:
    values = json.loads(text)
    amounts = {name: Decimal(values[name]) for name in _AMOUNTS if values[name] is not None}
    return Instrument(**(values | amounts))
