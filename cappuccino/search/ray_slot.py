"""A place for one trial at a time on a node of a Ray cluster; this part runs on the node.

It answers each call with what happened next, so that its owner always waits for one answer:

    start(trial, task) -> Heard      go_on(trial, reason) -> Heard      listen() -> Heard

The trial is a process of its own, forked as on the coordinator's machine; it works in folders of its node.
"""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray

from cappuccino.registry import artifacts
from cappuccino.registry.artifacts import Artifact
from cappuccino.registry.version import code_version
from cappuccino.search.node_folder import Files, NodeFolder, default_root
from cappuccino.search.outcome import RunTrial, end_with
from cappuccino.search.trial import TrialTask
from cappuccino.search.usage import share_of_memory_mb
from cappuccino.search.workers import Ended, FoldScored, Pool, warm_up


@dataclass(frozen=True)
class Node:
    """Where a slot found itself."""

    host: str
    code_version: str


@dataclass(frozen=True)
class Packed:
    """A folder of arrays in the object store, from where each node takes it once."""

    key: str
    """Hash of the content."""
    held: tuple[Any, ...]
    """The reference to its `Files`, in a tuple, so that Ray does not fetch it for a node that has them."""


@dataclass(frozen=True)
class Heard:
    """What happened to a trial since the last answer; no event means that there is only a checkpoint."""

    events: tuple[FoldScored | Ended, ...]
    checkpoints: Mapping[str, bytes]
    """Content of those that are new."""
    model: Artifact | None = None
    """Of a complete trial that keeps one."""


class Slot:
    """A process that Ray starts on some node and that forks one trial after the other.

    Each may allocate `memory_mb`; 0 = as much as there is, None = an equal share of its node.
    """

    def __init__(self, run: RunTrial, memory_mb: int | None, checkpoint_pause_s: float) -> None:
        _forget_main_program()
        warm_up()
        context = ray.get_runtime_context()
        self._folder = NodeFolder(default_root(), context.get_node_id())
        self._pool = Pool(run, _share_mb(context.get_node_id()) if memory_mb is None else memory_mb)
        self._checkpoint_pause_s = checkpoint_pause_s
        self._task: TrialTask | None = None
        """The present trial's, with folders of this node."""
        self._sent: dict[Path, int] = {}
        """When its checkpoints that the owner has were written, in ns."""

    def node(self) -> Node:
        """Return where this is; the first answer of a slot."""
        return Node(platform.node(), code_version())

    def start(self, trial: int, task: TrialTask, arrays: Packed, checkpoints: Mapping[str, bytes]) -> Heard:
        """Fork `trial`, from its checkpoints if there are any, and listen."""
        try:
            self._task = self._at_home(task, arrays, checkpoints)
        except (OSError, MemoryError) as error:
            end = end_with(error)
            return Heard((Ended(trial, end.outcome, None, end.reason, 0.0),), {})
        self._pool.start(trial, self._task)
        return self.listen()

    def go_on(self, trial: int, prune_reason: str | None) -> Heard:
        """Answer the trial's last fold, and listen."""
        self._pool.go_on(trial, prune_reason)
        return self.listen()

    def listen(self) -> Heard:
        """Wait for an event or a checkpoint."""
        assert self._task is not None
        while True:
            events = tuple(self._pool.events(self._checkpoint_pause_s))
            checkpoints = self._new_checkpoints(self._task.checkpoints)
            if any(isinstance(event, Ended) for event in events):
                model = _model(self._task, events)
                shutil.rmtree(_home(self._task))
                return Heard(events, checkpoints, model)
            if events or checkpoints:
                return Heard(events, checkpoints)

    def close(self) -> None:
        """Leave nothing on the node."""
        self._folder.leave()

    def _at_home(self, task: TrialTask, arrays: Packed, checkpoints: Mapping[str, bytes]) -> TrialTask:
        """Return `task` with folders of this node instead of the coordinator's, its checkpoints in place."""
        home = self._folder.own / str(task.model)
        shutil.rmtree(home, ignore_errors=True)
        local = replace(
            task,
            arrays=self._folder.arrays(arrays.key, lambda: _fetched(arrays)),
            checkpoints=home / "checkpoints",
            artifacts=home / "artifacts",
        )
        local.checkpoints.mkdir(parents=True)
        for name, content in checkpoints.items():
            (local.checkpoints / name).write_bytes(content)
        self._sent = {file: file.stat().st_mtime_ns for file in local.checkpoints.iterdir()}
        return local

    def _new_checkpoints(self, folder: Path) -> dict[str, bytes]:
        found = {}
        with suppress(FileNotFoundError):  # a complete trial removes them while we look
            for file in folder.glob("[!.]*"):
                written_ns = file.stat().st_mtime_ns
                if self._sent.get(file) != written_ns:
                    found[file.name] = file.read_bytes()
                    self._sent[file] = written_ns
        return found


def _home(local: TrialTask) -> Path:
    return local.checkpoints.parent


def _model(local: TrialTask, events: Sequence[FoldScored | Ended]) -> Artifact | None:
    """Return the model that a complete trial has stored; raises ArtifactError when it is damaged."""
    results = [event.result for event in events if isinstance(event, Ended)]
    if not any(result is not None and result.weight_sha256 is not None for result in results):
        return None
    return artifacts.load(artifacts.folder_of(local.artifacts, local.model), local.model)


def _fetched(arrays: Packed) -> Files:
    (reference,) = arrays.held
    files: Files = ray.get(reference)
    return files


def _share_mb(node: str) -> int:
    """Return a trial's share of its node's memory, as many of them as Ray may start there."""
    rows = ray.nodes()  # type: ignore[no-untyped-call]
    (found,) = (row for row in rows if row["NodeID"] == node)
    return share_of_memory_mb(int(found["Resources"].get("CPU", 1)))


def _forget_main_program() -> None:
    """Keep forked trials from running this process's main program again: it would load Ray into each of them."""
    main = sys.modules["__main__"]
    main.__spec__ = None
    main.__file__ = None
