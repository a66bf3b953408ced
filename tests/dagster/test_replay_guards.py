"""What keeps a replay from going on with another's memory, and a run from deciding at two moments."""

from __future__ import annotations

import fcntl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from assets.tables import key_of
from cappuccino.errors import ConfigError, TrainingBusy
from cappuccino.market.simulated import SimulatedSource
from cappuccino.replay.plan import ReplayPlan, plan_replay
from cappuccino.replay.record import open_replay
from cappuccino.settings import Settings, load
from cappuccino.store.warehouse import Warehouse
from dagster_project.materialization import Materializer
from dagster_project.replay import run_replay
from dagster_project.resources import warehouse_of

FROM, TO = datetime(2025, 6, 8, tzinfo=UTC), datetime(2025, 6, 9, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    market = {"symbols": ("BTC/USD",), "base_interval": "1h", "history_days": 5, "end": None}
    return load(None, {"warehouse": tmp_path / "w", "market": market})


@pytest.fixture
def plan(settings: Settings) -> ReplayPlan:
    return plan_replay(settings, SimulatedSource(settings.simulated.seed), FROM, TO)


@pytest.fixture
def main(settings: Settings) -> Warehouse:
    return warehouse_of(settings)


def test_a_replay_whose_folder_has_gone_is_refused(plan, main):
    open_replay(main, plan)
    with main.write() as writer:
        writer.execute("update replay.runs set moment_utc = $at", at=FROM)
    with pytest.raises(ConfigError, match=r"has gone; begin anew with --restart"):
        run_replay(plan, main, lambda _: None)
    assert main.query("select moment_utc from replay.runs").item() == FROM


def test_nobody_lives_through_a_replay_twice_at_once(plan, main):
    folder = plan.settings.warehouse
    folder.parent.mkdir(parents=True)
    with folder.with_name(folder.name + ".lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(TrainingBusy, match="another process lives through replay-20250608-20250609"):
            run_replay(plan, main, lambda _: None, restart=True)
    assert main.query("from replay.runs").is_empty()


def test_all_of_a_run_is_decided_as_of_the_moment_it_began(settings):
    now = datetime.now(UTC)
    days = (f"{now - timedelta(days=1):%F}", f"{now:%F}")
    with dg.DagsterInstance.ephemeral() as instance:
        outcome = Materializer(settings, instance).materialize(dg.AssetSelection.assets(key_of("market.bars")), days)
        record = instance.get_run_record_by_id(outcome.run_id)
    began = datetime.fromtimestamp(record.start_time, UTC)
    moments = warehouse_of(settings).query(
        "select distinct synced_at_utc as at from ops.syncs union select distinct checked_at_utc from ops.data_quality"
    )
    assert moments["at"].to_list() == [began]
