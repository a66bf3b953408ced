"""A trial trained again is the same to the last bit, and says what is not when it is not."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from cappuccino.errors import TrainingError
from cappuccino.registry.identity import ModelId
from cappuccino.search.reproduce import Reproduction, reproduce
from cappuccino.settings import TreeSettings
from cappuccino.store import models
from cappuccino.trees.study import run_trees
from tests.unit.small_market import SCHEMA
from tests.unit.trained_lab import TrainedLab, trained_lab

WHEN = datetime(2024, 6, 2, tzinfo=UTC)


@pytest.fixture
def lab(tmp_path_factory: pytest.TempPathFactory) -> TrainedLab:
    return trained_lab(tmp_path_factory)


def again(lab: TrainedLab, trial: int = 0, *, force: bool = False) -> Reproduction:
    return reproduce(lab.warehouse, lab.settings, ModelId(lab.study, trial), WHEN, lambda line: None, force=force)


def change(lab: TrainedLab, sql: str) -> None:
    with lab.warehouse.write() as writer:
        writer.execute(sql)


def files(lab: TrainedLab) -> dict[str, bytes]:
    root = lab.settings.artifacts
    return {str(file.relative_to(root)): file.read_bytes() for file in sorted(root.rglob("*")) if file.is_file()}


def test_a_trial_comes_out_the_same_and_the_original_stays(lab: TrainedLab) -> None:
    """The first trial learned by trying, the second by gradients."""
    before, rows = files(lab), lab.warehouse.query("from lab.trials order by trial").rows()
    for trial in (0, 1):
        made = again(lab, trial)
        assert made.is_equal and made.notes == ()
        assert [one.what for one in made.compared] == [
            "weight_sha256",
            "equity_sha256",
            "score",
            "fold 0 score",
            "fold 1 score",
        ]
    assert files(lab) == before
    assert lab.warehouse.query("from lab.trials order by trial").rows() == rows
    assert list((lab.settings.warehouse / "scratch").iterdir()) == []
    found = lab.warehouse.query("select trial, reproduction, is_equal, different, device, notes from lab.reproductions")
    assert found.sort("trial").rows() == [(0, 1, True, [], "cpu float32", None), (1, 1, True, [], "cpu float32", None)]
    with lab.warehouse.read() as reader:
        results = models.run_tests(reader, SCHEMA.contracts["lab.reproductions"])
    assert results and all(result.passed for result in results)


def test_another_seed_that_was_sneaked_in_is_found_and_said(lab: TrainedLab) -> None:
    change(lab, "update lab.trials set seed = seed + 1 where trial = 0")
    made = again(lab)
    assert not made.is_equal
    assert {one.what for one in made.compared if not one.is_equal} >= {"weight_sha256", "equity_sha256", "score"}
    assert made.notes[0].endswith("the row was changed")
    assert lab.warehouse.query(
        "select is_equal, len(different) >= 3, notes is not null from lab.reproductions"
    ).rows() == [(False, True, True)]


def test_a_score_that_was_made_prettier_and_swapped_weights_are_found(lab: TrainedLab) -> None:
    change(lab, "update lab.trials set score = score + 1e-12, weight_sha256 = 'another' where trial = 1")
    wrong = [one for one in again(lab, 1).compared if not one.is_equal]
    assert [one.what for one in wrong] == ["weight_sha256", "score"]
    assert wrong[0].stored == "another"


def test_a_changed_bar_is_refused_and_nothing_is_stored(lab: TrainedLab) -> None:
    change(
        lab, "update market.bars_all set close = close + 0.01 where opened_at_utc = '2024-05-10' and interval = '1h'"
    )
    with pytest.raises(TrainingError, match="a sync corrected, added or removed some"):
        again(lab, force=True)
    assert lab.warehouse.query("from lab.reproductions").is_empty()


def test_other_code_trains_only_by_force_and_is_noted(lab: TrainedLab) -> None:
    change(lab, "update lab.studies set code_version = 'old'")
    with pytest.raises(TrainingError, match="ran with code old"):
        again(lab)
    made = again(lab, force=True)
    assert made.is_equal and "ran with code old" in made.notes[0]
    assert again(lab, force=True).is_equal
    assert lab.warehouse.query("select reproduction from lab.reproductions order by all").rows() == [(1,), (2,)]


def test_a_forest_comes_out_the_same(lab: TrainedLab) -> None:
    """A study of trees is trained beside the networks, then one of its trials again."""
    now = lab.warehouse.query("select as_of_utc from lab.studies").item()
    trees = lab.settings.model_copy(update={"trees": TreeSettings(trials=1, startup_trials=1)})
    study = run_trees(trees, now, lambda line: None).study
    made = reproduce(lab.warehouse, lab.settings, ModelId(study, 0), WHEN, lambda line: None)
    assert made.is_equal and made.notes == ()
    assert {one.what for one in made.compared} >= {"weight_sha256", "equity_sha256", "score"}
