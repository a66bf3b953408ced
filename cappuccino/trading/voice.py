"""What the trader says: every trouble once when it begins, and once when it is over."""

from __future__ import annotations

from collections.abc import Callable

from cappuccino.clock import Clock
from cappuccino.settings import AlertSettings
from cappuccino.trading.ledger import Ledger, from_us, to_us
from cappuccino.watch.alerts import Alert, Alerts, Severity

LOOKS = 2
"""Looks in a row at which a failing call is worth a word."""


class Voice:
    """Alerts of the trader: kept in the ledger, handed to `send`, and to `show` for whoever looks on."""

    def __init__(
        self,
        ledger: Ledger,
        settings: AlertSettings,
        clock: Clock,
        send: Callable[[Alert], None],
        show: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._ledger, self._show = ledger, show
        self._looks: dict[str, tuple[int, int]] = {}
        """In how many looks in a row a trouble was seen that is not worth a word at first, and in which one last."""
        self._look = 0
        self._alerts = Alerts(
            clock,
            self._store,
            send,
            min_severity=Severity(settings.min_severity),
            repeat_hours=settings.repeat_hours,
            per_hour=settings.per_hour,
            past=_past(ledger),
        )

    def next_look(self) -> None:
        """Another poll has begun."""
        self._look += 1

    def info(self, key: str, message: str) -> None:
        self._alerts.raise_(key, Severity.INFO, message)

    def warn(self, key: str, message: str) -> None:
        self._alerts.raise_(key, Severity.WARNING, message)

    def warn_if_it_stays(self, key: str, message: str) -> None:
        """Warn of what comes and goes by itself, as failing calls do: when it is seen for the second time in a row."""
        n_looks, latest = self._looks.get(key, (0, -1))
        self._looks[key] = (n_looks + (latest != self._look), self._look)
        if self._looks[key][0] >= LOOKS:
            self.warn(key, message)

    def critical(self, key: str, message: str) -> None:
        self._alerts.raise_(key, Severity.CRITICAL, message)

    def over(self, key: str) -> None:
        """The state of `key` has ended, if it ever began."""
        self._looks.pop(key, None)
        said = next((alert for alert in self._alerts.open if alert.key == key), None)
        if said is not None:
            self._alerts.resolve(key, f"over: {said.message}")

    def forget(self, account: str) -> None:
        """An account is closed: what was said of it is over."""
        for alert in self._alerts.open:
            if alert.key.startswith(f"{account}."):
                self.over(alert.key)

    @property
    def troubles(self) -> tuple[str, ...]:
        """What was said and is not over, the most urgent first."""
        return tuple(f"{alert.severity}: {alert.message}" for alert in self._alerts.open)

    def _store(self, alert: Alert) -> None:
        with self._ledger.write() as entry:
            entry.insert(
                "alerts",
                key=alert.key,
                at_us=to_us(alert.at),
                severity=alert.severity.value,
                message=alert.message,
                is_resolved=int(alert.is_resolved),
            )
        self._show(alert.message if alert.is_resolved else f"{alert.severity.value}: {alert.message}")


def _past(ledger: Ledger) -> list[Alert]:
    """Return what the ledger holds of each key's newest state."""
    rows = ledger.rows(
        "select * from alerts where rowid in (select max(rowid) from alerts group by key) order by at_us"
    )
    return [
        Alert(row["key"], Severity(row["severity"]), row["message"], from_us(row["at_us"]), bool(row["is_resolved"]))
        for row in rows
    ]
