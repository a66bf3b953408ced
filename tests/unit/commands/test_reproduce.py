"""`cappuccino reproduce`: equal or different, figure by figure."""

import json

import pytest

from tests.unit.trained_lab import trained_lab


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    return trained_lab(tmp_path_factory)


def test_a_trial_that_reproduces_is_told_figure_by_figure(lab, cappuccino):
    done = cappuccino("reproduce", f"{lab.study}/0", *lab.options)
    assert done.exit_code == 0, done.stderr
    assert "weight_sha256" in done.stdout and "equal: it reproduces" in done.stdout
    assert "fold 1: score" in done.stderr


def test_one_that_does_not_exits_with_1_and_names_what_differs(lab, cappuccino):
    with lab.warehouse.write() as writer:
        writer.execute("update lab.trials set equity_sha256 = 'other' where trial = 2")
    done = cappuccino("reproduce", f"{lab.study}/2", "--json", *lab.options)
    assert done.exit_code == 1
    told = json.loads(done.stdout)
    assert (told["equal"], told["device"], told["notes"]) == (False, "cpu float32", [])
    assert [one["figure"] for one in told["compared"] if one["answer"] == "DIFFERENT"] == ["equity_sha256"]


def test_an_unknown_trial_is_refused(lab, cappuccino):
    done = cappuccino("reproduce", f"{lab.study}/77", *lab.options)
    assert done.exit_code == 2 and "no trial" in done.stderr
