"""Polls on the grid of the clock, in virtual time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cappuccino.settings import Settings
from cappuccino.trading import requests
from cappuccino.trading.ledger import Ledger
from cappuccino.trading.loop import next_poll, run
from cappuccino.trading.presence import Heartbeat
from cappuccino.trading.switches import Kill, write_kill
from cappuccino.trading.trader import Trader
from tests.unit.trading.small_desk import START, VirtualClock

MOMENTS = st.timedeltas(timedelta(0), timedelta(days=400)).map(lambda since: START + since)


@given(MOMENTS, st.sampled_from([1.0, 7.0, 60.0, 90.0, 900.0]), st.floats(0.0, 600.0))
def test_the_next_poll_lies_ahead_by_one_step_at_most_and_on_the_grid(
    now: datetime, poll_s: float, settle_s: float
) -> None:
    due = next_poll(now, poll_s, settle_s)
    assert timedelta(0) < due - now <= timedelta(seconds=poll_s)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    off_s = ((due - midnight).total_seconds() - settle_s) % poll_s
    assert min(off_s, poll_s - off_s) == pytest.approx(0.0, abs=1e-5)


def test_a_poll_comes_when_a_bar_has_settled() -> None:
    at = datetime(2025, 3, 3, 0, 14, 59, tzinfo=UTC)
    assert next_poll(at, 60.0, 10.0) == datetime(2025, 3, 3, 0, 15, 10, tzinfo=UTC)
    assert next_poll(START, 60.0, 10.0) == START + timedelta(seconds=10)


@dataclass
class Idle:
    """What the loop sees of a trader."""

    floor: SimpleNamespace
    on_poll: Callable[[int], None]
    n_busy: int = 0
    """Looks between two polls for which orders are under way."""
    is_obeyed: bool = True
    n_polls: int = 0
    polled: list[datetime] = field(default_factory=list)
    worked: list[datetime] = field(default_factory=list)

    def poll(self) -> None:
        self.n_polls += 1
        self.polled.append(self.floor.clock.now())
        self.on_poll(self.n_polls)

    def work(self) -> bool:
        self.worked.append(self.floor.clock.now())
        self.n_busy -= 1
        return self.n_busy >= 0


class Stop(Event):
    """An event for which waiting is the passing of virtual time."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self.clock = clock
        self.on_wait: Callable[[], None] = lambda: None

    def wait(self, timeout: float | None = None) -> bool:
        self.clock.sleep(timeout or 0.0)
        self.on_wait()
        return self.is_set()


@dataclass
class Bench:
    """A loop on a clock that costs no time."""

    trader: Idle
    stop: Stop
    beat: Heartbeat
    folder: Path
    ledger: Ledger

    def run(self, n_polls: int = 99, *, once: bool = False) -> list[float]:
        """Return the seconds since START at which was polled, `n_polls` times at most."""
        before = self.trader.on_poll

        def on_poll(n: int) -> None:
            before(n)
            if n >= n_polls:
                self.stop.set()

        self.trader.on_poll = on_poll
        run(cast(Trader, self.trader), self.beat, self.stop, once=once)
        return [(at - START).total_seconds() for at in self.trader.polled]


@pytest.fixture
def bench(tmp_path: Path):  # type: ignore[no-untyped-def]
    clock, settings = VirtualClock(START), Settings(profile="paper", warehouse=tmp_path)
    with closing(Ledger(settings.desk)) as ledger:
        floor = SimpleNamespace(
            clock=clock, settings=settings, ledger=ledger, accounts={}, voice=SimpleNamespace(troubles=("odd",))
        )
        trader = Idle(floor, lambda n: None)
        yield Bench(trader, Stop(clock), Heartbeat(settings.desk), settings.desk, ledger)


def test_polls_stay_on_the_grid_however_long_each_takes(bench: Bench) -> None:
    took_s = iter([0.0, 5.0, 59.0, 130.0, 1.0])
    bench.trader.on_poll = lambda n: bench.trader.floor.clock.sleep(next(took_s))
    assert bench.run(5) == [0.0, 10.0, 70.0, 130.0, 310.0]


def test_the_end_comes_after_the_poll_under_way(bench: Bench) -> None:
    assert bench.run(1) == [0.0]
    assert len(bench.ledger.rows("select * from heartbeats")) == 1


def test_the_end_is_not_waited_for(bench: Bench) -> None:
    bench.stop.on_wait = bench.stop.set
    assert bench.run() == [0.0]


def test_a_kill_brings_the_next_poll_forward(bench: Bench) -> None:
    bench.stop.on_wait = lambda: _kill_at(bench, 3.0)
    assert bench.run(3) == [0.0, 3.0, 10.0]


def _kill_at(bench: Bench, second: float, *, flatten: bool = False) -> None:
    if (bench.trader.floor.clock.now() - START).total_seconds() == second:
        write_kill(bench.folder, Kill(START, "a test", "me", flatten))


def test_a_second_kill_that_asks_for_more_does_too(bench: Bench) -> None:
    write_kill(bench.folder, Kill(START, "a test", "me"))
    bench.stop.on_wait = lambda: _kill_at(bench, 4.0, flatten=True)
    assert bench.run(3) == [0.0, 4.0, 10.0]


def test_a_kill_that_is_not_obeyed_yet_is_followed_soon(bench: Bench) -> None:
    bench.trader.is_obeyed = False
    assert bench.run(4) == [0.0, 5.0, 10.0, 15.0]


@pytest.mark.parametrize("request_", requests.Request)
def test_a_request_brings_the_next_poll_forward(bench: Bench, request_: requests.Request) -> None:
    def ask() -> None:
        if bench.trader.n_polls == 1:
            requests.ask(bench.folder, request_)

    bench.stop.on_wait = ask
    bench.trader.on_poll = lambda n: (bench.folder / requests.FOLDER / request_.value).unlink(missing_ok=True)
    assert bench.run(3) == [0.0, 1.0, 10.0]


def test_orders_under_way_are_followed_every_step(bench: Bench) -> None:
    bench.trader.n_busy = 3
    bench.run(2)
    seconds = [(at - START).total_seconds() for at in bench.trader.worked]
    assert seconds[:5] == [0.0, 2.0, 4.0, 6.0, 7.0]


def test_a_clock_that_is_set_back_keeps_nobody_waiting(bench: Bench) -> None:
    def set_back() -> None:
        if bench.trader.n_polls == 2:
            bench.trader.floor.clock.at = START - timedelta(hours=3)

    bench.stop.on_wait = set_back
    assert bench.run(3) == [0.0, 10.0, -10_800.0]


def test_once_polls_once_and_follows_its_orders(bench: Bench) -> None:
    bench.trader.n_busy = 4
    assert bench.run(once=True) == [0.0]
    assert len(bench.trader.worked) == 5


def test_every_poll_leaves_a_heartbeat_with_the_size_of_the_process(bench: Bench) -> None:
    bench.run(3)
    rows = bench.ledger.rows("select * from heartbeats order by rowid")
    assert [row["poll"] for row in rows] == [1, 2, 3]
    assert all(row["memory_mb"] > 10 and row["open_files"] > 2 and row["trouble"] == "odd" for row in rows)
