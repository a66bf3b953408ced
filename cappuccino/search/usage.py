"""What a trial's process takes of the machine, and the most memory that it may take."""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass
from pathlib import Path

MEMORY_SHARE = 0.8
"""Share of the machine's memory that is for trials, when no limit is set."""
_ROLLUP = Path("/proc/self/smaps_rollup")
_STATUS = Path("/proc/self/status")
_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


@dataclass(frozen=True)
class Usage:
    """What one process has used until now."""

    peak_memory_mb: float
    """Largest resident memory, with all pages that it shares with other trials."""
    private_memory_mb: float | None
    """Memory that it wrote to and nobody shares: what one more worker costs. None where the kernel does not say."""
    cpu_s: float


class Meter:
    """Measures this process; private memory is the largest of the moments at which somebody looked."""

    def __init__(self) -> None:
        self._private_mb: float | None = None

    def look(self) -> Usage:
        """Return the usage until now."""
        spent = resource.getrusage(resource.RUSAGE_SELF)
        private_mb = _private_memory_mb()
        if private_mb is not None:
            self._private_mb = max(private_mb, self._private_mb or 0.0)
        return Usage(spent.ru_maxrss / 1024, self._private_mb, spent.ru_utime + spent.ru_stime)


def limit_memory(extra_mb: int) -> None:
    """Let this process allocate `extra_mb` beyond what it holds now; 0 = as much as there is.

    What goes beyond ends in a MemoryError here, and not in the kernel's choice of a process to kill. Does nothing
    where the kernel does not say what a process holds.
    """
    held_mb = _kernel_mb(_STATUS, "VmData")
    if extra_mb and held_mb is not None:
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (int((held_mb + extra_mb) * 2**20), hard))


def share_of_memory_mb(n_workers: int) -> int:
    """Return an equal share of the memory that trials may take, of the machine's or of the container's."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if _CGROUP_LIMIT.is_file() and (limit := _CGROUP_LIMIT.read_text().strip()).isdigit():
        total = min(total, int(limit))
    return int(MEMORY_SHARE * total / 2**20) // max(n_workers, 1)


def _private_memory_mb() -> float | None:
    # Not Private_Clean: pages of mapped files that only one process happens to use at the moment.
    return _kernel_mb(_ROLLUP, "Private_Dirty")


def _kernel_mb(file: Path, name: str) -> float | None:
    """Return the field called `name`; None without such a file, as on other systems than Linux."""
    if not file.is_file():
        return None
    fields = dict(line.split(":", 1) for line in file.read_text().splitlines() if ":" in line)
    return float(fields[name].split()[0]) / 1024
