"""Where trials work on a machine that shares no folder with the coordinator's.

    <root>/.turn                 held while somebody comes or goes
    <root>/<node>.lock           held, shared, by each process that works on this node
    <root>/<node>/arrays-<key>/  bars and features of a study, mapped by all of them
    <root>/<node>/tmp.../        what one process works on

The last process that leaves a node removes everything of it. What killed ones left behind, the next one that comes to
this machine removes: the kernel has dropped their locks.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Files = Mapping[str, npt.NDArray[np.uint8]]
"""Content by name; a `/` in the name is a folder."""


def default_root() -> Path:
    """Return the folder of this machine and user."""
    return Path(tempfile.gettempdir()) / f"cappuccino-{os.getuid()}"


def read_files(folder: Path) -> dict[str, npt.NDArray[np.uint8]]:
    """Return all files below `folder`."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): np.fromfile(file, np.uint8) for file in files}


def write_files(folder: Path, files: Files) -> None:
    """Make `folder`, which is not there yet, hold `files`: all of them, or it stays away."""
    partial = folder.with_name(f".{folder.name}.saving")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for name, content in files.items():
        file = partial / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.data)
    partial.rename(folder)


class NodeFolder:
    """One process's place on a node; it holds it until `leave`, or until it dies."""

    def __init__(self, root: Path, node: str) -> None:
        self._root, self._node = root, root / node
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._turn():
            _sweep(root)
            self._lock = _lock_file(self._node).open("w")
            fcntl.flock(self._lock, fcntl.LOCK_SH)
            self._node.mkdir(exist_ok=True)
            self.own = Path(tempfile.mkdtemp(dir=self._node))

    def arrays(self, key: str, fetch: Callable[[], Files]) -> Path:
        """Return the node's folder of the files called `key`; the first process that asks fetches them."""
        folder = self._node / f"arrays-{key}"
        with self._turn():
            if not folder.exists():
                write_files(folder, fetch())
        return folder

    def leave(self) -> None:
        """Remove what is this process's, and everything of the node when nobody else is there."""
        shutil.rmtree(self.own, ignore_errors=True)
        with self._turn():
            self._lock.close()
            _sweep(self._root)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        with (self._root / ".turn").open("w") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            yield


def _sweep(root: Path) -> None:
    """Remove the nodes that no process holds."""
    for file in root.glob("*.lock"):
        with file.open("w") as lock:
            if _is_free(lock):
                shutil.rmtree(file.with_suffix(""), ignore_errors=True)
                file.unlink()


def _lock_file(node: Path) -> Path:
    return node.with_name(f"{node.name}.lock")


def _is_free(lock: Any) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
