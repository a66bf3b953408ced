"""What a replay is: its moments, its own settings and folder, and the name that follows from them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from cappuccino.clock import require_utc
from cappuccino.errors import ConfigError, DataError
from cappuccino.market.interval import Interval
from cappuccino.market.source import BarSource
from cappuccino.market.sync import fingerprint, first_open_to_load
from cappuccino.registry.version import code_version
from cappuccino.settings import Settings
from cappuccino.store.warehouse import Warehouse

SNAPSHOT = "bars.parquet"


@dataclass(frozen=True)
class ReplayPlan:
    """A replay with everything that decides its outcome; the same for the same settings, bars and code."""

    replay: str
    start: datetime
    stop: datetime
    first_open: datetime
    """First bar that the organisation may know at its first moment."""
    settings: Settings
    """Those of the replay's own warehouse."""
    source: str
    """Name of the source that the bars came from."""

    @property
    def moments(self) -> tuple[datetime, ...]:
        """The virtual presents, from the first to the last."""
        step = timedelta(hours=self.settings.replay.step_hours)
        n_whole = -(-(self.stop - self.start) // step)
        return (*(self.start + n * step for n in range(n_whole)), self.stop)


def plan_replay(
    settings: Settings, source: BarSource, start: datetime, stop: datetime, origin: str | None = None
) -> ReplayPlan:
    """Return the replay of [start, stop) on bars of `source`, which are those of `origin` when they were copied.

    Raises ConfigError when the range is empty, off the bars' grid, or not inside the record with history before it.
    """
    start, stop = require_utc(start), require_utc(stop)
    _require_range(settings, source, start, stop)
    first_open = first_open_to_load(_rolling(settings, stop).market, source, start)
    if first_open >= start:
        raise ConfigError(f"the record begins at {first_open:%F}, so there is nothing to learn from before {start:%F}")
    own = _rolling(settings, stop)
    name = _name(own, source, first_open, start, stop)
    own = own.model_copy(update={"warehouse": folder_of(settings.warehouse, name)})
    return ReplayPlan(name, start, stop, first_open, own, origin or source.name)


def folder_of(warehouse: Path, replay: str) -> Path:
    """Return the folder of a replay's own warehouse."""
    return warehouse / "replays" / replay


def snapshot(warehouse: Warehouse, settings: Settings, start: datetime, stop: datetime) -> Settings:
    """Store the bars that a warehouse holds as a file, and return settings whose source is that file.

    A replay of a venue's bars asks nobody over the network, and later corrections do not change it. Raises DataError
    when there are none.
    """
    frame = warehouse.query(
        """
        select symbol, opened_at_utc, open, high, low, close, volume from market.bars
        where opened_at_utc >= $start and closed_at_utc <= $stop and list_contains($symbols, symbol)
        order by symbol, opened_at_utc
        """,
        start=start,
        stop=stop,
        symbols=list(settings.market.symbols),
    )
    if frame.is_empty():
        raise DataError(
            f"the warehouse has no bars between {start:%F} and {stop:%F}; sync them (`cappuccino bars sync`)"
        )
    file = settings.warehouse / "replays" / f"{settings.market.source}-{fingerprint(frame)}.parquet"
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part")
        frame.write_parquet(part)
        part.replace(file)
    market = settings.market.model_copy(update={"source": "files", "path": file})
    return settings.model_copy(update={"market": market})


def _rolling(settings: Settings, stop: datetime) -> Settings:
    """Return settings whose history reaches back from each moment, and whose record ends with the replay."""
    market = settings.market.model_copy(update={"start": None, "end": stop})
    training = settings.training.model_copy(update={"max_data_age_days": settings.replay.retrain_every_days})
    return settings.model_copy(update={"market": market, "training": training})


def _require_range(settings: Settings, source: BarSource, start: datetime, stop: datetime) -> None:
    if settings.features.inputs:
        raise ConfigError(
            f"a replay has bars only, and features.inputs names {', '.join(settings.features.inputs)}; replay without "
            "them (features.inputs = []), which is another organisation"
        )
    if stop <= start:
        raise ConfigError(f"a replay from {start:%F %R} to {stop:%F %R} has no length; choose a later --to")
    longest = max((settings.market.base_interval, *settings.timeframe.intervals), key=lambda interval: interval.us)
    for name, moment in (("--from", start), ("--to", stop)):
        if Interval.floor(longest, moment) != moment:
            raise ConfigError(
                f"{name} {moment:%F %R} is not a close of {longest} bars; choose {longest.floor(moment):%F %R}"
            )
    span = source.span()
    if span and not span[0] < start < stop <= span[1]:
        raise ConfigError(
            f"the record of source {source.name} reaches from {span[0]:%F %R} to {span[1]:%F %R}; "
            f"a replay from {start:%F} to {stop:%F} needs all of it, and history before"
        )


def _name(own: Settings, source: BarSource, first_open: datetime, start: datetime, stop: datetime) -> str:
    chosen = own.model_dump(mode="json", exclude={"warehouse": True, "run": True, "market": {"path"}})
    chosen["training"].pop("workers")
    parts = [json.dumps(chosen, sort_keys=True), code_version(), _bars_digest(own, source, first_open, stop)]
    digest = hashlib.blake2b("\0".join(parts).encode(), digest_size=4).hexdigest()
    return f"replay-{start:%Y%m%d}-{stop:%Y%m%d}-{digest}"


def _bars_digest(own: Settings, source: BarSource, start: datetime, stop: datetime) -> str:
    """Return what tells one record of bars from another; a simulated one is told by its seed."""
    if source.is_simulated:
        return f"seed {own.simulated.seed}"
    frame: pl.DataFrame = source.bars(own.market.symbols, own.market.base_interval, start, stop)
    return fingerprint(frame)
