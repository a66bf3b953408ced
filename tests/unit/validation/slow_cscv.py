"""Combinatorially symmetric cross-validation as it is told in the paper: one combination after the other."""

from __future__ import annotations

import math
from itertools import combinations, pairwise

import numpy as np


def slow_logits(returns: np.ndarray, n_blocks: int) -> list[float]:
    """Return the logit of each combination, in their order; no two trials may be equally good."""
    edges = [len(returns) * k // n_blocks for k in range(n_blocks + 1)]
    blocks = [returns[first:last] for first, last in pairwise(edges)]
    logits = []
    for chosen in combinations(range(n_blocks), n_blocks // 2):
        inside = np.concatenate([blocks[k] for k in chosen])
        outside = np.concatenate([blocks[k] for k in range(n_blocks) if k not in chosen])
        best = max(range(returns.shape[1]), key=lambda trial: _sharpe(inside[:, trial]))
        scores = [_sharpe(outside[:, trial]) for trial in range(returns.shape[1])]
        place = (1 + sum(score < scores[best] for score in scores)) / (len(scores) + 1)
        logits.append(math.log(place / (1 - place)))
    return logits


def _sharpe(returns: np.ndarray) -> float:
    return float(returns.mean() / returns.std(ddof=1))
