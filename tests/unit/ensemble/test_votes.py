from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cappuccino.ensemble.votes import VOTES, Ballot, agreement, equal_shares, in_turn, outcome, score_shares

ALL = np.ones(3, dtype=bool)
THREE = torch.tensor([[[1.0, -1.0]], [[0.4, -0.5]], [[-0.2, 0.3]]], dtype=torch.float64)
"""Three members, one account, two symbols."""


def test_the_trial_numbers_of_the_kinds_never_change() -> None:
    assert VOTES == ("mean", "median", "score", "adaptive")


def test_a_mean_counts_every_vote_alike() -> None:
    found = outcome("mean", Ballot(THREE, equal_shares(3), ALL))
    assert found.tolist() == [[pytest.approx(0.4), pytest.approx(-0.4)]]


def test_a_median_is_the_vote_in_the_middle() -> None:
    assert outcome("median", Ballot(THREE, equal_shares(3), ALL)).tolist() == [[0.4, -0.5]]


def test_a_median_of_an_even_number_is_the_mean_of_the_two_in_the_middle() -> None:
    four = torch.cat([THREE, torch.tensor([[[0.0, 0.9]]], dtype=torch.float64)])
    found = outcome("median", Ballot(four, equal_shares(4), np.ones(4, dtype=bool)))
    assert found.tolist() == [[pytest.approx(0.2), pytest.approx(-0.1)]]


def test_weighted_votes_count_by_their_shares() -> None:
    for vote in ("score", "adaptive"):
        found = outcome(vote, Ballot(THREE, np.array([0.5, 0.25, 0.25]), ALL))
        assert found.tolist() == [[pytest.approx(0.55), pytest.approx(-0.55)]]


def test_agreement_is_the_share_of_the_vote_that_would_do_what_comes_of_it() -> None:
    votes = torch.tensor([[[0.9, -0.5]], [[-0.1, -1.0]], [[0.2, 0.3]]], dtype=torch.float64)
    ballot = Ballot(votes, np.array([0.5, 0.3, 0.2]), np.ones(3, dtype=bool))
    assert agreement(ballot, outcome("mean", ballot))[0].tolist() == pytest.approx([0.7, 0.8])
    assert agreement(ballot, torch.zeros(1, 2))[0].tolist() == pytest.approx([0.3, 0.8])  # nothing is no buy


def test_shares_follow_scores_and_none_is_negative() -> None:
    assert score_shares([3.0, 1.0, -2.0]).tolist() == [0.75, 0.25, 0.0]


def test_shares_are_equal_when_no_score_is_positive() -> None:
    assert score_shares([-1.0, 0.0]).tolist() == [0.5, 0.5]


@given(st.lists(st.lists(st.floats(-1, 1), min_size=2, max_size=2), min_size=1, max_size=9), st.data())
def test_an_outcome_lies_between_the_votes(votes: list[list[float]], data: st.DataObject) -> None:
    scores = data.draw(st.lists(st.floats(-3, 3), min_size=len(votes), max_size=len(votes)))
    cast = torch.tensor(votes, dtype=torch.float64).unsqueeze(1)
    for vote in VOTES:
        ballot = Ballot(cast, score_shares(scores), np.ones(len(votes), dtype=bool))
        found = outcome(vote, ballot)[0]
        assert (found <= cast.amax(dim=0)[0] + 1e-12).all()
        assert (found >= cast.amin(dim=0)[0] - 1e-12).all()


def test_a_batch_adds_up_like_each_row_alone() -> None:
    rows = np.random.default_rng(0).normal(size=(200, 5, 333))
    whole = in_turn(iter(rows))
    for k in range(0, 333, 37):
        assert np.array_equal(in_turn(iter(rows[:, :, k : k + 1]))[:, 0], whole[:, k])
