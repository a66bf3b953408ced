"""Who may open the warehouse file now: many readers or one writer, across processes and threads.

The lock is a `flock` on the sidecar `<file>.lock`, so the operating system drops it when a process dies. A
second sidecar, `<file>.gate`, keeps the order fair: a waiting writer holds the gate, new readers queue behind
it, and a stream of short reads cannot starve a write.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cappuccino.errors import WarehouseBusy, WarehouseError

FIRST_PAUSE_S = 0.001
LONGEST_PAUSE_S = 0.02


def pauses(deadline: float) -> Iterator[float]:
    """Yield the pause in seconds to sleep after each failed attempt, one attempt at least, until `deadline`.

    `deadline` is a reading of `time.monotonic()`.
    """
    pause_s = 0.0
    while True:
        yield pause_s
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            return
        pause_s = min(max(2 * pause_s, FIRST_PAUSE_S), LONGEST_PAUSE_S, left_s)


@contextmanager
def held(file: Path, *, exclusive: bool, timeout_s: float) -> Iterator[None]:
    """Hold the lock of `file`, alone when `exclusive`, together with other readers otherwise.

    Raises WarehouseBusy, naming the writing process where it is known, when the lock is not free in time.
    """
    deadline = time.monotonic() + timeout_s
    mode = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
    with _open(_sidecar(file, ".lock")) as lock:
        with _open(_sidecar(file, ".gate")) as gate:
            _acquire(gate, mode, deadline, lock, file)
            _acquire(lock, mode, deadline, lock, file)
        if exclusive:
            os.pwrite(lock, b"%d\n" % os.getpid(), 0)
        try:
            yield
        finally:
            if exclusive:
                os.ftruncate(lock, 0)


@contextmanager
def _open(path: Path) -> Iterator[int]:
    """Yield a descriptor of `path`; unlock and close it at the end."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise WarehouseError(f"lock file {path} cannot be opened: {error.strerror}; check the folder's owner") from None
    try:
        yield descriptor
    finally:
        # A forked child shares the descriptor, and closing ours alone would leave its lock in place.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def _acquire(descriptor: int, mode: int, deadline: float, lock: int, file: Path) -> None:
    for pause_s in pauses(deadline):
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
            return
        time.sleep(pause_s)
    raise WarehouseBusy(f"{file} is in use by {_holder(lock)}; wait for it or stop it, then try again")


def _holder(lock: int) -> str:
    written = os.pread(lock, 32, 0).strip()
    if not written.isdigit():
        return "other readers"
    try:
        os.kill(int(written), 0)
    except ProcessLookupError:
        return "other readers"
    except PermissionError:
        pass  # alive, and of another user
    return f"process {int(written)}, which is writing"


def _sidecar(file: Path, suffix: str) -> Path:
    return file.with_name(file.name + suffix)
