"""What the next trial tries."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cappuccino.rl.hyper import Hyper
from cappuccino.search.suggest import Sampler, Space, Told, importances, random_hyper, seed_of, space_of
from tests.unit.search.fakes import settings_in

SPACE: Space = space_of(settings_in(Path("warehouse"), max_width=128))


def told(n: int, n_pruned: int = 0) -> list[Told]:
    """Return trials at random whose score is their learning rate, the last of them pruned after one fold."""
    found = []
    for trial in range(n):
        hyper = random_hyper(SPACE, 3, trial)
        score = 1000 * hyper.learning_rate
        found.append(Told(trial, hyper, score if trial < n - n_pruned else None, (score,)))
    return found


def sampler(results: list[Told], seed: int = 7) -> Sampler:
    fresh = Sampler(SPACE, seed, startup_trials=5)
    for one in results:
        fresh.tell(one)
    return fresh


@settings(derandomize=True, deadline=None, max_examples=15)
@given(st.integers(0, 14), st.sets(st.integers(0, 20), max_size=4))
def test_a_choice_depends_on_what_was_told_not_on_what_was_asked_between(n: int, asked: set[int]) -> None:
    """A study that went on after it was killed has asked less, and chooses the same."""
    straight, busy = sampler(told(n, n // 3)), Sampler(SPACE, 7, startup_trials=5)
    for one in told(n, n // 3):
        if one.trial in asked:
            busy.ask(one.trial)
        busy.tell(one)
    assert busy.ask(20) == straight.ask(20) == straight.ask(20)


def test_trials_differ_and_so_do_studies() -> None:
    ask = sampler([]).ask
    assert len({ask(trial) for trial in range(12)}) == 12
    assert ask(3) != sampler([], seed=8).ask(3)


def test_the_sampler_goes_where_scores_are_good() -> None:
    informed, blind = sampler(told(30)), sampler([])
    rates = [[one.ask(trial).learning_rate for trial in range(100, 116)] for one in (informed, blind)]
    assert sum(rates[0]) > 1.5 * sum(rates[1])


def test_the_sampler_learns_from_pruned_trials_and_not_from_failed_ones() -> None:
    results = told(12)
    failed = Told(12, random_hyper(SPACE, 3, 50), None)
    pruned = Told(12, failed.hyper, None, (-3.0,))
    assert failed.is_failed and not pruned.is_failed and not results[0].is_failed
    samplers = [sampler([*results, *last]) for last in ([], [failed], [pruned] * 9)]
    without, with_failed, with_pruned = ([one.ask(trial) for trial in range(40, 46)] for one in samplers)
    assert with_failed == without
    assert with_pruned != without


def test_seeds_differ_by_study_and_trial() -> None:
    assert len({seed_of(seed, trial) for seed in range(20) for trial in range(50)}) == 1000


def test_pairs_of_one_round_get_equal_hyper_parameters() -> None:
    assert random_hyper(SPACE, 7, 2) == random_hyper(SPACE, 7, 2)
    assert random_hyper(SPACE, 7, 2) != random_hyper(SPACE, 7, 3)


def test_a_hyper_parameter_that_decides_everything_has_the_largest_importance() -> None:
    found = importances(SPACE, told(40))
    assert max(found, key=lambda name: found[name]) == "learning_rate"
    assert sum(found.values()) == pytest.approx(1.0)
    assert set(found) < set(Hyper().to_dict())


def test_few_or_equal_scores_say_nothing_about_importance() -> None:
    assert importances(SPACE, told(9)) == {}
    assert importances(SPACE, told(14, n_pruned=5)) == {}
    equal = [Told(one.trial, one.hyper, 0.0, (0.0,)) for one in told(20)]
    assert importances(SPACE, equal) == {}


def test_a_space_with_one_width_only_is_sampled_and_explained() -> None:
    space = space_of(settings_in(Path("warehouse"), max_width=64))
    results = [Told(n, random_hyper(space, 3, n), float(n)) for n in range(12)]
    narrow = Sampler(space, 7, startup_trials=2)
    for one in results:
        narrow.tell(one)
    assert narrow.ask(12).width == 64
    assert "learning_rate" in importances(space, results)
