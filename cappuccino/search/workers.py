"""One process a trial: it reports fold scores, asks whether to go on, and hands over its result or its reason.

A process is forked from a server that has torch loaded already, so that starting one costs milliseconds. It dies with
the study's process, and whatever happens to it ends as an `Ended` event.
"""

from __future__ import annotations

import multiprocessing as mp
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess

from cappuccino.search.diary import Diary, TrainingLog
from cappuccino.search.outcome import End, Outcome, RunTrial, end_of, reporter
from cappuccino.search.trial import TrialTask, run_trial
from cappuccino.search.trial_result import TrialResult
from cappuccino.search.usage import Meter, Usage, limit_memory

_context = mp.get_context("forkserver")
# The coordinator, because a process imports its parent's main program; _dynamo, because torch's first optimizer does.
_context.set_forkserver_preload(["cappuccino.search.coordinator", "torch._dynamo"])


def warm_up() -> None:
    """Start the server that trials are forked from, and return: it loads torch while the study is being planned."""
    forkserver.ensure_running()


@dataclass(frozen=True)
class FoldScored:
    """A fold of a running trial has a score; answer with `Pool.go_on`."""

    trial: int
    fold: int
    score: float
    diary: tuple[TrainingLog, ...] = ()
    """The trial's trainings so far."""


@dataclass(frozen=True)
class Ended:
    """A trial's process is gone."""

    trial: int
    outcome: Outcome
    result: TrialResult | None
    reason: str
    duration_s: float
    usage: Usage | None = None
    """None when the process could not say."""
    diary: tuple[TrainingLog, ...] = ()
    """All its trainings; empty when the process could not say."""


@dataclass
class _Running:
    process: ForkServerProcess
    pipe: Connection
    started_s: float
    said: tuple[End, Usage, tuple[TrainingLog, ...]] | None = None


class Pool:
    """The running trials of this process. Leave the `with` block, and none of them runs any more.

    Each may allocate `memory_mb`; 0 = as much as there is.
    """

    def __init__(self, run: RunTrial = run_trial, memory_mb: int = 0) -> None:
        self._run, self._memory_mb = run, memory_mb
        self._running: dict[int, _Running] = {}

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        for running in self._running.values():
            running.process.kill()
        for running in self._running.values():
            running.process.join()
        self._running.clear()

    def __len__(self) -> int:
        return len(self._running)

    def start(self, trial: int, task: TrialTask) -> None:
        """Run `task` in a process of its own."""
        ours, theirs = _context.Pipe()
        args = (self._run, task, theirs, self._memory_mb)
        process = _context.Process(target=_work, args=args, name=f"trial-{trial}", daemon=True)
        process.start()
        theirs.close()
        self._running[trial] = _Running(process, ours, time.monotonic())

    def go_on(self, trial: int, prune_reason: str | None) -> None:
        """Answer a FoldScored: None lets the trial go on, a reason ends it."""
        running = self._running.get(trial)
        if running is not None:
            try:
                running.pipe.send(prune_reason)
            except (BrokenPipeError, ConnectionResetError):
                return  # it died meanwhile; `events` says so

    def events(self, timeout_s: float | None = None) -> Iterator[FoldScored | Ended]:
        """Wait for something to happen, at most `timeout_s`, and yield what did."""
        waiting = {r.pipe: trial for trial, r in self._running.items()} | {
            r.process.sentinel: trial for trial, r in self._running.items()
        }
        for trial in sorted({waiting[ready] for ready in wait(list(waiting), timeout_s)}):  # type: ignore[index]
            running = self._running[trial]
            yield from self._read(trial, running)
            if not running.process.is_alive():
                yield from self._read(trial, running)
                del self._running[trial]
                yield _ended(trial, running)

    def _read(self, trial: int, running: _Running) -> Iterator[FoldScored]:
        try:
            while running.pipe.poll():
                message = running.pipe.recv()
                if message[0] == "fold":
                    yield FoldScored(trial, *message[1:])
                else:
                    running.said = message
        except (EOFError, OSError):  # OSError: killed in the middle of a message
            running.process.join()


def _ended(trial: int, running: _Running) -> Ended:
    duration_s = time.monotonic() - running.started_s
    running.process.join()
    running.pipe.close()
    if running.said is not None:
        end, usage, diary = running.said
        return Ended(trial, end.outcome, end.result, end.reason, duration_s, usage, diary)
    code = running.process.exitcode
    if code == -signal.SIGKILL:
        reason = "killed by SIGKILL, as the kernel does when memory ends"
    else:
        reason = f"process ended without a word, exit code {code}"
    return Ended(trial, "killed", None, reason, duration_s)


def _work(run: RunTrial, task: TrialTask, pipe: Connection, memory_mb: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the coordinator's; it ends the trials in order
    threading.Thread(target=_end_with_study, daemon=True).start()
    limit_memory(memory_mb)
    meter = Meter()
    diary: Diary = []
    end = end_of(run, task, reporter(partial(_ask, pipe, meter, diary)), diary)
    pipe.send((end, meter.look(), tuple(diary)))
    pipe.close()


def _ask(pipe: Connection, meter: Meter, diary: Diary, fold: int, score: float) -> str | None:
    meter.look()
    pipe.send(("fold", fold, score, tuple(diary)))
    reason: str | None = pipe.recv()
    return reason


def _end_with_study() -> None:
    """Kill this process once the coordinator is gone, or the fork server, which alone knows how it ends.

    Two processes on one trial would write the same checkpoints when the study goes on.
    """
    server, study = os.getppid(), mp.parent_process()
    assert study is not None
    while not wait([study.sentinel], timeout=1.0) and os.getppid() == server:
        pass
    os.kill(os.getpid(), signal.SIGKILL)
