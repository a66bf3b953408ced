"""Whether a child of the supervisor does its work, not just whether its process exists.

A probe says HEALTHY, UNKNOWN or, in words, why the child hangs. It never waits: what may take time is asked from a
thread of its own, and no answer is an answer.
"""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

HEARTBEAT = "heartbeat.json"
"""In the trader's folder: {"pid", "beat_at", "phase", "poll"}, written anew with each beat."""
_ANSWER_BYTES = 1_000_000
_DAEMONS = "{instance{daemonHealth{allDaemonStatuses{daemonType required lastHeartbeatTime}}}}"


@dataclass(frozen=True)
class Health:
    """What a probe found."""

    is_healthy: bool
    hang: str = ""
    """Why the child counts as hanging; empty when it does not."""


UNKNOWN, HEALTHY = Health(False), Health(True)


class Probe(Protocol):
    """Looks at one child."""

    def begin(self, pid: int) -> None:
        """Forget what was seen: a new process runs."""
        ...

    def look(self) -> Health: ...


class AliveProbe:
    """For a child of which nothing is known but that its process runs."""

    def begin(self, pid: int) -> None:
        """Nothing to forget."""

    def look(self) -> Health:
        return HEALTHY


class HeartbeatProbe:
    """For the trader: its heartbeat file changes, and names its process.

    Whether it changes is what counts, and not the time written in it: clocks jump.
    """

    def __init__(self, file: Path, hang_s: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._file, self._hang_s, self._monotonic = file, hang_s, monotonic
        self.begin(0)

    def begin(self, pid: int) -> None:
        self._pid, self._changed_s = pid, self._monotonic()
        self._seen: Any = None

    def look(self) -> Health:
        beat = self._beat()
        now_s = self._monotonic()
        if beat is not None and beat != self._seen:
            self._seen, self._changed_s = beat, now_s
        silent_s = now_s - self._changed_s
        if silent_s > self._hang_s:
            return Health(False, f"no heartbeat for {silent_s:.0f} s{self._last_words()}")
        return HEALTHY if self._seen is not None else UNKNOWN

    def _beat(self) -> dict[str, Any] | None:
        try:
            beat = json.loads(self._file.read_text())
        except (OSError, ValueError):
            return None
        return beat if isinstance(beat, dict) and beat.get("pid") == self._pid else None

    def _last_words(self) -> str:
        return f" in phase {self._seen.get('phase')!r}" if self._seen else " since it was started"


class _Round:
    """One question, asked from a thread of its own."""

    def __init__(self, ask: Callable[[], bool]) -> None:
        self.is_over, self.is_well = False, False
        threading.Thread(target=self._run, args=(ask,), name="probe", daemon=True).start()

    def _run(self, ask: Callable[[], bool]) -> None:
        try:
            self.is_well = ask()
        except Exception:
            # Whatever keeps a child from answering soundly, it did not answer soundly.
            self.is_well = False
        finally:
            self.is_over = True


class AnswerProbe:
    """For a server: `ask` returns whether the child does its work, or raises; it may take its time."""

    def __init__(
        self,
        ask: Callable[[], bool],
        hang_s: float,
        every_s: float = 15.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask, self._hang_s, self._every_s, self._monotonic = ask, hang_s, every_s, monotonic
        self.begin(0)

    def begin(self, pid: int) -> None:
        self._next_s = self._well_s = self._monotonic()
        self._is_well = False
        # A round that waits for an answer of the earlier process must not speak for this one.
        self._round: _Round | None = None

    def look(self) -> Health:
        now_s = self._monotonic()
        if self._round is None and now_s >= self._next_s:
            self._round = _Round(self._ask)
        if self._round is not None and self._round.is_over:
            self._is_well, self._round, self._next_s = self._round.is_well, None, now_s + self._every_s
            self._well_s = now_s if self._is_well else self._well_s
        silent_s = now_s - self._well_s
        if silent_s > self._hang_s:
            return Health(False, f"no sound answer for {silent_s:.0f} s")
        return HEALTHY if self._is_well else UNKNOWN


def web_answers(address: str, timeout_s: float = 5.0) -> bool:
    """Return whether the Dagster UI at `address` (http://127.0.0.1:3000) says what it is; raises when it does not."""
    return "dagster_version" in _fetch(f"{address}/server_info", None, timeout_s)


def daemons_beat(address: str, hang_s: float, now_s: float, timeout_s: float = 20.0) -> bool:
    """Return whether every needed daemon has a heartbeat younger than `hang_s` at `now_s` (seconds since 1970).

    The Dagster UI knows. Without it nothing can be told, and that is not the daemon's fault: True.
    """
    try:
        answer = _fetch(f"{address}/graphql", json.dumps({"query": _DAEMONS}).encode(), timeout_s)
        found = answer["data"]["instance"]["daemonHealth"]["allDaemonStatuses"]
        beats_s = [float(daemon["lastHeartbeatTime"] or 0) for daemon in found if daemon["required"]]
    except (OSError, ValueError, KeyError, TypeError):
        return True
    return all(now_s - beat_s < hang_s for beat_s in beats_s)


def _fetch(url: str, body: bytes | None, timeout_s: float) -> dict[str, Any]:
    """Return the JSON object at `url`, without any proxy; raises OSError or ValueError."""
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=timeout_s) as answer:
        found = json.loads(answer.read(_ANSWER_BYTES))
    if not isinstance(found, dict):
        raise ValueError(f"{url} answered {type(found).__name__}, an object was expected")
    return found
