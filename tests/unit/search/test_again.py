"""A stored study is planned again from its row; whatever is not as it was is said in a sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from cappuccino.errors import TrainingBusy, TrainingError, UnknownName
from cappuccino.rl.hyper import Hyper
from cappuccino.search.again import plan_again, ran_with, study_again, trial_row
from tests.unit.trained_lab import TrainedLab, trained_lab

Change = Callable[[str], None]


@pytest.fixture
def lab(tmp_path_factory: pytest.TempPathFactory) -> TrainedLab:
    return trained_lab(tmp_path_factory)


@pytest.fixture
def change(lab: TrainedLab) -> Change:
    def write(sql: str) -> None:
        with lab.warehouse.write() as writer:
            writer.execute(sql)

    return write


def differences(lab: TrainedLab, folder: Path) -> dict[str, str]:
    with lab.warehouse.read() as reader:
        return {one.what: one.detail for one in plan_again(reader, lab.study, folder).differences}


def test_a_study_is_planned_again_as_it_was(lab: TrainedLab, tmp_path: Path) -> None:
    assert differences(lab, tmp_path) == {}
    (tmp_path / "scratch" / "again-killed").mkdir(parents=True)
    with study_again(lab.warehouse, tmp_path, lab.study) as again:
        assert (again.plan.study, again.settings.warehouse.parent) == (lab.study, tmp_path / "scratch")
        assert len(list((tmp_path / "scratch").iterdir())) == 1, "what a killed one left behind is gone"
        with pytest.raises(TrainingBusy), study_again(lab.warehouse, tmp_path, lab.study):
            pass
        assert (again.settings.warehouse / "scratch" / lab.study / "1h" / "close.npy").is_file()
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_changed_bar_is_refused_whatever_force_there_is(lab: TrainedLab, change: Change, tmp_path: Path) -> None:
    change("update market.bars_all set close = close * 1.001 where opened_at_utc = '2024-05-10' and interval = '1h'")
    with (
        pytest.raises(TrainingError, match=r"the stored bars from .* have changed since") as refused,
        study_again(lab.warehouse, tmp_path, lab.study, force=True),
    ):
        pass
    assert "--force" not in str(refused.value)


def test_a_bar_of_the_holdout_may_change(lab: TrainedLab, change: Change, tmp_path: Path) -> None:
    change("update market.bars_all set close = close * 1.001 where opened_at_utc >= '2024-05-28'")
    assert differences(lab, tmp_path) == {}


def test_changed_features_of_unchanged_bars_are_told_from_changed_bars(
    lab: TrainedLab, change: Change, tmp_path: Path
) -> None:
    change("update features.features set log_close = log_close + 1 where opened_at_utc = '2024-05-10'")
    assert "the bars are the same but what is computed from them is not" in differences(lab, tmp_path)["data"]


def test_another_choice_of_timeframe_is_said(lab: TrainedLab, change: Change, tmp_path: Path) -> None:
    change("update lab.timeframe_choices set lookback = 4")
    assert differences(lab, tmp_path)["data"] == "the timeframe was 1h x 8, lab.timeframe_choices now says 1h x 4"


def test_other_code_and_packages_are_said_and_can_be_forced(lab: TrainedLab, change: Change, tmp_path: Path) -> None:
    packages = json.dumps({**json.loads(_packages(lab)), "torch": "1.0"})
    change(f"update lab.studies set code_version = 'old', packages = '{packages}'")
    found = differences(lab, tmp_path)
    assert found["code"].startswith("it ran with code old, this is ")
    assert "torch 1.0, now 2" in found["packages"]
    with (
        pytest.raises(TrainingError, match=r"ran with code old.*; other packages.*; --force trains all the same"),
        study_again(lab.warehouse, tmp_path, lab.study),
    ):
        pass
    with study_again(lab.warehouse, tmp_path, lab.study, force=True) as again:
        assert len(again.differences) == 2


def _packages(lab: TrainedLab) -> str:
    return str(lab.warehouse.query("select packages from lab.studies").item())


def test_a_row_from_before_packages_were_kept_says_so(lab: TrainedLab, change: Change, tmp_path: Path) -> None:
    change("update lab.studies set packages = null")
    assert differences(lab, tmp_path) == {"packages": "its row does not say with which packages it ran"}


def test_settings_of_another_version_are_refused(lab: TrainedLab, change: Change, tmp_path: Path) -> None:
    stored = {"training": {"abandoned": 1}}
    change(f"update lab.studies set settings = '{json.dumps(stored)}'")
    with pytest.raises(TrainingError, match=r"those of another version \(training.abandoned"):
        differences(lab, tmp_path)


def test_an_unknown_study_or_trial_is_refused_with_those_there_are(lab: TrainedLab, tmp_path: Path) -> None:
    with lab.warehouse.read() as reader:
        with pytest.raises(UnknownName, match=f"no study 'no'; there are {lab.study}"):
            plan_again(reader, "no", tmp_path)
        with pytest.raises(UnknownName, match="no trial"):
            trial_row(reader, lab.study, 99)


def test_studies_of_other_families_are_refused(lab: TrainedLab, change: Change, tmp_path: Path) -> None:
    change("update lab.studies set kind = 'ensemble'")
    with pytest.raises(TrainingError, match="is a study of ensemble"):
        differences(lab, tmp_path)


def test_a_trial_that_did_not_complete_has_nothing_to_compare(lab: TrainedLab, change: Change) -> None:
    change("update lab.trials set state = 'pruned', reason = 'hopeless' where trial = 1")
    with (
        lab.warehouse.read() as reader,
        pytest.raises(TrainingError, match=r"/1 is pruned \(hopeless\); only a complete"),
    ):
        trial_row(reader, lab.study, 1)


def test_a_trial_ran_with_what_its_last_attempt_says(lab: TrainedLab, change: Change) -> None:
    change(f"""
        insert into lab.attempts (study, trial, attempt, outcome, batch_size, duration_s, reason, learning_rate)
        values ('{lab.study}', 0, 2, 'complete', 256, 1.0, '', 0.00125)
    """)
    with lab.warehouse.read() as reader:
        row = trial_row(reader, lab.study, 0)
        hyper = ran_with(reader, row)
    asked = Hyper.from_dict(json.loads(row["parameters"]))
    assert (hyper.batch_size, hyper.learning_rate, hyper.width) == (256, 0.00125, asked.width)
