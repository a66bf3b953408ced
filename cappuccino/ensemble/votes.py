"""From the votes of several members to one action.

mean      every vote counts alike
median    the middle vote, of an even number the mean of the two in the middle
score     votes count by validation score; a score that is not positive counts nothing while another is
adaptive  votes count by recent reward, and the worst are left out for a time: `seasons`
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from cappuccino.market.panel import BoolArray, FloatArray

Vote = Literal["mean", "median", "score", "adaptive"]
VOTES: tuple[Vote, ...] = get_args(Vote)
"""In the order of their trial numbers."""


@dataclass(frozen=True)
class Ballot:
    """The votes of M members on one bar, for N accounts."""

    votes: Tensor
    """(M, N, A) float64 actions in [-1, 1]."""
    weights: FloatArray
    """(M,) shares of the vote, together 1; of a median, equal shares."""
    is_active: BoolArray
    """(M,) false where an adaptive ensemble leaves a member out."""


def outcome(vote: Vote, ballot: Ballot) -> Tensor:
    """Return the action (N, A) that the members agree on."""
    return median(ballot.votes) if vote == "median" else weighted(ballot.votes, ballot.weights)


def agreement(ballot: Ballot, action: Tensor) -> Tensor:
    """Return the share of the vote (N, A) that has the sign of `action`, what came of it: all buy, or all do not."""
    agrees = (ballot.votes > 0.0) == (action > 0.0)
    return weighted(agrees.to(torch.float64), ballot.weights)


def median(votes: Tensor) -> Tensor:
    """Return the middle of (M, N, A) votes over the members."""
    ordered, n = votes.sort(dim=0).values, len(votes)
    return (ordered[(n - 1) // 2] + ordered[n // 2]) / 2.0


def weighted(votes: Tensor, weights: FloatArray) -> Tensor:
    """Return the sum of (M, N, A) votes times their shares (M,), which are not negative and together 1."""
    # One member after the other, so that a batch of accounts rounds like each of them.
    total = torch.zeros_like(votes[0])
    for one, weight in zip(votes, weights.tolist(), strict=True):
        total = total + one * weight
    return total.clamp(-1.0, 1.0)


def equal_shares(n: int) -> FloatArray:
    """Return (n,) equal shares."""
    return np.full(n, 1.0 / n)


def score_shares(scores: Sequence[float]) -> FloatArray:
    """Return shares in proportion to scores, none below 0; equal ones when no score is positive."""
    positive = np.maximum(np.array(scores, dtype=np.float64), 0.0)
    total = positive.sum()
    shares: FloatArray = positive / total if total > 0 else equal_shares(len(positive))
    return shares


def in_turn(rows: Iterable[FloatArray]) -> FloatArray:
    """Return the sum of equally shaped arrays, added one after the other.

    numpy's own sum adds in an order that depends on the shape, and so rounds a row of a batch unlike the row alone.
    """
    first, *others = rows
    total = first.copy()
    for row in others:
        total = total + row
    return total
