"""The best distinct candidates of the newest studies, in an order that never depends on chance."""

from __future__ import annotations

import polars as pl
import pytest

from cappuccino.ensemble.members import Ranked, distinct, ranked_trials
from cappuccino.registry.identity import ModelId
from cappuccino.store.warehouse import Warehouse
from tests.unit.small_lab import add_study, add_trial
from tests.unit.small_market import DAY, END, START


@pytest.fixture
def warehouse(new_warehouse: Warehouse) -> Warehouse:
    """Two training studies, and trees of two markets."""
    with new_warehouse.write() as writer:
        add_study(writer, "old", START)
        add_study(writer, "new", START + DAY)
        add_study(writer, "trees", START, kind="trees")
        add_study(writer, "other-trees", START + DAY, kind="trees", interval="4h")
        add_study(writer, "cheap", START + DAY, kind="timeframe")
        for study in ("old", "other-trees", "cheap"):
            add_trial(writer, ModelId(study, 0), 9.0)
        add_trial(writer, ModelId("new", 0), 0.5)
        add_trial(writer, ModelId("new", 1), 0.7)
        add_trial(writer, ModelId("new", 2), 0.5)
        add_trial(writer, ModelId("new", 3), state="pruned")
        add_trial(writer, ModelId("trees", 1), 0.6)
        add_trial(writer, ModelId("trees", 0), 0.5)
        writer.execute("update lab.trials set weight_sha256 = study || trial, seed = 9 - trial")
    return new_warehouse


def names(ranked: list[Ranked]) -> list[str]:
    return [str(one.model) for one in ranked]


def test_members_come_from_the_newest_training_study_and_the_trees_of_its_market_by_score_then_seed(
    warehouse: Warehouse,
) -> None:
    with warehouse.read() as reader:
        ranked = ranked_trials(reader, END)
        before = ranked_trials(reader, START)
    assert names(ranked) == ["new/1", "trees/1", "new/2", "new/0", "trees/0"]
    assert names(before) == ["old/0", "trees/1", "trees/0"]
    assert {one.as_of for one in ranked} == {START, START + DAY}


def test_the_same_weights_and_who_fails_the_gates_are_left_out(warehouse: Warehouse) -> None:
    with warehouse.write() as writer:
        writer.execute("update lab.trials set weight_sha256 = 'same' where study = 'new' and trial in (1, 2)")
    with warehouse.read() as reader:
        ranked = ranked_trials(reader, END)
    assert names(list(distinct(ranked, lambda model: model.study == "new"))) == ["new/1", "new/0"]


def test_without_a_finished_study_there_is_nobody(new_warehouse: Warehouse) -> None:
    with new_warehouse.write() as writer:
        add_study(writer, "going-on", START, state="running")
        add_trial(writer, ModelId("going-on", 0))
    with new_warehouse.read() as reader:
        assert ranked_trials(reader, END) == []
    assert new_warehouse.query("from lab.ensembles").schema["built_at_utc"] == pl.Datetime("us", "UTC")
