"""Work in a process of its own, so that its time and its peak of memory are its own as well."""

from __future__ import annotations

import multiprocessing as mp
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any

PROC = Path("/proc")
LOOK_EVERY_S = 0.2


@dataclass(frozen=True)
class Spent:
    """What a piece of work cost."""

    result: Any
    seconds: float
    peak_mb: float | None
    """Most memory of the process and all that it started, shared pages once; None where there is no /proc."""


def apart(work: Callable[..., Any], *args: Any) -> Spent:
    """Run `work(*args)` in a new process; an exception there is raised here."""
    context = mp.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        process = pool.submit(_own_id).result()
        watch = _Watch(process)
        seconds, own_peak_mb, result = pool.submit(_timed, work, args).result()
        return Spent(result, seconds, watch.stop(own_peak_mb))


def _own_id() -> int:
    return mp.current_process().pid or 0


def _timed(work: Callable[..., Any], args: tuple[Any, ...]) -> tuple[float, float | None, Any]:
    started_s = time.perf_counter()
    result = work(*args)
    return time.perf_counter() - started_s, _figure_mb("self/status", "VmHWM:"), result


class _Watch(Thread):
    """Adds up the memory of a process and its descendants again and again; the kernel remembers no peak of a sum."""

    def __init__(self, process: int) -> None:
        super().__init__(daemon=True)
        self.process, self.peak_mb, self._ended = process, 0.0, Event()
        self.start()

    def run(self) -> None:
        while not self._ended.wait(LOOK_EVERY_S):
            self.peak_mb = max(self.peak_mb, sum(map(_proportional_mb, _family(self.process))))

    def stop(self, own_peak_mb: float | None) -> float | None:
        self._ended.set()
        self.join()
        return None if own_peak_mb is None else max(self.peak_mb, own_peak_mb)


def _family(process: int) -> list[int]:
    """Return the process and its living descendants."""
    children: dict[int, list[int]] = {}
    for folder in PROC.glob("[0-9]*"):
        with suppress(OSError, IndexError, ValueError):  # it ended meanwhile
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(folder.name))
    family = [process]
    for member in family:
        family += children.get(member, [])
    return family


def _proportional_mb(process: int) -> float:
    """Return the memory of one process, its part of shared pages; 0 when it is gone."""
    return _figure_mb(f"{process}/smaps_rollup", "Pss:") or 0.0


def _figure_mb(file: str, name: str) -> float | None:
    with suppress(OSError):
        for line in (PROC / file).read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) / 1024
    return None
