"""What venues accept, kept for a start without them."""

from __future__ import annotations

from contextlib import closing
from decimal import Decimal
from pathlib import Path

from cappuccino.brokers.broker import Instrument
from cappuccino.trading.known_instruments import known_instruments, store_instruments
from cappuccino.trading.ledger import Ledger
from tests.unit.trading.small_orders import BTC, ETH, NOW


def test_what_a_venue_said_last_comes_back_exactly(tmp_path: Path) -> None:
    old = Instrument(BTC, units_step=Decimal("1e-8"))
    bitcoin = Instrument(BTC, Decimal("1e-9"), Decimal("0.01"), Decimal("0.0001"), max_units=Decimal(5), halted="soon")
    ether = Instrument(ETH, takes_post_only=False)
    with closing(Ledger(tmp_path)) as ledger:
        for instruments in ({BTC: old}, {BTC: bitcoin, ETH: ether}):
            with ledger.write() as entry:
                store_instruments(entry, "coinbase", instruments, NOW)
        assert known_instruments(ledger, "coinbase", (BTC, ETH, "LTC/USD")) == {BTC: bitcoin, ETH: ether}
        assert known_instruments(ledger, "coinbase", (ETH,)) == {ETH: ether}
        assert known_instruments(ledger, "alpaca", (BTC,)) == {}
