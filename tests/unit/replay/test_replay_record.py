"""A replay as the main warehouse keeps it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cappuccino.market.simulated import SimulatedSource
from cappuccino.replay.plan import ReplayPlan, plan_replay
from cappuccino.replay.record import Standing, forget, note_step, open_replay
from cappuccino.store.warehouse import Warehouse
from tests.unit.replay.test_plan import FROM, TO, settings_in
from tests.unit.small_market import DAY


@pytest.fixture
def plan(tmp_path: Path) -> ReplayPlan:
    return plan_replay(settings_in(tmp_path), SimulatedSource(5), FROM, TO)


def test_a_new_replay_stands_before_its_first_moment(new_warehouse: Warehouse, plan: ReplayPlan) -> None:
    assert open_replay(new_warehouse, plan) == Standing(None, {}, False)
    row = new_warehouse.query("from replay.runs").row(0, named=True)
    assert (row["replay"], row["state"], row["from_utc"], row["to_utc"]) == (plan.replay, "running", FROM, TO)
    assert (row["source"], row["is_simulated"], row["step_hours"]) == ("simulated", True, 24)


def test_a_job_that_never_ended_is_remembered_as_begun(new_warehouse: Warehouse, plan: ReplayPlan) -> None:
    open_replay(new_warehouse, plan)
    note_step(new_warehouse, plan, FROM, "trading", "started", "bars are old")
    note_step(new_warehouse, plan, FROM, "trading", "done", "bars are old", "", 1.5)
    note_step(new_warehouse, plan, FROM, "whole_life", "started", "never trained")
    assert open_replay(new_warehouse, plan).begun == {(FROM, "whole_life"): "never trained"}
    note_step(new_warehouse, plan, FROM, "whole_life", "stopped", "never trained", "too few bars", 3.0)
    assert open_replay(new_warehouse, plan).begun == {}
    steps = new_warehouse.query("select job, state, detail, duration_s from replay.steps order by job")
    assert steps.rows() == [("trading", "done", "", 1.5), ("whole_life", "stopped", "too few bars", 3.0)]


def test_a_forgotten_replay_begins_anew_and_others_stay(new_warehouse: Warehouse, plan: ReplayPlan) -> None:
    other = replace(plan, replay="another")
    for each in (plan, other):
        open_replay(new_warehouse, each)
        note_step(new_warehouse, each, FROM + DAY, "trading", "started", "")
    forget(new_warehouse, plan.replay)
    assert new_warehouse.query("select replay from replay.runs").rows() == [("another",)]
    assert open_replay(new_warehouse, plan).begun == {}
    assert open_replay(new_warehouse, other).begun == {(FROM + DAY, "trading"): ""}
