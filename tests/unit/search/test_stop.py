"""When a study and a trial stop, and what becomes of a trial whose process ended badly."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cappuccino.search.retry import MAX_RETRIES, MIN_BATCH, batch_after, may_retry
from cappuccino.search.stop import has_converged, hopeless

scores = st.lists(st.floats(-5, 5), max_size=30)


def test_a_study_converges_when_the_newest_scores_beat_the_earlier_ones_by_less_than_asked() -> None:
    assert not has_converged([1.0, 0.2, 1.1], patience=2, min_improvement=0.1)
    assert has_converged([1.0, 0.2, 1.09], patience=2, min_improvement=0.1)
    assert has_converged([1.0, 2.0, 1.5, 1.9], patience=2, min_improvement=0.01)
    assert not has_converged([1.0, 1.0, 1.0], patience=2, min_improvement=0.0)


def test_a_study_does_not_converge_before_there_are_more_scores_than_its_patience() -> None:
    assert not has_converged([], patience=1, min_improvement=0.1)
    assert not has_converged([3.0, 1.0, 1.0], patience=3, min_improvement=0.1)
    assert has_converged([3.0, 1.0, 1.0, 1.0], patience=3, min_improvement=0.1)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(scores, st.integers(1, 10), st.floats(0.01, 1))
def test_a_study_that_converged_goes_on_once_a_new_best_comes(before: list[float], patience: int, rise: float) -> None:
    assert not has_converged([*before, max(before, default=0.0) + 2 * rise], patience, rise)


def test_a_trial_is_hopeless_below_the_median_of_the_others_at_the_same_fold() -> None:
    others = [(1.0, 5.0), (2.0, 5.0), (9.0, 5.0)]
    assert hopeless([2.0], others, startup_trials=3) is None
    assert hopeless([1.9], others, startup_trials=3) == (
        "mean score 1.900 after 1 folds is below the median 2.000 of 3 trials"
    )
    # Means over two folds are 3, 3.5 and 7.
    assert hopeless([3.0, 4.0], others, startup_trials=3) is None
    assert hopeless([3.0, 3.9], others, startup_trials=3) is not None


def test_no_trial_is_hopeless_while_too_few_are_there_to_compare_with() -> None:
    assert hopeless([-9.0], [(1.0, 1.0)] * 4, startup_trials=5) is None
    assert hopeless([-9.0, -9.0], [(1.0, 1.0)] * 4 + [(1.0,)], startup_trials=5) is None


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.lists(st.floats(-5, 5), min_size=1, max_size=9))
def test_the_best_of_all_is_never_hopeless(firsts: list[float]) -> None:
    assert hopeless([max(firsts)], [(first,) for first in firsts], startup_trials=1) is None


@pytest.mark.parametrize(
    ("outcomes", "batch", "again"),
    [
        (("out_of_memory",), 2048, True),
        (("out_of_memory",) * 3, 512, True),
        (("out_of_memory",) * 4, 256, False),
        (("killed",), 4096, True),
        (("killed", "killed"), 2048, True),
        (("killed", "out_of_memory"), 2048, True),
        (("failed",), 4096, False),
        (("pruned",), 4096, False),
        (("interrupted", "interrupted", "interrupted", "interrupted", "killed"), 4096, True),
    ],
)
def test_a_batch_halves_when_memory_ends_and_not_for_the_first_kill(
    outcomes: tuple[str, ...], batch: int, again: bool
) -> None:
    assert batch_after(4096, outcomes) == batch
    assert may_retry(outcomes) is again


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.lists(st.sampled_from(["out_of_memory", "killed", "interrupted"]), max_size=12), st.integers(1, 8192))
def test_batches_only_shrink_and_retries_end(outcomes: list[str], asked: int) -> None:
    batches = [batch_after(asked, outcomes[:n]) for n in range(len(outcomes) + 1)]
    assert batches == sorted(batches, reverse=True)
    assert batches[0] == asked
    assert batches[-1] >= min(asked, MIN_BATCH)
    n_retried = sum(outcome != "interrupted" for outcome in outcomes)
    assert n_retried <= MAX_RETRIES or not may_retry(outcomes)
