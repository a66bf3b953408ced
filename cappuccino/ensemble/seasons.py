"""Whom an adaptive ensemble listens to at a bar: a pure function of the bars up to it, whatever was asked before.

Time is cut into seasons that are counted from 1970. At the start of one all M members vote. Every `drop_every_bars` the
one with the worst reward over the last `reward_bars` is left out, while more than `keep` stay; after that they stay
among themselves as long again, then all return:

    |10 ... |9 ... |8 ... |7 ... |6 ... |5 ...                         |10 ...    M = 10, keep = 5

So a row depends on a bounded past, and a process that starts anew knows at once what one that went on knows.

The reward of bar s is the sum over symbols of vote * (close[s + 1] / close[s] - 1), the vote being that of a flat
account; it is known at the close of s + 1, and counts from then on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cappuccino.ensemble.votes import in_turn
from cappuccino.market.panel import BoolArray, FloatArray


@dataclass(frozen=True)
class Recall:
    """What adaptive weights look back on."""

    reward_bars: int
    """Bars whose rewards count."""
    drop_every_bars: int
    """Bars between two that are left out."""
    keep: int
    """Members that always stay."""

    def season_bars(self, n_members: int) -> int:
        """Return the bars from one moment at which all vote to the next."""
        return 2 * self.drop_every_bars * max(n_members - self.keep, 1)

    def history_bars(self, n_members: int) -> int:
        """Return the bars before a row whose votes decide on its weights, at most."""
        return self.season_bars(n_members) - 1 + self.reward_bars


@dataclass(frozen=True)
class Season:
    """The first T rows of a season."""

    weights: FloatArray
    """(M, T) shares of the vote, together 1."""
    is_active: BoolArray
    """(M, T)."""


def rewards(votes: FloatArray, close_usd: FloatArray) -> FloatArray:
    """Return (M, S) rewards of votes (M, S, A) at bars whose closes, and the one after them, are (S + 1, A)."""
    if votes.shape[1:] != (len(close_usd) - 1, close_usd.shape[1]):
        raise ValueError(f"votes {votes.shape} need one close more than bars, found {close_usd.shape}")
    returns = close_usd[1:] / close_usd[:-1] - 1.0
    return in_turn(votes[:, :, a] * returns[:, a] for a in range(returns.shape[1]))


def season(earned: FloatArray, recall: Recall) -> Season:
    """Return a season of T rows from rewards (M, reward_bars + T - 1), the first `reward_bars` before its first row.

    Columns k .. k + reward_bars - 1 are what row k looks back on.
    """
    n_rows = earned.shape[1] - recall.reward_bars + 1
    if n_rows < 1:
        raise ValueError(f"{earned.shape[1]} rewards are too few for {recall.reward_bars} to look back on")
    recent = in_turn(earned[:, k : k + n_rows] for k in range(recall.reward_bars))
    is_active = _eliminate(recent, recall)
    return Season(_shares(recent, is_active), is_active)


def _eliminate(recent: FloatArray, recall: Recall) -> BoolArray:
    """Return who votes in each row (M, T); of equals the one that is ranked lower goes first."""
    n_members, n_rows = recent.shape
    is_active = np.ones((n_members, n_rows), dtype=bool)
    for n_gone in range(max(n_members - recall.keep, 0)):
        row = (n_gone + 1) * recall.drop_every_bars
        if row >= n_rows:
            break
        standing = np.flatnonzero(is_active[:, row])
        worst = standing[::-1][np.argmin(recent[standing[::-1], row])]
        is_active[worst, row:] = False
    return is_active


def _shares(recent: FloatArray, is_active: BoolArray) -> FloatArray:
    """Return half of the vote in equal parts, half by recent reward above 0; all in equal parts when none is above.

    A few days of rewards are mostly luck: they may shift weight, not decide alone.
    """
    equal = is_active / in_turn(is_active.astype(np.float64))
    gained = np.where(is_active, np.maximum(recent, 0.0), 0.0)
    total = in_turn(gained)
    shares: FloatArray = np.where(total > 0, 0.5 * equal + 0.5 * gained / np.where(total > 0, total, 1.0), equal)
    return shares
