"""A Ray cluster of machines that are not there, and trials that tell what they find on their node."""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from cappuccino.search.arrays import read_arrays
from cappuccino.search.diary import Diary
from cappuccino.search.trial import TrialTask
from cappuccino.search.trial_result import TrialResult
from tests.unit.search.fakes import behave, trial_result
from tests.unit.search.pool_talk import descendants

PROJECT = Path(__file__).parents[3]
# By Ray's own numbers the death of a node is noticed after half a minute.
QUICK = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 5000,
    "health_check_failure_threshold": 4,
}


class SmallCluster:
    """Nodes of one CPU each, on this machine; nothing of them stays."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        # Not below pytest's folder: the sockets in it would get too long a name.
        self._folder = Path(tempfile.mkdtemp(prefix="ray-"))
        self._cluster = Cluster(shutdown_at_exit=False)
        self.add_node(include_dashboard=False, no_monitor=True, include_log_monitor=False, _system_config=QUICK)
        self.address: str = self._cluster.address

    def __enter__(self) -> SmallCluster:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for node in self._cluster.list_all_nodes()[::-1]:
            self.kill_node(node)
        shutil.rmtree(self._folder, ignore_errors=True)

    def add_node(self, **options: Any) -> Any:
        """Start a node, whose processes find the tests and write into a folder of the cluster."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PYTHONPATH", str(PROJECT))
            patch.setenv("TMPDIR", str(self._folder))
            return self._cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20, **options)

    def kill_node(self, node: Any) -> None:
        """Kill all processes of a node and all below them, as a power cut does."""
        processes = [info.process for infos in node.all_processes.values() for info in infos]
        below = [pid for process in processes for pid in descendants(process.pid)]
        self._cluster.remove_node(node, allow_graceful=False)
        for pid in below:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for process in processes:
            process.wait()  # Ray forgets them without waiting for their end, and Python warns of each


def act(task: TrialTask, report: Callable[[int, float], None], diary: Diary) -> TrialResult:
    """Do in a real process what `data_fingerprint` says: its first word, the rest is its argument."""
    wanted, _, argument = task.data_fingerprint.partition(" ")
    if wanted == "tell":
        return _tell(task, report, Path(argument))
    if wanted == "keep":
        return replace(trial_result(task, (0.0, 0.0)), weight_sha256=_save_model(task))
    if wanted == "exaggerate":
        _save_model(task)
        return trial_result(task, (0.0, 0.0))
    return behave(task, report, diary)


def _save_model(task: TrialTask) -> str:
    # Every process of a trial loads this file, and few of them need what these cost.
    from tests.unit.small_lab import save_model
    from tests.unit.small_market import END

    return save_model(task.artifacts, task.model, END).weight_sha256


def _tell(task: TrialTask, report: Callable[[int, float], None], file: Path) -> TrialResult:
    """Write where and as whom this trial runs into `file`; its score is how often it was started."""
    checkpoint = task.checkpoints / "fold-0.pt"
    n_starts = 1 + (int(checkpoint.read_text()) if checkpoint.is_file() else 0)
    task.checkpoints.mkdir(parents=True, exist_ok=True)
    checkpoint.write_text(str(n_starts))
    n_bars = len(read_arrays(task.arrays).panel)
    file.write_text(json.dumps({"pid": os.getpid(), "arrays": str(task.arrays), "n_bars": n_bars}))
    report(0, float(n_starts))
    return trial_result(task, (float(n_starts), 0.0))
