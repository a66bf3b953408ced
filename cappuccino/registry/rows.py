"""Decisions as rows of the warehouse, and back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from cappuccino.clock import require_utc
from cappuccino.registry.identity import ModelId
from cappuccino.registry.stages import Action, Decision, Stage, StageBook


def decision_row(decision: Decision) -> dict[str, Any]:
    """Return one row; stages and action are text, figures JSON text, the time aware UTC."""
    return {
        "sequence": decision.sequence,
        "study": decision.model.study,
        "trial": decision.model.trial,
        "from_stage": decision.from_stage.value if decision.from_stage else None,
        "to_stage": decision.to_stage.value,
        "action": decision.action.value,
        "reason": decision.reason,
        "figures": json.dumps(dict(decision.figures), allow_nan=False),
        "decided_at_utc": require_utc(decision.decided_at_utc),
        "decided_by": decision.decided_by,
    }


def decision_of(row: Mapping[str, Any]) -> Decision:
    """Return the decision in a row of `decision_row`; raises ValueError on a stage or action that is none."""
    return Decision(
        sequence=row["sequence"],
        model=ModelId(row["study"], row["trial"]),
        from_stage=Stage(row["from_stage"]) if row["from_stage"] else None,
        to_stage=Stage(row["to_stage"]),
        action=Action(row["action"]),
        reason=row["reason"],
        figures=json.loads(row["figures"]),
        decided_at_utc=require_utc(row["decided_at_utc"]),
        decided_by=row["decided_by"],
    )


def book_of(rows: Iterable[Mapping[str, Any]]) -> StageBook:
    """Return the book of all rows, in any order; raises StageError when they are no legal history."""
    decisions = sorted((decision_of(row) for row in rows), key=lambda d: d.sequence)
    return StageBook().apply(*decisions)
