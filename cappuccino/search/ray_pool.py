"""The running trials of a study on the nodes of a Ray cluster, in the place of `workers.Pool`.

The nodes share no folder with this machine: bars and features go to each of them once, checkpoints come back while a
trial runs, its model when it is complete. A node that dies ends its trials as `killed`; each goes on elsewhere from the
last checkpoint that came.

A slot is a process on some node that forks trials. Trials wait here until a slot is free, so that none is tied to a
process that no node has room for.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import socket
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError

from cappuccino.errors import ArtifactError, ConfigError, TrainingError
from cappuccino.registry import artifacts
from cappuccino.registry.artifacts import Artifact
from cappuccino.registry.version import code_version
from cappuccino.search.node_folder import read_files
from cappuccino.search.outcome import RunTrial, end_with
from cappuccino.search.ray_slot import Heard, Node, Packed, Slot
from cappuccino.search.trial import TrialTask, run_trial
from cappuccino.search.workers import Ended, FoldScored

PATIENCE_S = 600.0
"""How long trials wait when no node has room for any of them."""
_LOOK_S = 5.0
_CLOSE_S = 10.0
_KNOCK_S = 10.0


@dataclass(frozen=True)
class _Work:
    trial: int
    task: TrialTask
    started_s: float = field(default_factory=time.monotonic)


@dataclass
class _Place:
    """A slot, seen from here."""

    slot: Any
    asked: Any
    """The answer that it owes; None when it waits for us."""
    is_ready: bool = False
    work: _Work | None = None


class RayPool:
    """The running trials of this process, each on a CPU of its own somewhere in a cluster.

    Each may allocate `memory_mb`; 0 = as much as there is, None = an equal share of its node.
    """

    def __init__(
        self,
        address: str,
        run: RunTrial = run_trial,
        memory_mb: int | None = 0,
        *,
        checkpoint_pause_s: float = 2.0,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._address, self._patience_s = address, patience_s
        self._slot_arguments = (run, memory_mb, checkpoint_pause_s)
        self._waiting: deque[_Work] = deque()
        self._places: list[_Place] = []
        self._packed: dict[Path, Packed] = {}
        self._moved_s = time.monotonic()
        """When trials last ran or none waited."""
        self._owns_connection = False

    def __enter__(self) -> RayPool:
        self._owns_connection = _connect(self._address)
        return self

    def __exit__(self, *_: object) -> None:
        idle = [place.slot.close.remote() for place in self._places if place.is_ready and place.work is None]
        if idle:
            ray.wait(idle, num_returns=len(idle), timeout=_CLOSE_S)
        for place in list(self._places):
            self._drop(place)
        self._waiting.clear()
        self._packed.clear()
        if self._owns_connection:
            ray.shutdown()

    def __len__(self) -> int:
        return len(self._waiting) + sum(place.work is not None for place in self._places)

    def start(self, trial: int, task: TrialTask) -> None:
        """Run `task` in a process of its own, as soon as a node has room for it."""
        self._waiting.append(_Work(trial, task))
        self._assign()

    def go_on(self, trial: int, prune_reason: str | None) -> None:
        """Answer a FoldScored: None lets the trial go on, a reason ends it."""
        for place in self._places:
            if place.work is not None and place.work.trial == trial and place.asked is None:
                place.asked = place.slot.go_on.remote(trial, prune_reason)

    def events(self, timeout_s: float | None = None) -> Iterator[FoldScored | Ended]:
        """Wait for something to happen, at most `timeout_s`, and yield what did.

        Raises TrainingError when no node runs anything for `patience_s`, or one has other code than this machine.
        """
        until_s = math.inf if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left_s = max(0.0, until_s - time.monotonic())
            happened = [event for place in self._answered(min(left_s, _LOOK_S)) for event in self._hear(place)]
            self._assign()
            self._require_movement()
            if happened or left_s <= _LOOK_S:
                yield from happened
                return

    def _assign(self) -> None:
        """Give waiting trials to free slots, and ask the cluster for as many more as still wait."""
        free = (place for place in list(self._places) if place.is_ready and place.work is None)
        while self._waiting and (place := next(free, None)) is not None:
            self._give(place, self._waiting.popleft())
        n_coming = sum(not place.is_ready for place in self._places)
        for _ in range(len(self._waiting) - n_coming):
            slot = _remote_slot().remote(*self._slot_arguments)
            self._places.append(_Place(slot, slot.node.remote()))

    def _give(self, place: _Place, work: _Work) -> None:
        checkpoints = {file.name: file.read_bytes() for file in work.task.checkpoints.glob("[!.]*")}
        place.work = work
        place.asked = place.slot.start.remote(work.trial, work.task, self._arrays(work.task.arrays), checkpoints)

    def _arrays(self, folder: Path) -> Packed:
        if folder not in self._packed:
            files = read_files(folder)
            digest = hashlib.blake2b(digest_size=16)
            for name, content in files.items():
                digest.update(f"{name}:{content.size}:".encode())
                digest.update(content.data)
            self._packed[folder] = Packed(digest.hexdigest(), (ray.put(files),))
        return self._packed[folder]

    def _answered(self, timeout_s: float) -> list[_Place]:
        """Return the slots that have answered, by trial, after at most `timeout_s`."""
        asked = {place.asked: place for place in self._places if place.asked is not None}
        if not asked:
            time.sleep(timeout_s)
            return []
        ray.wait(list(asked), num_returns=1, timeout=timeout_s)
        ready, _ = ray.wait(list(asked), num_returns=len(asked), timeout=0)
        return sorted((asked[answer] for answer in ready), key=lambda place: place.work.trial if place.work else -1)

    def _hear(self, place: _Place) -> list[FoldScored | Ended]:
        answer, place.asked = place.asked, None
        try:
            said = ray.get(answer)
        except RayError as error:
            return self._lost(place, error)
        if isinstance(said, Node):
            _require_same_code(said)
            place.is_ready = True
            return []
        return self._take(place, said)

    def _take(self, place: _Place, said: Heard) -> list[FoldScored | Ended]:
        """Store what a trial sent, and return what happened to it."""
        assert place.work is not None
        work = place.work
        try:
            _store_checkpoints(work.task.checkpoints, said.checkpoints)
        except OSError as error:
            self._drop(place)
            return [_ended_by(error, work)]
        if any(isinstance(event, Ended) for event in said.events):
            place.work = None
        elif not said.events:
            place.asked = place.slot.listen.remote()
        return [_kept(event, work, said.model) if isinstance(event, Ended) else event for event in said.events]

    def _lost(self, place: _Place, error: RayError) -> list[FoldScored | Ended]:
        """Let go of a slot that answers no more, and of its trial."""
        self._drop(place)
        if isinstance(error, RayActorError) and error.actor_init_failed:
            raise TrainingError(f"a node of the cluster cannot run trials: {error}; mend it, then start again")
        if place.work is None:
            return []
        reason = f"its node or process is gone: {' '.join(str(error).split())[:500]}"
        duration_s = time.monotonic() - place.work.started_s
        return [Ended(place.work.trial, "killed", None, reason, duration_s)]

    def _drop(self, place: _Place) -> None:
        self._places.remove(place)
        with suppress(RayError):  # it may be gone already
            ray.kill(place.slot)

    def _require_movement(self) -> None:
        now_s = time.monotonic()
        if not self._waiting or any(place.work is not None for place in self._places):
            self._moved_s = now_s
        elif now_s - self._moved_s > self._patience_s:
            raise TrainingError(
                f"no node of the cluster has had a free CPU for {self._patience_s:.0f} s; look at `ray status`, add a "
                "node or end what takes them, then start again: the study goes on where it was"
            )


def _connect(address: str) -> bool:
    """Connect this process to the cluster; False when it is connected. Raises ConfigError when there is none."""
    if ray.is_initialized():
        return False
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        _knock(address)
        ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level=logging.WARNING)
    except (OSError, RuntimeError, ValueError, RayError) as error:
        raise ConfigError(
            f"training.ray_address = {address!r}: no Ray cluster that this machine belongs to ({error}); start one "
            "with `ray start --head --include-dashboard=false`, or see docs/operate.md"
        ) from None
    return True


def _knock(address: str) -> None:
    """Raise OSError when nobody listens at HOST:PORT, after which Ray would go on asking for minutes."""
    host, colon, port = address.rpartition(":")
    if colon:
        socket.create_connection((host, int(port)), timeout=_KNOCK_S).close()


def _remote_slot() -> Any:
    # A trial that is tried again is the study's decision, not Ray's.
    return ray.remote(num_cpus=1, max_restarts=0, max_task_retries=0, scheduling_strategy="SPREAD")(Slot)


def _require_same_code(node: Node) -> None:
    if node.code_version != code_version():
        raise TrainingError(
            f"node {node.host} has Cappuccino {node.code_version}, this machine {code_version()}; install the same "
            "on both, start Ray there again, then start again: the study goes on where it was"
        )


def _store_checkpoints(folder: Path, checkpoints: Mapping[str, bytes]) -> None:
    """Replace files of `folder`, each whole or not at all."""
    if checkpoints:
        folder.mkdir(parents=True, exist_ok=True)
    for name, content in checkpoints.items():
        partial = folder / f".{name}.saving"
        partial.write_bytes(content)
        partial.replace(folder / name)


def _kept(ended: Ended, work: _Work, model: Artifact | None) -> Ended:
    """Store the model of a complete trial here; returns how the trial ended when that is done."""
    if model is None or ended.result is None:
        return ended
    folder = artifacts.folder_of(work.task.artifacts, work.task.model)
    try:
        if model.manifest.weight_sha256 != ended.result.weight_sha256:
            raise ArtifactError(f"model {work.task.model} came with other weights than its trial has reported")
        saved = artifacts.save(folder, model.manifest, model.state_dict, replace_unused=True)
        if saved.weight_sha256 != ended.result.weight_sha256:
            raise ArtifactError(f"model {work.task.model} has changed on its way from its node")
    except (ArtifactError, OSError) as error:
        end = end_with(error)
        return replace(ended, outcome=end.outcome, result=None, reason=end.reason)
    return ended


def _ended_by(error: OSError, work: _Work) -> Ended:
    end = end_with(error)
    return Ended(work.trial, end.outcome, None, end.reason, time.monotonic() - work.started_s)
