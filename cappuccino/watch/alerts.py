"""What a person should know: each alert is said once, stored, and handed to the channels.

A key names a state of things (`up.trader.restarts`), not an event. It is said when the state begins, again after
`repeat_hours` or when it gets worse, and once more when it ends.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path

from cappuccino.clock import Clock, require_utc

FILE = "alerts.jsonl"
_HOUR = timedelta(hours=1)


class Severity(StrEnum):
    """How urgent it is, in rising order."""

    INFO = "info"
    WARNING = "warning"
    """Somebody should look today."""
    CRITICAL = "critical"
    """Somebody should look now: without a person it does not get better."""

    @property
    def rank(self) -> int:
        return list(Severity).index(self)


@dataclass(frozen=True)
class Alert:
    """Something that was said."""

    key: str
    severity: Severity
    message: str
    at: datetime
    is_resolved: bool = False
    """The state of `key` has ended; the message says how."""


@dataclass(frozen=True)
class _Open:
    """A state that goes on."""

    said: Alert
    is_sent: bool


class Alerts:
    """All alerts of one process: deduplicated, rate-limited, stored by `store`, sent by `send`.

    `past` are the alerts that an earlier process of the same kind stored, oldest first: what it has said is not said
    again. Neither `store` nor `send` may take long.
    """

    def __init__(
        self,
        clock: Clock,
        store: Callable[[Alert], None],
        send: Callable[[Alert], None],
        *,
        min_severity: Severity = Severity.WARNING,
        repeat_hours: float = 6.0,
        per_hour: int = 20,
        past: Iterable[Alert] = (),
    ) -> None:
        self._clock, self._store, self._send = clock, store, send
        self._min_severity, self._repeat = min_severity, timedelta(hours=repeat_hours)
        # Urgent ones have a budget of their own: a flood of warnings must not swallow them.
        self._sent = {severity: deque[datetime](maxlen=per_hour) for severity in Severity}
        self._held_back = 0
        self._open: dict[str, _Open] = {}
        for alert in past:
            self._remember(alert, self._is_sendable(alert))

    @property
    def open(self) -> tuple[Alert, ...]:
        """What was said and has not ended, the most urgent first."""
        return tuple(sorted((o.said for o in self._open.values()), key=lambda a: (-a.severity.rank, a.at)))

    def raise_(self, key: str, severity: Severity, message: str) -> bool:
        """Say that the state of `key` goes on; returns False when it has been said already."""
        alert = Alert(key, severity, message, self._clock.now())
        known = self._open.get(key)
        if known is not None and not self._is_news(alert, known.said):
            return False
        self._say(alert)
        return True

    def resolve(self, key: str, message: str = "it is over") -> bool:
        """Say that the state of `key` has ended; returns False when it never was said to have begun."""
        known = self._open.get(key)
        if known is None:
            return False
        end = replace(known.said, message=message, at=self._clock.now(), is_resolved=True)
        self._say(end, was_sent=known.is_sent)
        return True

    def _is_news(self, alert: Alert, said: Alert) -> bool:
        return alert.severity.rank > said.severity.rank or alert.at - said.at >= self._repeat

    def _is_sendable(self, alert: Alert) -> bool:
        return alert.severity.rank >= self._min_severity.rank

    def _say(self, alert: Alert, was_sent: bool = True) -> None:
        is_sent = was_sent and self._is_sendable(alert) and (alert.is_resolved or self._has_budget(alert))
        held_back = self._held_back
        self._remember(alert, is_sent)
        try:
            self._store(alert)
        finally:
            if is_sent:
                self._send(_with_note(alert, held_back))

    def _has_budget(self, alert: Alert) -> bool:
        sent = self._sent[alert.severity]
        return len(sent) < (sent.maxlen or 0) or alert.at - sent[0] >= _HOUR

    def _remember(self, alert: Alert, is_sent: bool) -> None:
        if alert.is_resolved:
            self._open.pop(alert.key, None)
            return
        self._open[alert.key] = _Open(alert, is_sent)
        if is_sent:
            self._sent[alert.severity].append(alert.at)
            self._held_back = 0
        elif self._is_sendable(alert):
            self._held_back += 1


class AlertFile:
    """Alerts as JSON lines, for a process without a ledger."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE

    def append(self, alert: Alert) -> None:
        """Add `alert`; what cannot be written is lost here, since the channels may still carry it."""
        line = {
            "at": alert.at.isoformat(),
            "key": alert.key,
            "severity": alert.severity,
            "message": alert.message,
            "is_resolved": alert.is_resolved,
        }
        with suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("a") as opened:
                opened.write(json.dumps(line) + "\n")

    def read(self) -> list[Alert]:
        """Return the alerts, oldest first; lines that are damaged are left out."""
        found = []
        with suppress(OSError):
            for line in self._file.read_text(errors="replace").splitlines():
                with suppress(ValueError, KeyError, TypeError):
                    found.append(_of_line(line))
        return found


def _of_line(line: str) -> Alert:
    stored = json.loads(line)
    at = require_utc(datetime.fromisoformat(stored["at"]))
    return Alert(stored["key"], Severity(stored["severity"]), stored["message"], at, stored["is_resolved"] is True)


def _with_note(alert: Alert, held_back: int) -> Alert:
    if not held_back:
        return alert
    return replace(alert, message=f"{alert.message} ({held_back} other alerts were held back; they are stored)")
