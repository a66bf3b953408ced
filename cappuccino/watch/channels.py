"""How alerts reach a person: Discord, e-mail and others, each channel in a thread of its own.

A channel that fails is tried again, one that hangs keeps only itself waiting: `send` puts an alert into a queue and
returns.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol

from pydantic import SecretStr

from cappuccino.clock import Clock
from cappuccino.credentials import secret
from cappuccino.errors import ConfigError
from cappuccino.settings import AlertSettings
from cappuccino.watch.alerts import Alert, Alerts, Severity

VARIABLE = "ALERT_URLS"
"""Addresses of the channels, separated by blanks; they hold passwords and tokens, so they are no setting."""
WAITING = 100
"""Alerts that wait for a channel; of more, the oldest are given up."""
PAUSES_S = (5.0, 30.0, 120.0, 600.0)
"""Before each further try of one alert."""


class Channel(Protocol):
    """One way to a person."""

    @property
    def name(self) -> str:
        """Short, and without anything secret: it is logged."""
        ...

    def send(self, alert: Alert) -> None:
        """Deliver; raises any exception when it did not work."""
        ...


class AppriseChannel:
    """A channel of the library `apprise`, by its address: discord://..., mailto://..., json://..."""

    def __init__(self, url: SecretStr) -> None:
        # Some 40 MB with all its services: only where somebody wants alerts.
        import apprise

        schema, mark, _ = url.get_secret_value().partition("://")
        self.name = schema if mark else "nameless"
        self._apprise = apprise.Apprise()
        self._types = {
            Severity.INFO: apprise.NotifyType.INFO,
            Severity.WARNING: apprise.NotifyType.WARNING,
            Severity.CRITICAL: apprise.NotifyType.FAILURE,
        }
        self._success = apprise.NotifyType.SUCCESS
        if not mark or not self._apprise.add(url.get_secret_value()):
            raise ConfigError(f"an address in {VARIABLE} ({self.name}://...) is none that apprise knows; correct it")

    def send(self, alert: Alert) -> None:
        """Deliver; raises ConnectionError when the service did not take it."""
        kind = self._success if alert.is_resolved else self._types[alert.severity]
        if not self._apprise.notify(body=alert.message, title=title_of(alert), notify_type=kind):
            raise ConnectionError(f"{self.name} did not take it")


class Sender:
    """Hands alerts to all channels and never waits for one. `say` hears about failures, from other threads."""

    def __init__(
        self,
        channels: Iterable[Channel],
        say: Callable[[str], None],
        *,
        timeout_s: float = 30.0,
        pauses_s: Sequence[float] = PAUSES_S,
        waiting: int = WAITING,
    ) -> None:
        self._lines = [_Line(channel, say, timeout_s, pauses_s, waiting) for channel in channels]

    def send(self, alert: Alert) -> None:
        """Queue `alert` for each channel."""
        for line in self._lines:
            line.put(alert)

    def hanging(self) -> tuple[str, ...]:
        """Return the channels that have not come back from a delivery in time."""
        return tuple(line.channel.name for line in self._lines if line.hangs)

    def close(self, timeout_s: float) -> bool:
        """Let the channels deliver what waits, `timeout_s` at most in all; returns whether everything is out."""
        deadline = time.monotonic() + timeout_s
        for line in self._lines:
            line.ask_to_close()
        return all(line.close(deadline) for line in self._lines)


class _Line:
    """The queue of one channel and the thread that empties it."""

    def __init__(
        self, channel: Channel, say: Callable[[str], None], timeout_s: float, pauses_s: Sequence[float], waiting: int
    ) -> None:
        self.channel = channel
        self._say, self._timeout_s, self._pauses_s = say, timeout_s, pauses_s
        self._waiting: deque[Alert] = deque(maxlen=waiting)
        self._change = threading.Condition()
        self._is_closing = False
        self._sending_since_s: float | None = None
        self._worker = threading.Thread(target=self._work, name=f"alerts-{channel.name}", daemon=True)
        self._worker.start()

    @property
    def hangs(self) -> bool:
        since_s = self._sending_since_s
        return since_s is not None and time.monotonic() - since_s > self._timeout_s

    def put(self, alert: Alert) -> None:
        with self._change:
            self._waiting.append(alert)
            self._change.notify()
        if self.hangs:
            self._say(f"alert channel {self.channel.name} has hung for more than {self._timeout_s:g} s")

    def ask_to_close(self) -> None:
        with self._change:
            self._is_closing = True
            self._change.notify()

    def close(self, deadline: float) -> bool:
        self._worker.join(max(0.0, deadline - time.monotonic()))
        return not self._worker.is_alive() and not self._waiting

    def _work(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._waiting or self._is_closing)
                if not self._waiting:
                    return
                alert = self._waiting.popleft()
            self._deliver(alert)

    def _deliver(self, alert: Alert) -> None:
        for pause_s in (*self._pauses_s, None):
            reason = self._try(alert)
            if not reason:
                return
            if pause_s is None or self._is_closing:
                self._say(f"alert {alert.key} was not delivered by {self.channel.name}: {reason}")
                return
            with self._change:
                self._change.wait_for(lambda: self._is_closing, pause_s)

    def _try(self, alert: Alert) -> str:
        self._sending_since_s = time.monotonic()
        try:
            self.channel.send(alert)
        except Exception as error:
            # Whatever a channel's library raises concerns nobody but the channel; its words may quote the address.
            return type(error).__name__
        finally:
            self._sending_since_s = None
        return ""


def channels_of(urls: SecretStr | None) -> tuple[list[Channel], list[str]]:
    """Return the channels of `urls`, none without any, and what is wrong with the other addresses.

    A wrong address is no reason to stop: the others may work, and the process that has something to say goes on.
    """
    channels: list[Channel] = []
    wrong = []
    for url in urls.get_secret_value().split() if urls else []:
        try:
            channels.append(AppriseChannel(SecretStr(url)))
        except ConfigError as error:
            wrong.append(str(error))
    return channels, wrong


def alerts_of(
    settings: AlertSettings,
    clock: Clock,
    store: Callable[[Alert], None],
    say: Callable[[str], None],
    *,
    past: Iterable[Alert] = (),
    config: Path | None = None,
) -> tuple[Alerts, Sender]:
    """Return a process's alerts and what carries them; close the second one at the end.

    `config` is the configuration file in use. Raises ConfigError for a file of secrets that others can read.
    """
    channels, wrong = channels_of(secret(VARIABLE, config))
    for reason in wrong:
        say(reason)
    sender = Sender(channels, say, timeout_s=settings.timeout_s)
    alerts = Alerts(
        clock,
        store,
        sender.send,
        min_severity=Severity(settings.min_severity),
        repeat_hours=settings.repeat_hours,
        per_hour=settings.per_hour,
        past=past,
    )
    return alerts, sender


def title_of(alert: Alert) -> str:
    """Return the headline: `Cappuccino CRITICAL: up.trader.restarts`."""
    return f"Cappuccino {'resolved' if alert.is_resolved else alert.severity.upper()}: {alert.key}"
