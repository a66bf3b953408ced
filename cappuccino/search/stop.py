"""When to stop: a study that no longer improves, and a trial that no longer can."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median


def has_converged(scores: Sequence[float], patience: int, min_improvement: float) -> bool:
    """Return whether the best of the newest `patience` scores beats the best before them by less than asked.

    `scores` are those of completed trials, in the order of their numbers. Until there are more than `patience` of
    them, a study goes on.
    """
    if len(scores) <= patience:
        return False
    before, newest = scores[:-patience], scores[-patience:]
    return max(newest) < max(before) + min_improvement


def hopeless(fold_scores: Sequence[float], others: Sequence[Sequence[float]], startup_trials: int) -> str | None:
    """Return why a trial with these fold scores should end, or None.

    It ends when its mean so far is below the median of what completed trials had at the same fold (the median
    stopping rule), and `startup_trials` of them are there to compare with.
    """
    n_folds = len(fold_scores)
    means = [sum(scores[:n_folds]) / n_folds for scores in others if len(scores) >= n_folds]
    if len(means) < startup_trials:
        return None
    mean, middle = sum(fold_scores) / n_folds, median(means)
    if mean >= middle:
        return None
    return f"mean score {mean:.3f} after {n_folds} folds is below the median {middle:.3f} of {len(means)} trials"
