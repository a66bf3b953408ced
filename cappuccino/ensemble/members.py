"""Who may be a member: the best distinct candidates of the newest training study, and of the trees beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from cappuccino.arena.candidate import Candidate
from cappuccino.arena.gates import Gate
from cappuccino.ensemble.reference import Reference, Voter
from cappuccino.market.panel import BarPanel, FloatArray
from cappuccino.registry.identity import ModelId
from cappuccino.settings import ArenaSettings
from cappuccino.store.warehouse import Reader

SAMPLE_BARS = 64
"""Votes that are compared to see whether two members are the same in all but name."""
MIN_DIFFERENCE = 0.01
"""Mean distance of the votes of two members. At a weight of 0.3 for action 1 that moves a target by 0.3 % of the
portfolio."""

Passes = Callable[[ModelId], bool]
"""Whether a candidate passes the quality gates."""


@dataclass(frozen=True)
class Ranked:
    """A completed trial."""

    model: ModelId
    score: float
    weight_sha256: str
    as_of: datetime
    """Moment of its study."""


@dataclass(frozen=True)
class Seat:
    """A member that was chosen, ready to vote."""

    ranked: Ranked
    candidate: Candidate
    voter: Voter


def ranked_trials(reader: Reader, now: datetime) -> list[Ranked]:
    """Return the completed trials that may be members at `now`: by score, then by seed, study and trial.

    Who failed its audit, or was retired by the operator, has no vote either; who only lost a match has.
    """
    rows = reader.query(
        """
        with finished as (
            select study, kind, as_of_utc, interval, symbols
            from lab.studies
            where state in ('complete', 'converged') and as_of_utc <= $now
        ),

        networks as (
            from finished where kind = 'training' order by as_of_utc desc, study desc limit 1
        ),

        trees as (
            select finished.*
            from finished
            semi join networks using (interval, symbols)
            where finished.kind = 'trees'
            order by finished.as_of_utc desc, finished.study desc
            limit 1
        ),

        chosen as (
            from networks union all from trees
        )

        select lab.trials.study, lab.trials.trial, lab.trials.score, lab.trials.weight_sha256, chosen.as_of_utc
        from lab.trials
        inner join chosen using (study)
        anti join (
            select study, trial from promotion.decisions
            where to_stage = 'retired' and (decided_by = 'operator' or starts_with(reason, 'failed its audit'))
        ) as banned using (study, trial)
        where lab.trials.state = 'complete' and lab.trials.weight_sha256 is not null and isfinite(lab.trials.score)
        order by lab.trials.score desc, lab.trials.seed, lab.trials.study, lab.trials.trial
        """,
        now=now,
    )
    return [Ranked(ModelId(study, trial), *others) for study, trial, *others in rows.iter_rows()]


def gated(reader: Reader, settings: ArenaSettings) -> Passes:
    """Return whether a candidate passes the arena's gate, by its own folds: one that may not fight may not vote."""
    gate = Gate.of(settings)
    rows = reader.query(
        """
        select study, trial, avg(sharpe_annualized), median(profit_factor)
        from lab.evaluations
        where subject = 'agent' and scope = 'validation'
        group by study, trial
        """
    )
    return {
        ModelId(study, trial) for study, trial, *figures in rows.iter_rows() if not gate.refusal(*figures)
    }.__contains__


def distinct(ranked: Iterable[Ranked], passes: Passes) -> Iterator[Ranked]:
    """Yield those that pass the gates, each set of weights once."""
    seen: set[str] = set()
    for one in ranked:
        if one.weight_sha256 not in seen and passes(one.model):
            seen.add(one.weight_sha256)
            yield one


def choose(offered: Iterable[Seat], panel: BarPanel, stop: int, n_most: int) -> list[Seat]:
    """Return the first `n_most` seats of one market whose votes before row `stop` differ from all seats before them."""
    chosen: list[Seat] = []
    votes: list[FloatArray] = []
    for seat in offered:
        if len(chosen) == n_most:
            break
        if chosen and seat.candidate.market != chosen[0].candidate.market:
            continue
        own = Reference(seat.voter, panel).votes(stop - SAMPLE_BARS, stop)
        if not _is_known(own, votes):
            chosen.append(seat)
            votes.append(own)
    return chosen


def _is_known(own: FloatArray, others: Sequence[FloatArray]) -> bool:
    return any(float(np.abs(own - other).mean()) < MIN_DIFFERENCE for other in others)
