"""What every training of a trial went through: kept while it runs, so that a trial that ends badly has it too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean

import polars as pl

from cappuccino.rl.figures import Progress
from cappuccino.validation.conduct import Collapse, Conduct, collapse_of

FINAL = "final"
"""The training on everything, after the folds."""


@dataclass
class TrainingLog:
    """One training; it grows from update to update."""

    training: str
    """`fold-0`, `fold-1`, ... or `final`."""
    updates: list[Progress] = field(default_factory=list)
    conduct: Conduct | None = None
    """On the fold's validation bars; None until they were traded, and for the last training, which has none."""


Diary = list[TrainingLog]


def begin(diary: Diary, training: str) -> TrainingLog:
    """Return the log of a training that begins now."""
    diary.append(TrainingLog(training))
    return diary[-1]


def collapsed(diary: Sequence[TrainingLog]) -> Collapse | None:
    """Return how the trial's policies collapsed on their validation bars; None when they decide."""
    return collapse_of(_conducts(diary))


def action_spread(diary: Sequence[TrainingLog]) -> float | None:
    """Return the mean spread of the action on validation bars; None when no fold was traded."""
    conducts = _conducts(diary)
    return fmean(conduct.action_spread for conduct in conducts) if conducts else None


def update_frame(study: str, trial: int, diary: Sequence[TrainingLog]) -> pl.DataFrame:
    """Return the rows of lab.updates."""
    return pl.DataFrame(
        [
            {
                "study": study,
                "trial": trial,
                "training": log.training,
                "update": progress.update,
                "n_env_steps": progress.n_env_steps,
                "duration_s": progress.duration_s,
                "steps_per_s": progress.n_env_steps / progress.duration_s if progress.duration_s > 0 else None,
                **asdict(progress.figures),
            }
            for log in diary
            for progress in log.updates
        ],
        schema_overrides={"steps_per_s": pl.Float64},
    )


def _conducts(diary: Sequence[TrainingLog]) -> list[Conduct]:
    return [log.conduct for log in diary if log.conduct is not None]
