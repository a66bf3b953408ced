"""What an ensemble is, as the document `model.json` of its folder: how it votes, who votes, how votes are read."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
from pydantic import ConfigDict, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from cappuccino.ensemble.seasons import Recall
from cappuccino.ensemble.votes import Vote
from cappuccino.env.wish import Wish
from cappuccino.errors import ArtifactError
from cappuccino.market.panel import FloatArray
from cappuccino.registry.identity import ModelId

MIN_MEMBERS = 2
_CHECKED = ConfigDict(extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True, config=_CHECKED)
class Member:
    """One model that votes."""

    study: str
    trial: int
    weight_sha256: str
    """Of its weights, as they were when the ensemble was built."""
    score: float
    """Its walk-forward score."""
    weight: float
    """Share of the vote; adaptive ensembles go their own way from there."""

    @property
    def model(self) -> ModelId:
        return ModelId(self.study, self.trial)


@dataclass(frozen=True, config=_CHECKED)
class Document:
    """An ensemble without its members' weights; members are ranked, the best first."""

    vote: Vote
    wish: Wish
    recall: Recall
    members: tuple[Member, ...]

    @model_validator(mode="after")
    def _sound(self) -> Document:
        models = [member.model for member in self.members]
        if len(set(models)) < max(len(models), MIN_MEMBERS):
            raise ValueError(f"members {', '.join(map(str, models))} are not {MIN_MEMBERS} or more different ones")
        weights = [member.weight for member in self.members]
        if min(weights) < 0 or abs(sum(weights) - 1.0) > 1e-9:
            raise ValueError(f"weights {weights} are not shares of one vote")
        return self

    @property
    def weights(self) -> FloatArray:
        """(M,)."""
        return np.array([member.weight for member in self.members])


_ADAPTER = TypeAdapter(Document)


def to_json(document: Document) -> str:
    """Return the document as text; equal documents, equal text."""
    return json.dumps(asdict(document), indent=2, sort_keys=True, allow_nan=False) + "\n"


def from_json(text: str, origin: str) -> Document:
    """Return the document in `text`; raises ArtifactError naming `origin` and the field that is wrong."""
    try:
        return _ADAPTER.validate_json(text)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'document'}: {e['msg']}" for e in error.errors())
        raise ArtifactError(f"{origin} is no ensemble ({wrong}); restore the folder, or retire the model") from None
