"""Time for tests that must not wait."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Stopwatch:
    """A monotonic clock that only pauses move."""

    at_s: float = 0.0
    pauses: list[float] = field(default_factory=list)

    def monotonic(self) -> float:
        return self.at_s

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.at_s += seconds
