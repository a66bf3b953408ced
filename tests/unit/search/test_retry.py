"""What follows from how the attempts at a trial ended."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cappuccino.rl.hyper import Hyper
from cappuccino.search.retry import MAX_RETRIES, MIN_BATCH, batch_after, hyper_after, may_retry

RETRIED = ("out_of_memory", "killed", "diverged", "disk_full")
OUTCOMES = st.lists(st.sampled_from([*RETRIED, "interrupted"]), max_size=12)


@pytest.mark.parametrize("outcome", RETRIED)
def test_each_lack_is_answered_three_times(outcome: str) -> None:
    assert [may_retry([outcome] * n) for n in range(1, 6)] == [True] * MAX_RETRIES + [False] * 2


def test_memory_and_kills_count_together_and_apart_from_the_rest() -> None:
    assert not may_retry(["killed", "out_of_memory", "killed", "out_of_memory"])
    assert may_retry(["killed", "out_of_memory", "killed", "diverged"])
    assert may_retry(["disk_full", "interrupted", "disk_full", "interrupted", "disk_full"])


@pytest.mark.parametrize("outcome", ["complete", "pruned", "failed"])
def test_other_ends_are_final(outcome: str) -> None:
    assert not may_retry([outcome])


def test_divergence_halves_the_learning_rate_and_nothing_else() -> None:
    asked = Hyper(learning_rate=1e-3, batch_size=2048)
    assert hyper_after(asked, ()) == asked == hyper_after(asked, ("disk_full", "interrupted", "killed"))
    twice = hyper_after(asked, ("diverged", "interrupted", "diverged"))
    assert (twice.learning_rate, twice.batch_size) == (2.5e-4, 2048)


@given(st.integers(1, 1 << 14), OUTCOMES)
def test_a_batch_never_grows_and_stays_large_enough(asked: int, outcomes: list[str]) -> None:
    batches = [batch_after(asked, outcomes[:n]) for n in range(len(outcomes) + 1)]
    assert batches[0] == asked
    assert all(later in (earlier, max(earlier // 2, min(asked, MIN_BATCH))) for earlier, later in pairwise(batches))


@given(OUTCOMES, st.randoms(use_true_random=False))
def test_hyper_parameters_rest_on_how_often_and_not_on_the_order(outcomes: list[str], random: Random) -> None:
    shuffled = sorted(outcomes, key=lambda _: random.random())
    assert hyper_after(Hyper(), outcomes) == hyper_after(Hyper(), shuffled)


@given(OUTCOMES)
def test_no_trial_is_tried_for_ever(outcomes: list[str]) -> None:
    n_tried = sum(outcome != "interrupted" for outcome in outcomes)
    if outcomes and n_tried > 3 * MAX_RETRIES + 2:
        assert not all(may_retry(outcomes[: n + 1]) for n in range(len(outcomes)) if outcomes[n] != "interrupted")
