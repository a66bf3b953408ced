"""`cappuccino study`: the page and the figures of a finished study, and more training of its best trials."""

import json
from pathlib import Path

import pytest

from tests.unit.trained_lab import PoolHere, trained_lab


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    return trained_lab(tmp_path_factory)


@pytest.fixture(scope="module")
def probed(lab):
    """Two other seeds, and every part of the reward left out, in this process."""
    from cappuccino.search.variants import Probe, probe_study

    said = []
    asked = Probe(n_seeds=2, ablate=True)
    probe_study(lab.warehouse, lab.settings, lab.study, asked, said.append, make_pool=lambda _: PoolHere())
    return said


def test_the_report_of_the_newest_study_needs_no_name(lab, cappuccino, probed):
    named = cappuccino("study", "report", lab.study, "--json", *lab.options)
    assert named.exit_code == 0, named.stderr
    assert cappuccino("study", "report", "--json", *lab.options).stdout == named.stdout
    told = json.loads(named.stdout)
    assert (told["study"], told["n_complete"], told["n_failed"]) == (lab.study, 3, 0)
    assert len(told["seeds"]) == 1 and len(told["ablation"]) == 5 and len(told["worst_trials"]) == 1
    page = Path(told["page"]).read_text()
    for words in (
        "Convergence",
        "The luck of the seed",
        "The reward, part by part",
        "The worst tenth",
        "Simulated market",
    ):
        assert words in page


def test_the_report_as_tables(lab, cappuccino, probed):
    done = cappuccino("study", "report", *lab.options)
    assert done.exit_code == 0
    for title in ("How trials ended", "The luck of the seed", "What the worst tenth has in common"):
        assert title in done.stdout
    assert done.stdout.strip().endswith(f"{lab.study}.html")


def test_a_probe_that_has_nothing_left_to_do_shows_what_is_there(lab, cappuccino, probed):
    done = cappuccino("study", "probe", "--seeds", "2", "--ablate", "--json", *lab.options)
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["study"], told["n_done_before"], told["n_complete"]) == (lab.study, 7, 0)
    assert {row["part"] for row in told["ablation"]} >= {"time_decay", "turnover_penalty"}
    assert "0 variants to train, 7 are there" in done.stderr
    assert any(line.startswith("trial ") and ", seed " in line for line in probed)


def test_an_unknown_study_is_refused_with_those_there_are(lab, cappuccino):
    done = cappuccino("study", "report", "nothing", *lab.options)
    assert done.exit_code == 2
    assert lab.study in done.stderr


def test_before_the_first_study_there_is_nothing_to_report(first_day, cappuccino):
    done = cappuccino("study", "report", "--warehouse", first_day)
    assert done.exit_code == 2 and "no study has been run yet" in done.stderr
