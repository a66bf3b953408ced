import json
from dataclasses import asdict, replace
from typing import Any

import pytest
from pydantic import ValidationError

from cappuccino.errors import ArtifactError
from cappuccino.market.interval import Interval
from cappuccino.settings import TreeSettings
from cappuccino.trees.hyper import TreeHyper
from cappuccino.trees.space import Space, Told, choose, hyper_importances

SPACE = Space.of(TreeSettings(), Interval.H1, 0.3)


def ran(n: int) -> list[Told]:
    """Trials that liked short horizons."""
    made = [choose(SPACE, 7, trial, 50, []) for trial in range(n)]
    return [Told(trial, hyper, -float(hyper.horizon_bars)) for trial, hyper in enumerate(made)]


def test_horizons_are_hours_in_bars_and_at_least_one() -> None:
    assert SPACE.horizons == (1, 48)
    assert Space.of(TreeSettings(), Interval.M15, 0.3).horizons == (4, 192)
    assert Space.of(TreeSettings(), Interval.D1, 0.3).horizons == (1, 2)
    assert Space.of(TreeSettings(horizon_hours=(1, 6)), Interval.D1, 0.3).horizons == (1, 1)


def test_a_choice_is_a_function_of_seed_number_and_results() -> None:
    known = ran(12)
    assert choose(SPACE, 7, 20, 8, known) == choose(SPACE, 7, 20, 8, list(known))
    assert len({choose(SPACE, 7, trial, 8, known) for trial in range(20, 24)}) == 4
    assert choose(SPACE, 7, 20, 8, known) != choose(SPACE, 8, 20, 8, known)
    assert choose(SPACE, 7, 20, 8, known) != choose(SPACE, 7, 20, 8, known[:9])


def test_failed_trials_teach_the_sampler_nothing() -> None:
    known = ran(12)
    failed = [replace(told, score=None) if told.trial % 3 == 0 else told for told in known]
    completed = [told for told in failed if told.score is not None]
    assert choose(SPACE, 7, 20, 4, failed) == choose(SPACE, 7, 20, 4, completed)


def test_what_decided_the_scores_is_found() -> None:
    shares = hyper_importances(SPACE, ran(40))
    assert max(shares, key=lambda name: shares[name]) == "horizon_bars"
    assert sum(shares.values()) == pytest.approx(1.0)


def test_of_few_trials_or_equal_scores_nothing_is_said() -> None:
    assert hyper_importances(SPACE, ran(9)) == {}
    assert hyper_importances(SPACE, [replace(told, score=0.0) for told in ran(12)]) == {}


def test_hyper_parameters_come_back_from_json() -> None:
    hyper = choose(SPACE, 7, 3, 8, [])
    assert TreeHyper.from_dict(json.loads(json.dumps(hyper.to_dict()))) == hyper
    whole_numbers = {**hyper.to_dict(), "l2": 3, "leaves": 8.0, "knows_symbol": 1}
    assert asdict(TreeHyper.from_dict(whole_numbers)) == asdict(replace(hyper, l2=3.0, leaves=8, knows_symbol=True))


@pytest.mark.parametrize("change", [{"learner": "ppo"}, {"branches": 3}])
def test_parameters_of_others_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ArtifactError, match="use the version that wrote them"):
        TreeHyper.from_dict({**TreeHyper().to_dict(), **change})
    fewer = {name: value for name, value in TreeHyper().to_dict().items() if name != "leaves"}
    with pytest.raises(ArtifactError, match=r"lack \['leaves'\]"):
        TreeHyper.from_dict(fewer)


def test_a_range_of_hours_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(ValidationError, match="6 to 2 hours is no range"):
        TreeSettings(horizon_hours=(6, 2))
