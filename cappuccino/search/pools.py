"""Where the trials of a study run: on this machine, or on the nodes of a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Protocol

from cappuccino.errors import ConfigError
from cappuccino.search.suggest import LAG
from cappuccino.search.trial import TrialTask
from cappuccino.search.usage import share_of_memory_mb
from cappuccino.search.workers import Ended, FoldScored, Pool
from cappuccino.settings import TrainingSettings


class TrialPool(Protocol):
    """The running trials of one study. Leave its `with` block, and none of them runs any more."""

    def __len__(self) -> int: ...

    def start(self, trial: int, task: TrialTask) -> None:
        """Run `task` in a process of its own."""

    def go_on(self, trial: int, prune_reason: str | None) -> None:
        """Answer a FoldScored: None lets the trial go on, a reason ends it."""

    def events(self, timeout_s: float | None = None) -> Iterator[FoldScored | Ended]:
        """Wait for something to happen, at most `timeout_s`, and yield what did."""


def pool_of(training: TrainingSettings) -> AbstractContextManager[TrialPool]:
    """Return the pool that the settings ask for; raises ConfigError when it needs Ray, which is not installed."""
    if training.executor == "local":
        return Pool(memory_mb=_memory_mb(training))
    try:
        from cappuccino.search.ray_pool import RayPool
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise ConfigError(
            "training.executor = 'ray' needs Ray: pip install 'cappuccino[ray]', on each machine of the cluster"
        ) from None
    return RayPool(training.ray_address, memory_mb=training.worker_memory_mb)


def _memory_mb(training: TrainingSettings) -> int:
    if training.worker_memory_mb is not None:
        return training.worker_memory_mb
    return share_of_memory_mb(min(training.workers, LAG))
