"""How much of what validation promised the holdout kept.

Trials of one study resemble each other, so the p-value, which takes them as independent, is too small rather than too
large: believe a high one, doubt a low one.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import numpy as np

from cappuccino.market.panel import FloatArray
from cappuccino.validation.pbo import line
from cappuccino.validation.ranks import midranks

N_SHUFFLES = 4_999
EXACT_UP_TO = 7
"""So few trials have at most 5,040 orders: all are looked at."""
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Decay:
    """The validation scores of N trials beside their holdout scores."""

    n_trials: int
    spearman: float
    """Rank correlation; 0 where either side is all equal."""
    p_value: float
    """Probability of so high a rank correlation if the holdout knew nothing of validation, by permutation."""
    pearson: float
    slope: float
    """Of the least-squares line from validation to holdout: 1 keeps everything, 0 nothing."""
    mean_decay: float
    """Mean of validation minus holdout."""
    stayed_positive_frac: float
    """Of the trials positive in validation, the share positive in the holdout; 0 when there were none."""
    best_place: int
    """Place in the holdout of the trial that was best in validation, 1 = first; behind its equals."""
    best_holdout: float
    """Its holdout score."""


def decay(validation: FloatArray, holdout: FloatArray, seed: int = 0) -> Decay:
    """Return what became of validation scores (N,) in the holdout (N,), the same trials in the same order.

    Of trials equally best in validation the first counts. Raises ValueError on NaN, other shapes or no trial.
    """
    if validation.ndim != 1 or validation.shape != holdout.shape or len(validation) == 0:
        raise ValueError(f"validation is {validation.shape}, holdout {holdout.shape}; both must be (N,)")
    if not (np.isfinite(validation).all() and np.isfinite(holdout).all()):
        raise ValueError("a score is NaN or infinite")
    was_positive = validation > 0
    best = int(validation.argmax())
    ranks = midranks(np.stack([validation, holdout]))
    return Decay(
        n_trials=len(validation),
        spearman=correlation(ranks[0], ranks[1]),
        p_value=_p_value(ranks[0], ranks[1], np.random.default_rng(seed)),
        pearson=correlation(validation, holdout),
        slope=line(validation, holdout)[0],
        mean_decay=float((validation - holdout).mean()),
        stayed_positive_frac=float((holdout[was_positive] > 0).mean()) if was_positive.any() else 0.0,
        best_place=int(np.count_nonzero(holdout >= holdout[best])),
        best_holdout=float(holdout[best]),
    )


def correlation(x: FloatArray, y: FloatArray) -> float:
    """Return the Pearson correlation of two (N,) arrays, 0 where either is constant."""
    x, y = x - x.mean(), y - y.mean()
    scale = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / scale if scale > 0 else 0.0


def _p_value(x: FloatArray, y: FloatArray, rng: np.random.Generator) -> float:
    """Return the share of orders of `y` that go with `x` at least as well as the one found, itself included."""
    if len(x) <= EXACT_UP_TO:
        shuffled = np.array(list(permutations(y)))
        return _share_as_good(shuffled @ x, float(y @ x))
    shuffled = rng.permuted(np.tile(y, (N_SHUFFLES, 1)), axis=1)
    return _share_as_good(np.append(shuffled @ x, y @ x), float(y @ x))


def _share_as_good(products: FloatArray, found: float) -> float:
    return float((products >= found - _ROUNDING * abs(found)).mean())
