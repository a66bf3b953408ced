"""Programs in processes and environments of their own: one at a time, on so many cores, with a time limit."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PEERS = HERE / "peers"
ENVIRONMENTS = HERE / ".peers"
RESULTS = HERE / "results"


class ChildError(Exception):
    """A program ended without a result; the message has its last words. Look at the peer's environment."""


def python_of(peer: str) -> Path:
    """Return the interpreter of a peer; raises FileNotFoundError saying how to make it."""
    python = ENVIRONMENTS / peer / "bin" / "python"
    if not python.is_file():
        raise FileNotFoundError(f"{python} is not there; make it with `make peers`")
    return python


def run(python: Path | str, program: Path, task: Path, n_threads: int, timeout_s: float) -> dict[str, Any]:
    """Run `program` on the task file and return the JSON that it wrote where the task's `result` says.

    Raises ChildError when it fails or takes longer than `timeout_s`; then nothing of it is left.
    """
    result = Path(json.loads(task.read_text())["result"])
    result.unlink(missing_ok=True)
    threads = {name: str(n_threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    cores = sorted(os.sched_getaffinity(0))[:n_threads]
    done = _ended(
        [str(python), str(program), str(task)],
        {**os.environ, **threads, "PYTHONPATH": f"{PEERS}{os.pathsep}{HERE}"},
        cores,
        timeout_s,
    )
    if not result.is_file():
        raise ChildError(f"{program.parent.name}/{program.name} on {task.name}: {done[-800:]}")
    content: dict[str, Any] = json.loads(result.read_text())
    return content


def _ended(command: list[str], environment: dict[str, str], cores: list[int], timeout_s: float) -> str:
    """Return what a command said on stderr, or that it was ended."""

    def pin() -> None:
        os.sched_setaffinity(0, cores)  # XLA asks for no number of threads, only for cores

    try:
        done = subprocess.run(
            command, env=environment, preexec_fn=pin, timeout=timeout_s, capture_output=True, text=True, check=False
        )
    except subprocess.TimeoutExpired:
        return f"took more than {timeout_s:.0f} s"
    return done.stderr
