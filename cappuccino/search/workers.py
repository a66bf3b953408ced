"""One process a trial: it reports fold scores, asks whether to go on, and hands over its result or its reason.

A process is forked from a server that has torch loaded already, so that starting one costs milliseconds. It dies with
the study's process, and whatever happens to it ends as an `Ended` event.
"""

from __future__ import annotations

import multiprocessing as mp
import os
import re
import resource
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Literal

from cappuccino.errors import CappuccinoError
from cappuccino.search.trial import TrialResult, TrialTask, run_trial

Outcome = Literal["complete", "pruned", "out_of_memory", "failed", "killed", "interrupted"]
RunTrial = Callable[[TrialTask, Callable[[int, float], None]], TrialResult]

_context = mp.get_context("forkserver")
# The coordinator, because a process imports its parent's main program; _dynamo, because torch's first optimizer does.
_context.set_forkserver_preload(["cappuccino.search.coordinator", "torch._dynamo"])


@dataclass(frozen=True)
class FoldScored:
    """A fold of a running trial has a score; answer with `Pool.go_on`."""

    trial: int
    fold: int
    score: float


@dataclass(frozen=True)
class Ended:
    """A trial's process is gone."""

    trial: int
    outcome: Outcome
    result: TrialResult | None
    reason: str
    duration_s: float
    peak_memory_mb: float | None


@dataclass
class _Running:
    process: ForkServerProcess
    pipe: Connection
    started_s: float
    said: tuple[Outcome, TrialResult | None, str, float] | None = None


class Pool:
    """The running trials of this process. Leave the `with` block, and none of them runs any more."""

    def __init__(self, run: RunTrial = run_trial) -> None:
        self._run = run
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
        process = _context.Process(target=_work, args=(self._run, task, theirs), name=f"trial-{trial}", daemon=True)
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
                    yield FoldScored(trial, message[1], message[2])
                else:
                    running.said = message
        except (EOFError, OSError):  # OSError: killed in the middle of a message
            running.process.join()


def _ended(trial: int, running: _Running) -> Ended:
    duration_s = time.monotonic() - running.started_s
    running.process.join()
    running.pipe.close()
    if running.said is not None:
        outcome, result, reason, peak_mb = running.said
        return Ended(trial, outcome, result, reason, duration_s, peak_mb)
    code = running.process.exitcode
    if code == -signal.SIGKILL:
        reason = "killed by SIGKILL, as the kernel does when memory ends"
    else:
        reason = f"process ended without a word, exit code {code}"
    return Ended(trial, "killed", None, reason, duration_s, None)


def _work(run: RunTrial, task: TrialTask, pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the coordinator's; it ends the trials in order
    threading.Thread(target=_end_with_study, daemon=True).start()
    outcome, result, reason = _outcome(run, task, pipe)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    pipe.send((outcome, result, reason, peak_mb))
    pipe.close()


class _Pruned(Exception):  # noqa: N818 - not an error
    """The coordinator sees no hope for this trial."""


def _outcome(run: RunTrial, task: TrialTask, pipe: Connection) -> tuple[Outcome, TrialResult | None, str]:
    """Run the trial and say how it ended."""
    try:
        return "complete", run(task, _reporter(pipe)), ""
    except _Pruned as pruned:
        return "pruned", None, str(pruned)
    except MemoryError as error:
        return "out_of_memory", None, f"memory: {error}"
    except CappuccinoError as error:
        return "failed", None, str(error)
    except Exception as error:
        # torch has no class of its own for an allocation that failed on the CPU.
        if isinstance(error, RuntimeError) and re.search("memory|alloc", str(error), re.IGNORECASE):
            return "out_of_memory", None, str(error)[:500]
        # A mistake of ours would come again at every retry: its words go to the attempt, all of it to the log.
        traceback.print_exc()
        place = traceback.extract_tb(error.__traceback__)[-1]
        return "failed", None, f"{type(error).__name__}: {error} ({Path(place.filename).name}:{place.lineno})"


def _reporter(pipe: Connection) -> Callable[[int, float], None]:
    def report(fold: int, score: float) -> None:
        pipe.send(("fold", fold, score))
        reason = pipe.recv()
        if reason is not None:
            raise _Pruned(reason)

    return report


def _end_with_study() -> None:
    """Kill this process once the coordinator is gone, or the fork server, which alone knows how it ends.

    Two processes on one trial would write the same checkpoints when the study goes on.
    """
    server, study = os.getppid(), mp.parent_process()
    assert study is not None
    while not wait([study.sentinel], timeout=1.0) and os.getppid() == server:
        pass
    os.kill(os.getpid(), signal.SIGKILL)
