"""What decides a replay, and which replays there cannot be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from cappuccino.errors import ConfigError, DataError
from cappuccino.market.files import FileSource
from cappuccino.market.interval import Interval
from cappuccino.market.simulated import SimulatedSource
from cappuccino.replay.plan import plan_replay, snapshot
from cappuccino.settings import Settings, load
from cappuccino.store.warehouse import Warehouse
from tests.unit.small_market import DAY, START, SYMBOLS, bars_between, sync

FROM, TO = START + 10 * DAY, START + 13 * DAY


def settings_in(folder: Path, **changed: object) -> Settings:
    market = {"symbols": SYMBOLS, "base_interval": "1h", "history_days": 5, "end": None}
    return load(None, {"warehouse": folder, "market": market, **changed})


def test_moments_go_from_the_first_to_the_last_in_steps(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, replay={"step_hours": 36})
    plan = plan_replay(settings, SimulatedSource(5), FROM, TO)
    assert plan.moments == (FROM, FROM + 1.5 * DAY, TO)
    daily = plan_replay(settings_in(tmp_path), SimulatedSource(5), FROM, TO)
    assert daily.moments == (FROM, FROM + DAY, FROM + 2 * DAY, TO)


def test_its_own_settings_look_back_from_each_moment_and_retrain_at_the_replays_pace(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, replay={"retrain_every_days": 12})
    plan = plan_replay(settings, SimulatedSource(5), FROM, TO)
    own = plan.settings
    assert (own.market.start, own.market.end, own.training.max_data_age_days) == (None, TO, 12)
    assert plan.first_open == FROM - 5 * DAY
    assert own.warehouse == tmp_path / "replays" / plan.replay


def test_equal_settings_have_equal_names_and_what_changes_the_outcome_changes_the_name(tmp_path: Path) -> None:
    def name(folder: str = "a", seed: int = 5, start: datetime = FROM, **changed: object) -> str:
        settings = settings_in(tmp_path / folder, simulated={"seed": seed}, **changed)
        return plan_replay(settings, SimulatedSource(seed), start, TO).replay

    assert name() == name(folder="b") == name(training={"workers": 1})
    others = [name(seed=6), name(start=FROM + DAY), name(training={"seed": 8}), name(replay={"retrain_every_days": 3})]
    assert len({name(), *others}) == 5


def test_bars_of_files_are_part_of_the_name(tmp_path: Path) -> None:
    def name(frame: pl.DataFrame) -> str:
        file = tmp_path / "bars.parquet"
        frame.write_parquet(file)
        settings = settings_in(tmp_path)
        market = settings.market.model_copy(update={"source": "files", "path": file})
        return plan_replay(settings.model_copy(update={"market": market}), FileSource(file), FROM, TO).replay

    bars = bars_between(START, START + 20 * DAY)
    later = bars.with_columns(volume=pl.col("volume") + (pl.col("opened_at_utc") >= TO).cast(pl.Float64))
    corrected = bars.with_columns(volume=pl.col("volume") + (pl.col("opened_at_utc") == FROM).cast(pl.Float64))
    assert name(bars) == name(later) != name(corrected)


@pytest.mark.parametrize(
    ("start", "stop", "message"),
    [
        (FROM, FROM, "has no length"),
        (FROM + timedelta(hours=1), TO, r"--from 2025-03-11 01:00 is not a close of 1d bars; choose 2025-03-11 00:00"),
        (FROM, TO + timedelta(hours=5), r"--to 2025-03-14 05:00 is not a close"),
        (START, TO, "reaches from 2025-03-01 00:00 to 2025-03-21 00:00"),
        (FROM, TO + 20 * DAY, "needs all of it, and history before"),
    ],
)
def test_a_range_that_cannot_be_replayed_is_refused(
    tmp_path: Path, start: datetime, stop: datetime, message: str
) -> None:
    file = tmp_path / "bars.parquet"
    bars_between(START, START + 20 * DAY).write_parquet(file)
    settings = settings_in(tmp_path, timeframe={"intervals": ["1h", "1d"]})
    with pytest.raises(ConfigError, match=message):
        plan_replay(settings, FileSource(file), start, stop)


def test_a_snapshot_is_a_file_source_with_the_stored_bars(new_warehouse: Warehouse, tmp_path: Path) -> None:
    sync(new_warehouse, START, START + 2 * DAY)
    settings = settings_in(tmp_path)
    frozen = snapshot(new_warehouse, settings, START, START + DAY)
    assert frozen.market.path is not None
    source = FileSource(frozen.market.path)
    kept = source.bars(SYMBOLS, Interval.H1, datetime(2020, 1, 1, tzinfo=UTC), START + 9 * DAY)
    assert kept.equals(bars_between(START, START + DAY))
    assert snapshot(new_warehouse, settings, START, START + DAY) == frozen
    with pytest.raises(DataError, match=r"no bars between 2025-04-10 and 2025-04-11; sync them"):
        snapshot(new_warehouse, settings, START + 40 * DAY, START + 41 * DAY)
