"""Which bars a search and the arena may know at a moment, and which nobody may before all is decided.

    |<------------- training ------------->|<----- arena ----->|<--- holdout --->| now
                                  `training_until`       `arena_until`

Searches and matches load bars through the moments given here, and hand on nothing else: what lies behind them is not in
their memory or files. As time goes by the seal moves on with it: a new study has a holdout of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

from cappuccino.registry.identity import ModelId
from cappuccino.settings import Settings
from cappuccino.store.warehouse import Reader


@dataclass(frozen=True)
class Seal:
    """The borders of the three ranges at one moment."""

    training_until: datetime
    """Closes of later bars are unknown to searches."""
    arena_until: datetime
    """Closes of later bars are unknown to the arena; the holdout begins here."""
    now: datetime

    @classmethod
    def at(cls, settings: Settings, now: datetime) -> Self:
        """Return the borders at `now`."""
        arena_until = now - timedelta(days=settings.training.holdout_days)
        return cls(arena_until - timedelta(days=settings.training.arena_days), arena_until, now)


def open_until(reader: Reader, settings: Settings, now: datetime) -> datetime:
    """Return how far matches, ensembles and audits may look at `now`: up to the first holdout that is still closed.

    That of this moment, or that of a study which was planned earlier and whose holdout nobody has opened yet.
    """
    found = reader.one(
        """
        with candidates as (
            select distinct study from lab.trials where state = 'complete' and artifact is not null
        )

        select min(holdout_from_utc) from lab.studies anti join lab.holdouts using (study)
        where kind <> 'timeframe' and holdout_from_utc < data_end_utc
            and (
                -- One that nobody can take up again has no say, and one without a model has nothing to judge.
                (state = 'running' and as_of_utc >= $oldest)
                or (state in ('complete', 'converged') and study in (select study from candidates))
            )
        """,
        oldest=now - timedelta(days=settings.training.max_data_age_days),
    )
    until = Seal.at(settings, now).arena_until
    return min(until, found[0]) if found and found[0] else until


def sealed_from(reader: Reader, model: ModelId) -> datetime | None:
    """Return where the holdout of the model's study begins; None when it was opened, or there is none."""
    found = reader.one(
        """
        select holdout_from_utc from lab.studies anti join lab.holdouts using (study)
        where study = $study and holdout_from_utc < data_end_utc
        """,
        study=model.study,
    )
    return found[0] if found else None
