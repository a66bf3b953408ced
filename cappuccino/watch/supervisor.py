"""One process that keeps others running: it starts them, restarts what dies, and ends what hangs or grows too big.

It loops over its children twice a second. What to do about each is decided by `restarts`, whether it works by its
probe in `health`; a person is called through `alerts`. Nothing here waits: a child that is told to stop, a terminal
that takes no lines, a channel that hangs, none of them keeps the other children from being looked after.
"""

from __future__ import annotations

import fcntl
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import SubprocessError

from cappuccino.errors import TraderBusy, TraderError
from cappuccino.settings import UpSettings
from cappuccino.watch.alerts import Alerts, Severity
from cappuccino.watch.health import Probe
from cappuccino.watch.processes import Process, Program, RotatingFile, Size, in_words, marked, send
from cappuccino.watch.restarts import Decision, Event, Policy, Restarts, step

TICK_S = 0.5
SIZE_EVERY_S = 30.0
LAST_WORDS_S = 0.5
OWN_END_S = 3.0
_TERMINAL_LINES = 1_000
Say = Callable[[str], None]


@dataclass(frozen=True)
class Child:
    """What is to be kept running."""

    program: Program
    probe: Probe
    stop_s: float
    """Time to end by itself before it is killed."""
    memory_mb: float = 0
    """Resident memory of its own process at which it is started again; 0 = no limit."""
    open_files: int = 0
    is_outlived: bool = False
    """What it has started goes on when it ends, as runs do; only the end of the supervisor ends that, too."""

    @property
    def name(self) -> str:
        return self.program.name


@dataclass
class _Kept:
    """A child with its process and the state of its restarts."""

    child: Child
    mark: str
    hear: Callable[[bytes], None]
    restarts: Restarts = field(default_factory=Restarts)
    process: Process | None = None
    stopped_for: str = ""
    """Why the supervisor has asked it to stop."""
    kill_at_s: float = 0.0
    size_at_s: float = 0.0


class Supervisor:
    """Keeps `children` running until `stop`. `mark` is put on all processes below it, `say` hears each change."""

    def __init__(
        self,
        children: Sequence[Child],
        mark: str,
        logs: Path,
        alerts: Alerts,
        say: Say,
        *,
        policy: Policy | None = None,
        log_bytes: int = 10_000_000,
        echo: Say | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._alerts, self._say = alerts, say
        self._policy, self._monotonic = policy or Policy(), monotonic
        self._kept = [
            _Kept(
                child,
                f"{mark}:{child.name}",
                _hearer(child.name, RotatingFile(logs / f"{child.name}.log", log_bytes), echo or say),
            )
            for child in children
        ]

    def start(self) -> None:
        """Start all children, after ending what a supervisor that was killed has left behind."""
        for kept in self._kept:
            self._end_rest(kept)
            self._start(kept)

    def look(self) -> None:
        """Look at each child once, and do what is to be done."""
        now_s = self._monotonic()
        for kept in self._kept:
            self._look(kept, now_s)

    def stop(self, is_urgent: Callable[[], bool] = lambda: False) -> None:
        """End the children one after the other, in their order; at once when `is_urgent`."""
        for kept in self._kept:
            if kept.process is not None:
                self._stop(kept, kept.process, is_urgent)
            if kept.child.is_outlived:
                self._interrupt_rest(kept, is_urgent)
            send(marked(kept.mark), signal.SIGKILL)

    def _stop(self, kept: _Kept, process: Process, is_urgent: Callable[[], bool]) -> None:
        if not is_urgent():
            self._ask_to_stop(kept, "the supervisor stops", self._monotonic())
        self._wait(lambda: process.exit_code() is not None or is_urgent(), kept.kill_at_s)
        self._say(f"{kept.child.name}: stopped, {self._bury(kept)}")

    def _interrupt_rest(self, kept: _Kept, is_urgent: Callable[[], bool]) -> None:
        """Let what the child has started end by itself, then interrupt it, so that its records say so."""

        def is_over() -> bool:
            return is_urgent() or not marked(kept.mark)

        self._wait(is_over, self._monotonic() + OWN_END_S)
        if is_over():
            return
        rest = marked(kept.mark)
        self._say(f"{kept.child.name}: interrupting {len(rest)} processes that it has started")
        send(rest, signal.SIGINT)
        self._wait(is_over, self._monotonic() + kept.child.stop_s)

    def _wait(self, is_so: Callable[[], bool], until_s: float) -> None:
        while not is_so() and self._monotonic() < until_s:
            time.sleep(TICK_S / 10)

    def _end_rest(self, kept: _Kept) -> None:
        left = [] if kept.child.is_outlived else marked(kept.mark)
        if left:
            self._say(f"{kept.child.name}: ending {len(left)} processes that it had started")
        send(left, signal.SIGKILL)

    def _start(self, kept: _Kept) -> None:
        try:
            kept.process = Process(kept.child.program, kept.mark, kept.hear)
        except (OSError, SubprocessError) as error:
            self._ended(kept, f"it cannot be started: {error}")
            return
        kept.child.probe.begin(kept.process.pid)
        kept.size_at_s = self._monotonic() + SIZE_EVERY_S
        self._say(f"{kept.child.name}: started, process {kept.process.pid}")

    def _look(self, kept: _Kept, now_s: float) -> None:
        if kept.process is None:
            self._step(kept, Event.TICK, now_s)
        elif kept.process.exit_code() is not None or (kept.stopped_for and now_s >= kept.kill_at_s):
            self._ended(kept, self._bury(kept))
        elif not kept.stopped_for:
            self._examine(kept, kept.process, now_s)

    def _examine(self, kept: _Kept, process: Process, now_s: float) -> None:
        health = kept.child.probe.look()
        if health.hang:
            # SIGTERM first: a trader that is merely slow still stores what it knows.
            self._ask_to_stop(kept, f"it hangs: {health.hang}", now_s)
            return
        self._step(kept, Event.HEALTHY if health.is_healthy else Event.TICK, now_s)
        if now_s >= kept.size_at_s:
            kept.size_at_s = now_s + SIZE_EVERY_S
            excess = _excess(kept.child, process.size())
            if excess:
                self._ask_to_stop(kept, excess, now_s)

    def _ask_to_stop(self, kept: _Kept, reason: str, now_s: float) -> None:
        assert kept.process is not None
        kept.stopped_for, kept.kill_at_s = reason, now_s + kept.child.stop_s
        kept.process.ask_to_stop()
        self._say(f"{kept.child.name}: asked to stop, {reason}")

    def _bury(self, kept: _Kept) -> str:
        """End what is left of a child, and return how it ended."""
        assert kept.process is not None
        kept.process.kill()
        self._end_rest(kept)
        kept.process.wait_for_words(LAST_WORDS_S)
        code = kept.process.exit_code()
        reason = "; ".join(filter(None, (kept.stopped_for, in_words(code) if code is not None else "")))
        kept.process, kept.stopped_for = None, ""
        return reason

    def _ended(self, kept: _Kept, reason: str) -> None:
        now_s = self._monotonic()
        self._step(kept, Event.ENDED, now_s)
        pause_s = (kept.restarts.due_s or now_s) - now_s
        self._say(f"{kept.child.name}: ended, {reason}; started again in {pause_s:.0f} s")
        self._alerts.raise_(f"up.{kept.child.name}.ended", Severity.WARNING, f"{kept.child.name} ended: {reason}")

    def _step(self, kept: _Kept, event: Event, now_s: float) -> None:
        kept.restarts, decisions = step(kept.restarts, event, now_s, self._policy)
        name = kept.child.name
        for decision in decisions:
            if decision is Decision.START:
                self._start(kept)
            elif decision is Decision.CALL:
                self._call(kept)
            elif decision is Decision.RECOVERED:
                self._alerts.resolve(f"up.{name}.ended", f"{name} is healthy again")
                if self._alerts.resolve(f"up.{name}.restarts", f"{name} is healthy again"):
                    self._say(f"{name}: healthy again")

    def _call(self, kept: _Kept) -> None:
        name, policy = kept.child.name, self._policy
        message = (
            f"{name} was started again {len(kept.restarts.restarted_at_s)} times within {policy.window_s:.0f} s; if it "
            f"ends again, it is tried every {policy.longest_pause_s:.0f} s. Look at logs/{name}.log"
        )
        self._say(f"{name}: calling a person")
        self._alerts.raise_(f"up.{name}.restarts", Severity.CRITICAL, message)


class Stopping:
    """SIGTERM and SIGINT: the first asks for an end in order, the second for one at once."""

    def __init__(self) -> None:
        self._wake, self._signals = threading.Event(), 0

    @property
    def is_asked(self) -> bool:
        return self._signals > 0

    def is_urgent(self) -> bool:
        return self._signals > 1

    def wait(self, timeout_s: float) -> None:
        """Return after `timeout_s`, or when an end is asked for."""
        self._wake.wait(timeout_s)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take the signals over for the block."""
        before = {number: signal.signal(number, self._take) for number in (signal.SIGTERM, signal.SIGINT)}
        # A terminal that goes away must not take the trader along.
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _take(self, *_: object) -> None:
        self._signals += 1
        self._wake.set()


class Terminal:
    """Lines for the terminal, written by a thread: one that takes none (Ctrl-S, a full pipe) loses lines."""

    def __init__(self, write: Say) -> None:
        self._write = write
        self._lines: queue.Queue[str | None] = queue.Queue(_TERMINAL_LINES)
        self._writer = threading.Thread(target=self._work, name="terminal", daemon=True)
        self._writer.start()

    def say(self, line: str) -> None:
        """Queue a line."""
        with suppress(queue.Full):
            self._lines.put_nowait(line)

    def close(self, timeout_s: float) -> None:
        """Write what is queued, `timeout_s` at most."""
        with suppress(queue.Full):
            self._lines.put(None, timeout=timeout_s)
        self._writer.join(timeout_s)

    def _work(self) -> None:
        while (line := self._lines.get()) is not None:
            with suppress(OSError, ValueError):  # closed, or gone
                self._write(line)


@contextmanager
def only_one(folder: Path, parts: Sequence[str]) -> Iterator[None]:
    """Hold the warehouse's locks of supervisors, one for each of `parts` that it keeps running.

    Raises TraderBusy, naming the other one, when a part is kept running already.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        for part in parts:
            held.enter_context(_locked(folder / f"up-{part}.lock", part))
        yield


@contextmanager
def _locked(file: Path, part: str) -> Iterator[None]:
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise TraderError(f"{file} cannot be opened: {error.strerror}; check the folder's owner") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
            raise TraderBusy(f"`cappuccino up`, process {holder}, runs {part} here already; stop it first") from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
        yield
    finally:
        os.close(descriptor)


def policy_of(settings: UpSettings) -> Policy:
    """Return the restart policy of the settings."""
    return Policy(
        settings.first_pause_s, settings.longest_pause_s, settings.health_s, settings.restarts, settings.window_s
    )


def supervise(supervisor: Supervisor, stopping: Stopping) -> None:
    """Run until a signal asks for the end; whatever happens, no child outlives this call."""
    try:
        with stopping.listening():
            supervisor.start()
            while not stopping.is_asked:
                supervisor.look()
                stopping.wait(TICK_S)
            supervisor.stop(stopping.is_urgent)
    finally:
        supervisor.stop(lambda: True)


def _hearer(name: str, log: RotatingFile, echo: Say) -> Callable[[bytes], None]:
    def hear(line: bytes) -> None:
        log.write(line)
        echo(f"{name} | {line.decode(errors='replace').rstrip()}")

    return hear


def _excess(child: Child, size: Size | None) -> str:
    if size is not None and child.memory_mb and size.memory_mb > child.memory_mb:
        return f"it takes {size.memory_mb:,.0f} MB of memory, {child.memory_mb:,.0f} MB are allowed"
    if size is not None and child.open_files and size.open_files > child.open_files:
        return f"it has {size.open_files} open files, {child.open_files} are allowed"
    return ""
