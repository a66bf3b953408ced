"""How tests talk with a pool and with the processes of its trials."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cappuccino.search.pools import TrialPool
from cappuccino.search.trial import TrialTask
from cappuccino.search.workers import Ended, FoldScored


def ends(pool: TrialPool, prune: str | None = None) -> tuple[dict[int, Ended], list[FoldScored]]:
    """Let every trial go on, or prune it, until none runs."""
    ended: dict[int, Ended] = {}
    folds = []
    while len(pool):
        for event in pool.events(timeout_s=60):
            if isinstance(event, FoldScored):
                folds.append(event)
                pool.go_on(event.trial, prune)
            else:
                ended[event.trial] = event
    return ended, folds


def end(pool: TrialPool) -> Ended:
    """Let every trial go on until one ends, and return how."""
    while True:
        for event in pool.events(timeout_s=60):
            if isinstance(event, Ended):
                return event
            pool.go_on(event.trial, None)


def first_fold(pool: TrialPool) -> FoldScored:
    """Return the one event that comes next."""
    (fold,) = pool.events(timeout_s=60)
    assert isinstance(fold, FoldScored), fold
    return fold


def told(task: TrialTask) -> dict[str, Any]:
    """Return what a trial that was to `tell` has written."""
    found: dict[str, Any] = json.loads(Path(task.data_fingerprint.partition(" ")[2]).read_text())
    return found


def descendants(pid: int) -> list[int]:
    """Return the processes below `pid`; none where there is no /proc."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(status.parent.name)] = int(status.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile
    found, below = [], [pid]
    while below:
        below = [child for child, parent in parents.items() if parent in below]
        found += below
    return found


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def until(condition: Callable[[], bool], timeout_s: float = 20.0) -> bool:
    """Wait for `condition`, and return whether it came."""
    deadline_s = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < deadline_s:
        time.sleep(0.02)
    return condition()
