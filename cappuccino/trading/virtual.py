"""The broker of a virtual account: made from the book, so that the two are the same however the process began."""

from __future__ import annotations

from collections.abc import Callable

from cappuccino.brokers.broker import Instrument
from cappuccino.brokers.simulated import SimulatedBroker
from cappuccino.market.quotes import Quote
from cappuccino.risk.rules import Rules
from cappuccino.trading.desk_account import DeskAccount


def virtual_broker(account: DeskAccount, rules: Rules, quote: Callable[[str], Quote | None]) -> SimulatedBroker:
    """Return a broker that holds what the account's book says, and fills as the cost model expects."""
    return SimulatedBroker(
        float(account.state.cash_usd[0]),
        {symbol: Instrument(symbol) for symbol in account.symbols},
        quote,
        taker_frac=rules.costs.fee_frac,
        maker_frac=rules.costs.maker_fee_bps / 1e4,
        units={symbol: account.units_of(symbol) for symbol in account.symbols},
        account=account.key,
    )
