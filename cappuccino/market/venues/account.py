"""What became of the calls to a venue, counted in rows of ops.api_errors."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import polars as pl

from cappuccino.market.venues.failures import Outcome

EXAMPLE_LENGTH = 300
SCHEMA: dict[str, pl.DataType] = {
    "source": pl.String(),
    "endpoint": pl.String(),
    "outcome": pl.String(),
    "calls": pl.Int64(),
    "share_frac": pl.Float64(),
    "waited_s": pl.Float64(),
    "example": pl.String(),
}
"""Columns of ops.api_errors but for `synced_at_utc`, which only the sync knows."""


@dataclass
class _Line:
    calls: int = 0
    waited_s: float = 0.0
    example: str = ""


class Account:
    """Counts calls, and the bars of their answers that could not be kept."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._lines: dict[tuple[str, Outcome], _Line] = {}
        self._bars: Counter[str] = Counter()

    def note(self, endpoint: str, outcome: Outcome, example: str = "") -> None:
        """Count one call."""
        line = self._line(endpoint, outcome)
        line.calls += 1
        line.example = example[:EXAMPLE_LENGTH]

    def waited(self, endpoint: str, outcome: Outcome, seconds: float) -> None:
        """Add the pause that followed a call."""
        self._line(endpoint, outcome).waited_s += seconds

    def note_bars(self, endpoint: str, n_bars: int, n_bad: int, example: str) -> None:
        """Count the bars of an answer, and those of them that were left out."""
        self._bars[endpoint] += n_bars
        if n_bad:
            line = self._line(endpoint, "bad_bar")
            line.calls += n_bad
            line.example = example[:EXAMPLE_LENGTH]

    def drain(self) -> pl.DataFrame:
        """Return one row per endpoint and outcome since the last time, and start from nothing."""
        calls: Counter[str] = Counter()
        for (endpoint, outcome), line in self._lines.items():
            calls[endpoint] += 0 if outcome == "bad_bar" else line.calls
        rows = [
            (self._source, endpoint, outcome, line.calls, line.calls / whole, line.waited_s, line.example)
            for (endpoint, outcome), line in sorted(self._lines.items())
            for whole in [self._bars[endpoint] if outcome == "bad_bar" else calls[endpoint]]
        ]
        self._lines, self._bars = {}, Counter()
        return pl.DataFrame(rows, schema=SCHEMA, orient="row")

    def _line(self, endpoint: str, outcome: Outcome) -> _Line:
        return self._lines.setdefault((endpoint, outcome), _Line())
