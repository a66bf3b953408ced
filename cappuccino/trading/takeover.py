"""Making sure that a kill is obeyed: by the trader, or, when it does not answer, in its place.

A trader runs exactly as long as it holds the lock of `trader.lock`; the file names its process.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cappuccino.errors import TraderBusy, TraderError
from cappuccino.trading.ledger import FILE
from cappuccino.trading.presence import LOCK, is_held
from cappuccino.trading.switches import Kill, Obeyed, read_obeyed

LONGEST_WAITS = 10
"""A trader that has seen the switch and still is at it gets so many times the wait."""
_LOOK_EVERY_S = 0.05
_LONGEST_NAME_BYTES = 256


@dataclass(frozen=True)
class Patience:
    """How long to wait, and by which clock."""

    wait_s: float = 20.0
    """For a sign of life of the trader, each time."""
    term_s: float = 5.0
    """For its end after SIGTERM, then again after SIGKILL."""
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True)
class Carried:
    """How a kill was carried out."""

    by: str
    """`trader`, or `command` when this process did it."""
    trader_pid: int | None
    """The trader that ran, None when none did."""
    is_trader_stopped: bool
    """It did not answer and was ended."""
    is_done: bool
    """Nothing is open any more and, where that was asked for, everything is sold."""
    lines: tuple[str, ...]
    """What was done, in words."""


def trader_pid(desk: Path) -> int | None:
    """Return the process of the running trader, None when none runs."""
    try:
        with (desk / LOCK).open("rb") as opened:
            named = re.search(rb"\d+", opened.read(_LONGEST_NAME_BYTES))
            # The lock is tried only when the process lives: a trader that starts must not find it taken by us.
            return int(named[0]) if named and _lives(int(named[0])) and is_held(opened) else None
    except FileNotFoundError:
        return None


def carry_out(desk: Path, kill: Kill, take_over: Callable[[], list[str]], patience: Patience) -> Carried:
    """Wait until the trader has obeyed `kill`; when none runs or it does not answer, end it and call `take_over`.

    `take_over` writes how far it got, as the trader does; without a ledger there is nothing to do.
    Raises TraderError when the trader cannot be ended; whatever `take_over` raises goes through.
    """
    pid = trader_pid(desk)
    if pid is not None:
        obeyed = _obeyed(desk, kill, patience)
        if obeyed is not None:
            return Carried("trader", obeyed.pid, False, True, obeyed.lines)
        end_trader(desk, patience)
    try:
        lines = tuple(take_over())
    except TraderBusy:
        # A supervisor was faster and has started a trader again, which finds the switch.
        obeyed = _obeyed(desk, kill, patience)
        if obeyed is None:
            raise
        return Carried("trader", obeyed.pid, pid is not None, True, obeyed.lines)
    said = read_obeyed(desk, kill)
    is_done = said.is_done if said else not (desk / FILE).is_file()
    return Carried("command", pid, pid is not None, is_done, lines)


def end_trader(desk: Path, patience: Patience) -> None:
    """End the running trader, by SIGTERM and then by SIGKILL; raises TraderError when it goes on."""
    pid = trader_pid(desk)
    if pid is None:
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        _send(pid, number)
        if _until(lambda: trader_pid(desk) != pid, patience.term_s, patience):
            return
    raise TraderError(f"the trader (process {pid}) cannot be ended; the switch is set, end it by hand")


def _obeyed(desk: Path, kill: Kill, patience: Patience) -> Obeyed | None:
    """Return the trader's word that all is done; None when it says nothing, or nothing new, for `wait_s`."""
    give_up_s = patience.monotonic() + LONGEST_WAITS * patience.wait_s
    newest: Obeyed | None = None
    until_s = patience.monotonic() + patience.wait_s
    while patience.monotonic() < min(until_s, give_up_s):
        found = read_obeyed(desk, kill)
        if found is not None and found.is_done:
            return found
        if found != newest:
            newest, until_s = found, patience.monotonic() + patience.wait_s
        if trader_pid(desk) is None:
            return None
        patience.sleep(_LOOK_EVERY_S)
    return None


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # of another user
    return True


def _until(is_so: Callable[[], bool], timeout_s: float, patience: Patience) -> bool:
    deadline = patience.monotonic() + timeout_s
    while not is_so():
        if patience.monotonic() >= deadline:
            return False
        patience.sleep(_LOOK_EVERY_S)
    return True


def _send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        try:
            os.kill(pid, number)
        except PermissionError:
            raise TraderError(
                f"the trader (process {pid}) belongs to another user; the switch is set, end it by hand"
            ) from None
