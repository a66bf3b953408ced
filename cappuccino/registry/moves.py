"""The decisions that put models from one stage to another: pure, (book, now, reason) -> decisions to apply.

Apply and store what comes back in one batch. `figures` are the numbers that were compared; it is the operator
who decides, unless `decided_by` says that a rule did.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Literal

from cappuccino.errors import StageError
from cappuccino.registry.identity import ModelId
from cappuccino.registry.stages import Action, Decision, Stage, StageBook, next_stage

DecidedBy = Literal["rule", "operator"]
NO_FIGURES: Mapping[str, float] = MappingProxyType({})


@dataclass(frozen=True)
class _Why:
    """What stands in the record beside a decision."""

    reason: str
    figures: Mapping[str, float]
    decided_by: DecidedBy


def enter(
    book: StageBook,
    model: ModelId,
    now: datetime,
    reason: str,
    figures: Mapping[str, float] = NO_FIGURES,
    decided_by: DecidedBy = "operator",
) -> tuple[Decision, ...]:
    """A candidate enters the arena; raises StageError when it has entered before."""
    return _decide(book, now, _Why(reason, figures, decided_by), (model, Action.ENTER))


def promote(
    book: StageBook,
    model: ModelId,
    now: datetime,
    reason: str,
    figures: Mapping[str, float] = NO_FIGURES,
    decided_by: DecidedBy = "operator",
) -> tuple[Decision, ...]:
    """Arena -> sandbox -> production, where the model replaces the one that is there.

    Raises StageError from any other stage; real money has its own gate, `green_light.go_live`.
    """
    why, stage = _Why(reason, figures, decided_by), book.stage(model)
    if stage is Stage.PRODUCTION:
        raise StageError(f"{model} is in production; only the green light leads to live trading")
    if stage is Stage.SANDBOX and book.production:
        return _decide(book, now, why, (book.production, Action.REPLACE), (model, Action.REPLACE))
    return _decide(book, now, why, (model, Action.PROMOTE))


def promote_to_live(book: StageBook, now: datetime, reason: str, figures: Mapping[str, float]) -> tuple[Decision, ...]:
    """Production -> live. Only `green_light.go_live` calls it, behind its gates."""
    if book.production is None:
        raise StageError("no model is in production; nothing can go live")
    return _decide(book, now, _Why(reason, figures, "operator"), (book.production, Action.PROMOTE))


def demote(
    book: StageBook,
    model: ModelId,
    now: datetime,
    reason: str,
    figures: Mapping[str, float] = NO_FIGURES,
    decided_by: DecidedBy = "operator",
) -> tuple[Decision, ...]:
    """Live -> production, or retired when production is taken; production -> sandbox."""
    if book.stage(model) is Stage.LIVE and book.production:
        reason = f"{reason} (production is taken by {book.production})"
        return _decide(book, now, _Why(reason, figures, decided_by), (model, Action.RETIRE))
    return _decide(book, now, _Why(reason, figures, decided_by), (model, Action.DEMOTE))


def retire(
    book: StageBook,
    model: ModelId,
    now: datetime,
    reason: str,
    figures: Mapping[str, float] = NO_FIGURES,
    decided_by: DecidedBy = "operator",
) -> tuple[Decision, ...]:
    """Any stage -> retired; raises StageError when the model is retired already or has not entered."""
    return _decide(book, now, _Why(reason, figures, decided_by), (model, Action.RETIRE))


def rollback(
    book: StageBook,
    now: datetime,
    reason: str,
    figures: Mapping[str, float] = NO_FIGURES,
    decided_by: DecidedBy = "operator",
) -> tuple[Decision, ...]:
    """The model in production gives way to the one that was there before it.

    Again: to the one before that. With production empty, the last model that was replaced there comes back; whoever
    was retired by name does not. Raises StageError when there is none.
    """
    if book.predecessor is None:
        raise StageError("nothing to roll back to: no model has given up production yet")
    leaving = [(book.production, Action.ROLLBACK)] if book.production else []
    moves = (*leaving, (book.predecessor, Action.ROLLBACK))
    return _decide(book, now, _Why(reason, figures, decided_by), *moves)


def _decide(book: StageBook, now: datetime, why: _Why, *moves: tuple[ModelId, Action]) -> tuple[Decision, ...]:
    decisions = tuple(
        Decision(
            sequence=book.next_sequence + offset,
            model=model,
            from_stage=book.stage(model),
            to_stage=next_stage(book.stage(model), action),
            action=action,
            reason=why.reason,
            figures=dict(why.figures),
            decided_at_utc=now,
            decided_by=why.decided_by,
        )
        for offset, (model, action) in enumerate(moves)
    )
    book.apply(*decisions)  # refuses here what the store would have to refuse later
    return decisions
