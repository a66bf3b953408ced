"""A replay as the main warehouse keeps it, read in one go."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import polars as pl

from cappuccino.errors import UnknownName
from cappuccino.store.warehouse import Reader


@dataclass(frozen=True)
class Replay:
    """Every row of one replay."""

    run: dict[str, Any]
    """Its row of replay.runs and of replay.summary."""
    steps: pl.DataFrame
    equity: pl.DataFrame
    measures: pl.DataFrame
    decisions: pl.DataFrame

    @property
    def name(self) -> str:
        return str(self.run["replay"])

    @property
    def is_complete(self) -> bool:
        return bool(self.run["state"] == "complete")

    @property
    def is_simulated(self) -> bool:
        return bool(self.run["is_simulated"])

    @property
    def start(self) -> datetime:
        moment: datetime = self.run["from_utc"]
        return moment

    @property
    def until(self) -> datetime:
        """Newest finished moment; the start before the first."""
        moment: datetime = self.run["moment_utc"] or self.start
        return moment

    @property
    def n_days_planned(self) -> float:
        days: float = (self.run["to_utc"] - self.start) / timedelta(days=1)
        return days

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The configuration as it was stored; an older Cappuccino had other keys."""
        stored: dict[str, Any] = json.loads(self.run["settings"])
        return stored


def read_replay(reader: Reader, replay: str) -> Replay:
    """Return all rows of a replay; raises UnknownName with those there are."""
    run = reader.query("from replay.runs where replay = $replay", replay=replay)
    if run.is_empty():
        raise UnknownName(f"no replay {replay!r}; {_known(reader)}")
    summary = reader.query("from replay.summary where replay = $replay", replay=replay)
    return Replay(
        {**run.row(0, named=True), **summary.row(0, named=True)},
        reader.query("from replay.steps where replay = $replay order by moment_utc, job", replay=replay),
        reader.query("from replay.equity where replay = $replay order by closed_at_utc, subject", replay=replay),
        reader.query(
            "from replay.measures where replay = $replay order by subject <> 'system', total_return_frac desc, subject",
            replay=replay,
        ),
        reader.query("from replay.decisions where replay = $replay order by sequence", replay=replay),
    )


def replays_frame(reader: Reader) -> pl.DataFrame:
    """Return one row for each replay, the earliest range first: the view replay.summary."""
    return reader.query("from replay.summary order by from_utc, replay")


def _known(reader: Reader) -> str:
    names = reader.query("select replay from replay.runs order by replay")["replay"].to_list()
    if not names:
        return "there is none yet; `cappuccino replay --from ... --to ...` makes one"
    return f"there are {', '.join(names)}"
