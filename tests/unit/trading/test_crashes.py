"""The process dies at every write of the ledger and at every send: nothing is lost, and nothing is sent twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest

from cappuccino.brokers.broker import Instrument, OrderReport, OrderRequest, Refused
from cappuccino.brokers.simulated import SimulatedBroker
from cappuccino.trading.floor import Venue
from cappuccino.trading.ledger import Entry, Ledger
from tests.unit.trading.small_desk import SYMBOLS, Desk, make_desk

KEEN = {"conviction": {"min_score": 0.0}, "protection": {"trailing_stop_frac": 0.0001, "profit_take_frac": 0.001}}
N_POLLS = 4


class Killed(BaseException):
    """As by SIGKILL: nobody catches it."""


@dataclass
class Fuse:
    """Kills at the `left`-th point that is passed; never when it is below 0."""

    left: int = -1
    passed: int = 0

    def burn(self) -> None:
        self.passed += 1
        if self.left >= 0:
            self.left -= 1
            if self.left < 0:
                raise Killed


class FragileLedger(Ledger):
    """A ledger whose process may die before a transaction, inside it, and after it."""

    fuse = Fuse()

    @contextmanager
    def write(self) -> Iterator[Entry]:
        self.fuse.burn()
        with super().write() as entry:
            yield entry
            self.fuse.burn()
        self.fuse.burn()


class FragileVenue(SimulatedBroker):
    """A venue that lives on when the trader dies, before an order arrives or before its answer does."""

    name = "alpaca"
    fuse = Fuse()

    def submit(self, request: OrderRequest) -> OrderReport | Refused:
        self.taken = getattr(self, "taken", [])
        self.fuse.burn()
        self.taken.append(request.client_id)
        answer = super().submit(request)
        self.fuse.burn()
        return answer


def _desk(folder: Path, fuse: Fuse) -> tuple[Desk, FragileVenue]:
    desk = make_desk(folder, risk=KEEN, trader={"production_broker": "alpaca"})
    step = Decimal("0.000000001")
    venue = FragileVenue(
        10_000.0,
        {symbol: Instrument(symbol, units_step=step, min_buy_usd=Decimal(10)) for symbol in SYMBOLS},
        lambda symbol: desk.prices.quotes(SYMBOLS).get(symbol),
        taker_frac=0.0025,
        maker_frac=0.0015,
    )
    FragileLedger.fuse = FragileVenue.fuse = fuse
    desk.open_ledger = FragileLedger
    desk.venues.append(Venue(venue, "production"))
    return desk, venue


def _live(desk: Desk, fuse: Fuse) -> int:
    """Poll at `N_POLLS` closes and twice between them, in as many processes as it takes; return how many died.

    What the fuse has passed then is the number of points at which a process can die.
    """
    n_deaths, n_done = 0, 0
    while n_done < 3 * N_POLLS:
        try:
            with desk.trader() as trader:
                while n_done < 3 * N_POLLS:
                    trader.poll()
                    n_done += 1
                    desk.clock.sleep(3600 - 2 * 20 if n_done % 3 == 0 else 20)
        except Killed:
            n_deaths += 1
            desk.clock.sleep(5)
    fuse.left, n_points = -1, fuse.passed
    with desk.trader() as trader:  # whatever is open has time enough to be found or given up
        for _ in range(4):
            trader.poll()
            desk.clock.sleep(15)
    fuse.passed = n_points
    return n_deaths


def _check(desk: Desk, venue: FragileVenue) -> None:
    ledger = Ledger(desk.settings.desk, is_reader=True)
    assert max(Counter(venue.taken).values(), default=1) == 1
    rows = {row["client_id"]: row for row in ledger.rows("select * from orders where account = 'alpaca'")}
    per_decision = Counter((row["decision"], row["symbol"]) for row in rows.values())
    assert max(per_decision.values(), default=1) == 1
    assert set(venue.taken) <= set(rows)
    for client_id in venue.taken:
        report = venue._orders.get(client_id)
        if report is not None:
            assert Decimal(rows[client_id]["filled_units"]) == report.filled_units
    assert not [row for row in rows.values() if row["state"] in ("recorded", "sending", "unknown", "working")]
    with desk.trader() as trader:
        account, held = trader.floor.accounts["alpaca"], venue.holdings()
    for symbol in SYMBOLS:
        assert account.units_of(symbol) == pytest.approx(float(held.units.get(symbol, 0)), abs=2e-9)
    assert float(account.state.cash_usd[0]) == pytest.approx(float(held.cash_usd), abs=1e-6)
    assert not account.trouble


def _n_points(folder: Path) -> int:
    fuse = Fuse()
    desk, venue = _desk(folder, fuse)
    assert _live(desk, fuse) == 0
    n_points = fuse.passed
    _check(desk, venue)
    assert len(venue.taken) >= 4
    return n_points


def test_a_kill_at_any_write_or_send_loses_nothing_and_sends_nothing_twice(tmp_path: Path) -> None:
    n_points = _n_points(tmp_path / "whole")
    assert n_points > 100
    for point in range(0, n_points, STRIDE):
        fuse = Fuse(point)
        desk, venue = _desk(tmp_path / str(point), fuse)
        assert _live(desk, fuse) == 1
        _check(desk, venue)


STRIDE = 7
"""Of all points, so that the suite stays short; every one of them was tried once (set it to 1)."""


def test_a_process_that_dies_again_and_again_still_loses_nothing(tmp_path: Path) -> None:
    fuse = Fuse(11)
    desk, venue = _desk(tmp_path, fuse)
    n_deaths = 0
    for point in (11, 23, 5, 17, 31, 3):
        fuse.left = point
        n_deaths += _live(desk, fuse)
    assert n_deaths == 6
    _check(desk, venue)
