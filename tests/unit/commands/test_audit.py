"""`cappuccino audit`: the answers of a trained model, on the screen, in JSON and in the warehouse for ever."""

import json

import pytest

from cappuccino.store import models
from tests.unit.small_market import SCHEMA
from tests.unit.trained_lab import trained_lab


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    return trained_lab(tmp_path_factory)


@pytest.fixture(scope="module")
def in_json(lab, cappuccino):
    return cappuccino("audit", f"{lab.study}/0", "--json", *lab.options)


def test_a_model_of_a_study_passes_and_every_check_is_told(lab, in_json):
    assert in_json.exit_code == 0, in_json.stdout
    told = json.loads(in_json.stdout)
    assert (told["model"], told["passed"]) == (f"{lab.study}/0", True)
    assert {check["name"] for check in told["checks"] if check["passed"]} >= {
        "scales",
        "fold_edges",
        "train_end",
        "weights",
    }


def test_a_second_audit_is_a_table_and_both_are_kept(lab, in_json, cappuccino):
    shown = cappuccino("audit", f"{lab.study}/0", *lab.options)
    assert shown.exit_code == 0
    assert "truncated_actions" in shown.stdout and "it does not look ahead" in shown.stdout
    counts = lab.warehouse.query("select audit, count(*) from lab.audits group by audit order by audit").rows()
    assert counts == [(1, 17), (2, 17)]
    assert lab.warehouse.query("select audit, passed, failed from lab.audited").rows() == [(2, True, [])]
    with lab.warehouse.read() as reader:
        results = models.run_tests(reader, SCHEMA.contracts["lab.audits"])
    assert results and all(result.passed for result in results)


def test_a_model_whose_folds_were_purged_too_little_fails(tmp_path_factory, cappuccino):
    lab = trained_lab(tmp_path_factory)
    with lab.warehouse.write() as writer:
        writer.execute("update lab.folds set to_utc = to_utc + interval 30 hours where part = 'train' and fold = 1")
    done = cappuccino("audit", f"{lab.study}/1", *lab.options)
    assert done.exit_code == 1
    assert "fold 1: 2 bars lie between training and validation, 32 are needed" in done.stdout
    assert "FAILED: 1 of 17 checks" in done.stdout


def test_an_unknown_model_is_refused(lab, cappuccino):
    done = cappuccino("audit", "nobody/7", *lab.options)
    assert done.exit_code == 2
    assert "no trained model nobody/7" in done.stderr
