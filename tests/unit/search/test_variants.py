"""Good trials with one thing changed: always the same variants, trained once, however often the probe is stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from cappuccino.errors import TrainingDiverged, TrainingError
from cappuccino.rl.hyper import Hyper
from cappuccino.search.diary import Diary
from cappuccino.search.outcome import Report
from cappuccino.search.pools import TrialPool
from cappuccino.search.trial import TrialTask
from cappuccino.search.trial_result import TrialResult
from cappuccino.search.variants import Probe, Probed, probe_study, variants_of
from cappuccino.search.workers import Ended, FoldScored
from cappuccino.settings import TrainingSettings
from cappuccino.store import models
from tests.unit.small_market import SCHEMA
from tests.unit.trained_lab import PoolHere, TrainedLab, trained_lab

HYPER = Hyper(turnover_penalty=1e-3, time_decay=1e-4)


@pytest.fixture
def lab(tmp_path_factory: pytest.TempPathFactory) -> TrainedLab:
    return trained_lab(tmp_path_factory)


class Stopped(Exception):  # noqa: N818 - an event, not an error
    """The probe was stopped here."""


class StopsAfter(PoolHere):
    """A pool whose program is stopped after some ends."""

    def __init__(self, n_ends: int) -> None:
        super().__init__()
        self._n_ends = n_ends

    def events(self, timeout_s: float | None = None) -> Iterator[FoldScored | Ended]:
        for event in super().events(timeout_s):
            if isinstance(event, Ended) and not self._n_ends:
                raise Stopped
            self._n_ends -= isinstance(event, Ended)
            yield event


def diverge(task: TrialTask, report: Report, diary: Diary) -> TrialResult:
    raise TrainingDiverged("the loss is not a number")


def probe(
    lab: TrainedLab,
    asked: Probe,
    make_pool: Callable[[TrainingSettings], AbstractContextManager[TrialPool]] = lambda _: PoolHere(),
) -> Probed:
    return probe_study(lab.warehouse, lab.settings, lab.study, asked, lambda line: None, make_pool=make_pool)


def test_variants_change_one_thing_and_are_always_the_same() -> None:
    made = variants_of(3, 7, HYPER, Probe(n_seeds=4, ablate=True))
    assert made == variants_of(3, 7, HYPER, Probe(n_seeds=4, ablate=True))
    seeds, parts = made[:4], made[4:]
    assert len({one.seed for one in seeds} | {7}) == 5
    assert all((one.hyper, one.name) == (HYPER, str(one.seed)) for one in seeds)
    assert {one.name: one.hyper for one in parts} == {
        "turnover_penalty": Hyper(time_decay=1e-4),
        "time_decay": Hyper(turnover_penalty=1e-3),
    }
    assert {one.seed for one in parts} == {7}


def test_more_seeds_keep_those_that_were_tried() -> None:
    few, many = (variants_of(3, 7, HYPER, Probe(n_seeds=n)) for n in (2, 5))
    assert many[:2] == few


def test_a_probe_that_was_stopped_goes_on_and_trains_nothing_twice(lab: TrainedLab) -> None:
    with pytest.raises(Stopped):
        probe(lab, Probe(n_seeds=2), lambda _: StopsAfter(1))
    assert len(lab.warehouse.query("from lab.variants")) == 1
    first = lab.warehouse.query("from lab.variants").rows()
    assert probe(lab, Probe(n_seeds=2)) == Probed(n_done_before=1, n_complete=1, n_failed=0)
    assert first[0] in lab.warehouse.query("from lab.variants").rows()
    assert probe(lab, Probe(n_seeds=2)) == Probed(n_done_before=2, n_complete=0, n_failed=0)
    assert list((lab.settings.warehouse / "scratch").iterdir()) == []


def test_views_compare_seeds_and_parts_with_the_best_trial(lab: TrainedLab) -> None:
    made = probe(lab, Probe(n_seeds=2, ablate=True))
    assert made.n_complete == 2 + 5
    best = lab.warehouse.query("select arg_max(trial, score), max(score) from lab.trials").row(0)
    luck = lab.warehouse.query("select trial, score, n_seeds, min_score <= max_score from lab.seed_sensitivity").rows()
    assert luck == [(*best, 2, True)]
    parts = lab.warehouse.query("select part, weight, score_without from lab.reward_ablation").rows()
    assert len(parts) == 5 and all(weight > 0 and score is not None for _, weight, score in parts)
    with lab.warehouse.read() as reader:
        for name in (
            "variants",
            "seed_sensitivity",
            "reward_ablation",
            "convergence",
            "worst_trials",
            "worst_parameters",
        ):
            results = models.run_tests(reader, (SCHEMA.contracts | SCHEMA.models)[f"lab.{name}"])
            assert all(result.passed for result in results), name


def test_a_variant_that_fails_is_told_with_its_reason_and_tried_again(lab: TrainedLab) -> None:
    assert probe(lab, Probe(n_seeds=1), lambda _: PoolHere(diverge)).n_failed == 1
    assert lab.warehouse.query("select state, score, reason from lab.variants").rows() == [
        ("failed", None, "the loss is not a number")
    ]
    assert lab.warehouse.query("select n_seeds, n_failed from lab.seed_sensitivity").rows() == [(0, 1)]
    assert probe(lab, Probe(n_seeds=1)).n_complete == 1
    assert lab.warehouse.query("select state from lab.variants").rows() == [("complete",)]


def test_nothing_is_trained_without_workers_or_completed_trials(lab: TrainedLab) -> None:
    idle = lab.settings.model_copy(update={"training": lab.settings.training.model_copy(update={"workers": 0})})
    with pytest.raises(TrainingError, match=r"training\.workers is 0"):
        probe_study(lab.warehouse, idle, lab.study, Probe(), lambda line: None)
    with lab.warehouse.write() as writer:
        writer.execute("update lab.trials set state = 'failed', score = null")
    with pytest.raises(TrainingError, match="nothing to vary"):
        probe(lab, Probe())
