"""Does choosing the best trial choose anything? The probability of backtest overfitting (PBO).

Combinatorially symmetric cross-validation (Bailey, Borwein, López de Prado & Zhu, "The Probability of Backtest
Overfitting", Journal of Computational Finance 20(4), 2017): cut the periods into S blocks; for each of the ways to take
half of them, choose the trial with the best Sharpe there and look where it stands in the other half.

A Sharpe needs a sum and a sum of squares only, so blocks are summed once and every half is one row of a matrix product.
A half and its complement are both halves, so each product serves two of them.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache
from itertools import combinations

import numpy as np
import numpy.typing as npt

from cappuccino.market.panel import BoolArray, FloatArray
from cappuccino.validation.deflated import NO_VARIANCE
from cappuccino.validation.ranks import midranks

N_BLOCKS = 16
TIE = 1e-12
"""Per-period Sharpes no further apart are equal: equal columns leave a matrix product with rounding between them."""
_CHUNK_CELLS = 1 << 15  # a few arrays of a quarter megabyte stay in the cache


@dataclass(frozen=True)
class Overfitting:
    """What became of the best of one half of the periods in the other half, over all C halves."""

    pbo: float
    """Share of halves whose best trial lies below the median of the other half; exactly on it counts one half."""
    logits: FloatArray
    """(C,) ln(w / (1 - w)), w = rank / (N + 1) of that trial in the other half; in the order of `combinations`."""
    slope: float
    """Of the least-squares line from the best's per-period Sharpe to the same trial's in the other half; 0 when all
    halves have the same best Sharpe. One dominating trial brings it towards -1: what one half has, the other lacks."""
    intercept: float
    loss_probability: float
    """Share of halves whose best trial lost in the other half."""


@dataclass(frozen=True)
class _Picks:
    """(C,) each: the best of a half, there and in the other half."""

    inside: FloatArray
    outside: FloatArray
    rank: FloatArray
    is_loss: FloatArray
    """Share of the tied best that lost."""


def probability_of_backtest_overfitting(returns: FloatArray, n_blocks: int = N_BLOCKS) -> Overfitting:
    """Return what choosing the best of N trials by their per-period returns (T, N) was worth.

    Blocks differ by at most one period when T is no multiple. A trial that does not vary within a half (cash) has a
    Sharpe of 0 there. Trials that are equally good share their rank; where several are best, their mean counts, so
    the order of trials never matters. Raises ValueError on NaN, fewer than two trials, an odd number of blocks, or
    blocks of fewer than two periods.
    """
    _check(returns, n_blocks)
    blocks = _Blocks.of(returns, n_blocks)
    halves = _halves(n_blocks)
    n_rows = max(1, _CHUNK_CELLS // returns.shape[1])
    chunks = [blocks.picks(halves[row : row + n_rows]) for row in range(0, len(halves), n_rows)]
    front, back = (_joined([chunk[side] for chunk in chunks]) for side in (0, 1))
    # The complement of the i-th combination is the i-th from the end.
    return _summary(_joined([front, _reversed(back)]), returns.shape[1])


@dataclass(frozen=True)
class _Blocks:
    """(S, N) sums of the returns and of their squares, (S,) lengths."""

    sums: FloatArray
    squares: FloatArray
    lengths: FloatArray

    @classmethod
    def of(cls, returns: FloatArray, n_blocks: int) -> _Blocks:
        # Squares of tiny returns would underflow; the Sharpe does not know the scale.
        largest = np.abs(returns).max(axis=0)
        unit = returns / np.where(largest > 0, largest, 1.0)
        edges = np.linspace(0, len(returns), n_blocks + 1).astype(int)
        sums, squares = (np.add.reduceat(values, edges[:-1], axis=0) for values in (unit, unit**2))
        return cls(sums, squares, np.diff(edges).astype(np.float64))

    def picks(self, halves: FloatArray) -> tuple[_Picks, _Picks]:
        """Return the picks of `halves` (C, S) and of their complements."""
        front, back = self._sharpes(halves), self._sharpes(1.0 - halves)
        return _picks(front, back), _picks(back, front)

    def _sharpes(self, halves: FloatArray) -> FloatArray:
        """Return the per-period Sharpe of each trial over the blocks of each half; (C, S) -> (C, N)."""
        n = (halves @ self.lengths)[:, None]
        total, square = halves @ self.sums, halves @ self.squares
        deviation = square - total * total / n
        deviation[deviation <= NO_VARIANCE * square] = np.inf
        sharpe: FloatArray = total * (np.sqrt(n - 1) / n) / np.sqrt(deviation)
        return sharpe


def _check(returns: FloatArray, n_blocks: int) -> None:
    if n_blocks < 2 or n_blocks % 2:
        raise ValueError(f"{n_blocks} blocks cannot be halved")
    if returns.ndim != 2 or returns.shape[1] < 2 or len(returns) < 2 * n_blocks:
        raise ValueError(f"returns are {returns.shape}; {n_blocks} blocks need two trials and {2 * n_blocks} periods")
    if not np.isfinite(returns).all():
        raise ValueError("a return is NaN or infinite")


@cache
def _halves(n_blocks: int) -> FloatArray:
    """Return the halves that hold the first block, (C / 2, S) of ones and zeros; their complements are the rest."""
    chosen = np.array(list(combinations(range(1, n_blocks), n_blocks // 2 - 1)), dtype=int)
    halves = np.zeros((len(chosen), n_blocks))
    halves[:, 0] = 1.0
    np.put_along_axis(halves, chosen, 1.0, axis=1)
    halves.setflags(write=False)
    return halves


def _picks(inside: FloatArray, outside: FloatArray) -> _Picks:
    """Return where the best of each row of `inside` stands in `outside`; both (C, N)."""
    best = inside.max(axis=1)
    is_best = inside >= best[:, None] - TIE
    row = np.arange(len(inside))
    value = outside[row, is_best.argmax(axis=1)]
    n_below = np.count_nonzero(outside < value[:, None] - TIE, axis=1)
    n_through = np.count_nonzero(outside <= value[:, None] + TIE, axis=1)
    picks = _Picks(best, value, (n_below + n_through + 1) / 2, (value < -TIE).astype(float))
    tied = np.flatnonzero(np.count_nonzero(is_best, axis=1) > 1)
    return picks if len(tied) == 0 else _shared(picks, tied, is_best[tied], outside[tied])


def _shared(picks: _Picks, tied: npt.NDArray[np.intp], is_best: BoolArray, outside: FloatArray) -> _Picks:
    """Return `picks` with the means over all best trials in the `tied` rows."""
    n_best = is_best.sum(axis=1)
    for figure, values in (
        (picks.outside, outside),
        (picks.rank, midranks(outside, TIE)),
        (picks.is_loss, outside < -TIE),
    ):
        figure[tied] = (values * is_best).sum(axis=1) / n_best
    return picks


def _joined(parts: list[_Picks]) -> _Picks:
    return _Picks(*(np.concatenate([getattr(part, figure.name) for part in parts]) for figure in fields(_Picks)))


def _reversed(picks: _Picks) -> _Picks:
    return _Picks(picks.inside[::-1], picks.outside[::-1], picks.rank[::-1], picks.is_loss[::-1])


def _summary(picks: _Picks, n_trials: int) -> Overfitting:
    place = picks.rank / (n_trials + 1)
    logits = np.log(place / (1 - place))
    slope, intercept = line(picks.inside, picks.outside)
    middle = np.isclose(place, 0.5, rtol=0.0, atol=1e-9)
    return Overfitting(
        pbo=float(np.where(middle, 0.5, place < 0.5).mean()),
        logits=logits,
        slope=slope,
        intercept=intercept,
        loss_probability=float(picks.is_loss.mean()),
    )


def line(x: FloatArray, y: FloatArray) -> tuple[float, float]:
    """Return slope and intercept of the least-squares line; slope 0 when x does not vary."""
    deviation = x - x.mean()
    square = float(deviation @ deviation)
    slope = float(deviation @ y) / square if square > NO_VARIANCE * float(x @ x) else 0.0
    return slope, float(y.mean() - slope * x.mean())
