"""The stages of a model's life: which transitions are legal, and what the append-only decisions add up to.

    enter -> ARENA -> SANDBOX -> PRODUCTION -> LIVE      at most one model in PRODUCTION, at most one in LIVE

The invariants hold after every decision that a `StageBook` accepts. The two decisions of an exchange (a
replacement or a rollback: one model leaves production, another takes its place) come together, or not at all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from itertools import pairwise
from types import MappingProxyType
from typing import Literal

from cappuccino.clock import require_utc
from cappuccino.errors import DataError, StageError
from cappuccino.registry.identity import ModelId


class Stage(StrEnum):
    """Where a model stands."""

    ARENA = "arena"
    SANDBOX = "sandbox"
    PRODUCTION = "production"
    LIVE = "live"
    RETIRED = "retired"


class Action(StrEnum):
    """What a decision does to a model."""

    ENTER = "enter"
    PROMOTE = "promote"
    REPLACE = "replace"
    DEMOTE = "demote"
    RETIRE = "retire"
    ROLLBACK = "rollback"


# The whole machine. What is not here is illegal.
_NEXT: Mapping[tuple[Stage | None, Action], Stage] = MappingProxyType(
    {
        (None, Action.ENTER): Stage.ARENA,
        (Stage.ARENA, Action.PROMOTE): Stage.SANDBOX,
        (Stage.ARENA, Action.RETIRE): Stage.RETIRED,
        (Stage.SANDBOX, Action.PROMOTE): Stage.PRODUCTION,
        (Stage.SANDBOX, Action.REPLACE): Stage.PRODUCTION,
        (Stage.SANDBOX, Action.RETIRE): Stage.RETIRED,
        (Stage.PRODUCTION, Action.PROMOTE): Stage.LIVE,
        (Stage.PRODUCTION, Action.REPLACE): Stage.RETIRED,
        (Stage.PRODUCTION, Action.DEMOTE): Stage.SANDBOX,
        (Stage.PRODUCTION, Action.RETIRE): Stage.RETIRED,
        (Stage.PRODUCTION, Action.ROLLBACK): Stage.RETIRED,
        (Stage.LIVE, Action.DEMOTE): Stage.PRODUCTION,
        (Stage.LIVE, Action.RETIRE): Stage.RETIRED,
        (Stage.RETIRED, Action.ROLLBACK): Stage.PRODUCTION,
    }
)
_HOLDS_ONE = (Stage.PRODUCTION, Stage.LIVE)
_EXCHANGES = (Action.REPLACE, Action.ROLLBACK)


def next_stage(stage: Stage | None, action: Action) -> Stage:
    """Return where `action` leads from `stage` (None: not entered); raises StageError if it is illegal."""
    if (stage, action) in _NEXT:
        return _NEXT[stage, action]
    legal = ", ".join(sorted(a for s, a in _NEXT if s == stage))
    raise StageError(f"cannot {action} a model that is {_named(stage)}; the rules allow there: {legal}")


@dataclass(frozen=True)
class Decision:
    """One row of the append-only record. `sequence` counts from 1 without a hole.

    Raises DataError when a compared figure is no number, StageError when the reason is empty.
    """

    sequence: int
    model: ModelId
    from_stage: Stage | None
    to_stage: Stage
    action: Action
    reason: str
    figures: Mapping[str, float]
    decided_at_utc: datetime
    decided_by: Literal["rule", "operator"]

    def __post_init__(self) -> None:
        require_utc(self.decided_at_utc)
        wrong = [name for name, value in self.figures.items() if not math.isfinite(value)]
        if wrong:
            raise DataError(f"{self.action} of {self.model} compares {', '.join(wrong)}, which is no number")
        if not self.reason.strip():
            raise StageError(f"{self.action} of {self.model} has no reason; say why")


@dataclass(frozen=True)
class StageBook:
    """All decisions so far, and the stage of every model that follows; `apply` returns the next book."""

    decisions: tuple[Decision, ...] = ()
    latest: Mapping[ModelId, Decision] = field(default_factory=dict)
    """The last decision on each model."""
    former: tuple[ModelId, ...] = ()
    """Models that were replaced in production and not rolled back to; the last one is the next rollback's."""

    def stage(self, model: ModelId) -> Stage | None:
        """Return the stage of `model`; None when it has never entered."""
        return self.latest[model].to_stage if model in self.latest else None

    def since(self, model: ModelId) -> datetime:
        """Return when `model` reached its stage; raises StageError when it has none."""
        if model not in self.latest:
            raise StageError(f"model {model} has not entered; there is no decision on it")
        return self.latest[model].decided_at_utc

    def in_stage(self, stage: Stage) -> tuple[ModelId, ...]:
        """Return the models in `stage`, those first that reached it first."""
        there = [d for d in self.latest.values() if d.to_stage is stage]
        return tuple(d.model for d in sorted(there, key=lambda d: d.sequence))

    @property
    def production(self) -> ModelId | None:
        return self._holder(Stage.PRODUCTION)

    @property
    def live(self) -> ModelId | None:
        return self._holder(Stage.LIVE)

    @property
    def predecessor(self) -> ModelId | None:
        """The model that a rollback puts into production."""
        return self.former[-1] if self.former else None

    @property
    def next_sequence(self) -> int:
        return len(self.decisions) + 1

    def apply(self, *decisions: Decision) -> StageBook:
        """Return the book with all of `decisions`; raises StageError, applying none, if one is illegal."""
        latest, former = dict(self.latest), list(self.former)
        holders = {stage: self._holder(stage) for stage in _HOLDS_ONE}
        for sequence, decision in enumerate(decisions, start=self.next_sequence):
            _require_legal(decision, sequence, latest.get(decision.model))
            _move(decision, holders)
            _remember(decision, former)
            latest[decision.model] = decision
        _require_whole_exchanges(decisions)
        return StageBook((*self.decisions, *decisions), MappingProxyType(latest), tuple(former))

    def _holder(self, stage: Stage) -> ModelId | None:
        there = self.in_stage(stage)
        return there[0] if there else None


def _require_legal(decision: Decision, sequence: int, before: Decision | None) -> None:
    stage = before.to_stage if before else None
    if decision.sequence != sequence:
        raise StageError(
            f"decision {decision.sequence} on {decision.model} comes where {sequence} is due; "
            "somebody else decided meanwhile: read the decisions again"
        )
    if decision.from_stage is not stage:
        raise StageError(
            f"decision {sequence} takes {decision.model} for {_named(decision.from_stage)}, "
            f"but it is {_named(stage)}; read the decisions again"
        )
    expected = next_stage(stage, decision.action)
    if decision.to_stage is not expected:
        raise StageError(
            f"decision {sequence}: {decision.action} leads {decision.model} to {expected}, not to {decision.to_stage}"
        )


def _move(decision: Decision, holders: dict[Stage, ModelId | None]) -> None:
    """Free the place that the model leaves and take the one that it reaches, if that is free."""
    if decision.from_stage in _HOLDS_ONE:
        holders[decision.from_stage] = None
    if decision.to_stage not in _HOLDS_ONE:
        return
    held_by = holders[decision.to_stage]
    if held_by is not None:
        raise StageError(
            f"{decision.model} cannot be {_named(decision.to_stage)}: {held_by} is, and there is one place. "
            f"Replace or retire {held_by}"
        )
    holders[decision.to_stage] = decision.model


def _remember(decision: Decision, former: list[ModelId]) -> None:
    """Keep the succession in production; who was rolled back from, or retired by name, is no place to go back to."""
    if decision.action is Action.ROLLBACK:
        if decision.to_stage is Stage.PRODUCTION:
            if not former or former[-1] != decision.model:
                due = former[-1] if former else "nobody"
                raise StageError(f"cannot roll back to {decision.model}: the predecessor in production is {due}")
            former.pop()
    elif decision.from_stage is Stage.PRODUCTION and decision.action is Action.REPLACE:
        former.append(decision.model)


def _require_whole_exchanges(decisions: tuple[Decision, ...]) -> None:
    """Who an exchange takes out of production is followed at once by the one that takes the place."""
    for before, after in pairwise((None, *decisions, None)):
        out = before.action if before and before.to_stage is Stage.RETIRED else None
        into = after.action if after and after.to_stage is Stage.PRODUCTION else None
        if before and out in _EXCHANGES and into is not out:
            raise StageError(f"{out} takes {before.model} out of production for nobody; apply both decisions")
        if after and into is Action.REPLACE and out is not into:
            raise StageError(f"{after.model} replaces nobody; promote it, or apply both decisions")


def _named(stage: Stage | None) -> str:
    return {None: "not entered", Stage.RETIRED: "retired"}.get(stage, f"in {stage}")
