"""A child process of the supervisor: started in its own group, listened to, measured and ended.

Linux only: a child is killed by the kernel when its supervisor dies. What a child has started carries a mark in its
environment, so that nothing of it is left behind even when it has left the group.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

MARK = "SUPERVISED_BY"
"""Environment variable of everything that a child starts."""
LONGEST_LINE_BYTES = 16_384
_PR_SET_PDEATHSIG = 1
_PROC = Path("/proc")
# Loaded before any fork: between fork and exec nothing may be imported or looked up.
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Program:
    """What a child runs."""

    name: str
    command: Sequence[str]
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    """Beside those of the supervisor."""


@dataclass(frozen=True)
class Size:
    """What a process takes."""

    memory_mb: float
    """Resident, what it shares with others included."""
    open_files: int


class RotatingFile:
    """A log of at most about `keep` + 1 times `max_bytes`: FILE, FILE.1, FILE.2 ..., the newest without a number.

    Several threads may write. A full disk loses lines and stops nobody.
    """

    def __init__(self, file: Path, max_bytes: int = 10_000_000, keep: int = 3) -> None:
        self._file, self._max_bytes, self._keep = file, max_bytes, keep
        self._turn = threading.Lock()
        file.parent.mkdir(parents=True, exist_ok=True)

    def write(self, line: bytes) -> None:
        """Add a line, with its end."""
        with self._turn, suppress(OSError):
            self._make_room(len(line))
            with self._file.open("ab") as opened:
                opened.write(line)

    def _make_room(self, n_bytes: int) -> None:
        if not self._file.exists() or self._file.stat().st_size + n_bytes <= self._max_bytes:
            return
        for number in range(self._keep, 0, -1):
            older = self._file if number == 1 else self._numbered(number - 1)
            if older.exists():
                older.replace(self._numbered(number))
        if not self._keep:
            self._file.unlink()

    def _numbered(self, number: int) -> Path:
        return self._file.with_name(f"{self._file.name}.{number}")


class Process:
    """A running child. Its lines, of stdout and stderr, go to `hear` from a thread of their own."""

    def __init__(self, program: Program, mark: str, hear: Callable[[bytes], None]) -> None:
        self._process = subprocess.Popen(
            program.command,
            cwd=program.folder,
            env={**os.environ, **program.environment, MARK: mark, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_die_with(os.getpid()),
        )
        assert self._process.stdout is not None
        self._listener = threading.Thread(target=_listen, args=(self._process.stdout, hear), daemon=True)
        self._listener.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def exit_code(self) -> int | None:
        """Return how it ended, negative for a signal; None while it runs."""
        return self._process.poll()

    def ask_to_stop(self) -> None:
        """Send SIGTERM to the process alone: it ends what it has started in its own order."""
        if self.exit_code() is None:
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the process, and not what it has started, and return when it is gone."""
        self._process.kill()
        self._process.wait()

    def wait_for_words(self, timeout_s: float) -> None:
        """Wait for its last lines to be heard, at most `timeout_s`."""
        self._listener.join(timeout_s)

    def size(self) -> Size | None:
        """Return what it takes now; None when it is gone, or where nothing can be read."""
        return size_of(self.pid)


def size_of(pid: int) -> Size | None:
    """Return what process `pid` takes, None when it is gone."""
    try:
        pages = int((_PROC / str(pid) / "statm").read_text().split()[1])
        return Size(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, len(os.listdir(_PROC / str(pid) / "fd")))  # noqa: PTH208
    except (OSError, IndexError):
        return None


def marked(mark: str) -> list[int]:
    """Return every process of ours that carries `mark`, this one excepted."""
    wanted = f"{MARK}={mark}".encode()
    return [pid for pid in _others() if wanted in _variables(pid)]


def send(pids: Iterable[int], number: signal.Signals) -> None:
    """Send a signal to each of `pids` that still is there."""
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def in_words(exit_code: int) -> str:
    """Return how a process ended: `exit code 2`, `killed by SIGKILL`."""
    if exit_code >= 0:
        return f"exit code {exit_code}"
    try:
        return f"killed by {signal.Signals(-exit_code).name}"
    except ValueError:
        return f"killed by signal {-exit_code}"


def _others() -> Iterator[int]:
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            yield int(entry.name)


def _variables(pid: int) -> list[bytes]:
    try:
        return (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:  # gone meanwhile, or of another user
        return []


def _die_with(supervisor: int) -> Callable[[], None]:
    def before_exec() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != supervisor:  # it died before the kernel was asked
            os.kill(os.getpid(), signal.SIGKILL)

    return before_exec


def _listen(stream: BinaryIO, hear: Callable[[bytes], None]) -> None:
    """Read to the end whatever comes, so that a child never waits for somebody to listen."""
    with stream:
        for line in iter(lambda: stream.readline(LONGEST_LINE_BYTES), b""):
            hear(line if line.endswith(b"\n") else line + b"\n")
