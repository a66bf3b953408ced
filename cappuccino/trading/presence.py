"""That a trader is there: one a warehouse, with a heartbeat that a supervisor looks at."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, TextIO

from cappuccino.errors import TraderBusy
from cappuccino.watch.health import HEARTBEAT

LOCK = "trader.lock"
TRIES = 3


@contextmanager
def only_trader(folder: Path) -> Iterator[None]:
    """Be the one trader of `folder`; raises TraderBusy, naming the process, when there is another."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a+") as lock:
        if not _is_won(lock):
            lock.seek(0)
            raise TraderBusy(
                f"process {lock.read().strip() or 'unknown'} trades on {folder} already; stop it, or let it trade"
            )
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
        lock.truncate(0)


def _is_won(lock: TextIO) -> bool:
    """Return whether the lock is ours now. Somebody who only looks (`is_trading`) lets go of it at once."""
    for _ in range(TRIES):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            time.sleep(0.05)
        else:
            return True
    return False


def is_trading(folder: Path) -> bool:
    """Return whether a trader holds `folder`."""
    try:
        with (folder / LOCK).open() as lock:
            return is_held(lock)
    except FileNotFoundError:
        return False


def is_held(lock: IO[Any]) -> bool:
    """Return whether somebody holds the open lock file."""
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


class Heartbeat:
    """Writes that we are alive, at most once a second."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / HEARTBEAT
        self._beat_s = 0.0
        self.poll = 0
        self.phase = "start"

    def __call__(self, phase: str) -> None:
        self.phase = phase
        if time.monotonic() - self._beat_s < 1.0:
            return
        self._beat_s = time.monotonic()
        beat_at = datetime.now(UTC).isoformat()
        partial = self._file.with_suffix(".part")
        partial.write_text(json.dumps({"pid": os.getpid(), "beat_at": beat_at, "phase": phase, "poll": self.poll}))
        partial.replace(self._file)
