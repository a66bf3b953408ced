"""Polls, one after the other, on the grid of the wall clock, until somebody asks for the end."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from threading import Event

from cappuccino.trading import requests
from cappuccino.trading.ledger import to_us
from cappuccino.trading.presence import Heartbeat
from cappuccino.trading.switches import read_kill
from cappuccino.trading.trader import Trader
from cappuccino.watch.processes import size_of

UNOBEYED_S = 5.0
"""Time between two polls while the kill switch has not been obeyed to the end."""
IMPATIENCE_S = 1.0
"""How often the kill switch and requests are looked for between two polls."""
ONCE_S = 60.0
"""How long `--once` follows the orders of its only poll."""


def run(
    trader: Trader, beat: Heartbeat, stop: Event, *, once: bool, on_poll: Callable[[float], None] = lambda took_s: None
) -> None:
    """Poll until `stop` is set, or `once`; every poll ends with a heartbeat in the ledger."""
    while not stop.is_set():
        began = time.monotonic()
        beat.poll = trader.n_polls + 1
        trader.poll()
        took_s = time.monotonic() - began
        _note(trader, beat, took_s)
        on_poll(took_s)
        if once:
            _finish(trader, stop)
            return
        _wait(trader, beat, stop)


def next_poll(now: datetime, poll_s: float, settle_s: float) -> datetime:
    """Return the next moment on the grid: bars close on it, and are settled a little later."""
    grid, settled = timedelta(seconds=poll_s), timedelta(seconds=settle_s % poll_s)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + ((now - midnight - settled) // grid + 1) * grid + settled


def _wait(trader: Trader, beat: Heartbeat, stop: Event) -> None:
    """Follow orders that are under way until the next poll is due; a kill or a request brings it forward.

    So does a clock that is set back: the next poll would be hours away.
    """
    floor, poll_s = trader.floor, trader.floor.settings.trader.poll_s
    due = next_poll(floor.clock.now(), poll_s, floor.settings.trader.settle_s)
    if not trader.is_obeyed:
        due = min(due, floor.clock.now() + timedelta(seconds=UNOBEYED_S))
    was_killed = read_kill(floor.settings.desk)
    while not stop.is_set() and 0 < (left_s := (due - floor.clock.now()).total_seconds()) <= poll_s:
        beat("waits")
        is_busy = trader.work()
        stop.wait(min(floor.settings.execution.step_s if is_busy else IMPATIENCE_S, left_s))
        # Another kill counts as well: the first may not have asked for a flat account.
        if read_kill(floor.settings.desk) != was_killed or requests.is_asked(floor.settings.desk):
            return


def _finish(trader: Trader, stop: Event) -> None:
    until = time.monotonic() + ONCE_S
    while time.monotonic() < until and trader.work():
        stop.wait(trader.floor.settings.execution.step_s)


def _note(trader: Trader, beat: Heartbeat, took_s: float) -> None:
    floor, pid = trader.floor, os.getpid()
    size = size_of(pid)
    with floor.ledger.write() as entry:
        entry.insert(
            "heartbeats",
            at_us=to_us(floor.clock.now()),
            pid=pid,
            phase="waits",
            poll=trader.n_polls,
            took_s=took_s,
            memory_mb=size.memory_mb if size else 0.0,
            open_files=size.open_files if size else 0,
            accounts=len(floor.accounts),
            trouble="; ".join(floor.voice.troubles),
        )
    beat("waits")
