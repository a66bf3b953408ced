"""What a model says about itself: everything that is needed to run it again, and where it came from."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from pydantic import AwareDatetime, ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from cappuccino.errors import ArtifactError
from cappuccino.market.interval import Interval
from cappuccino.registry.identity import ModelId

CHECKSUM = "manifest_sha256"
MAX_UNSEEN_GAP = timedelta(days=14)
_CHECKED = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=_CHECKED)
class ManifestFeatures:
    """The features that the model sees: as configured, and the columns that came out, in order."""

    indicators: tuple[str, ...]
    extras: tuple[str, ...]
    names: tuple[str, ...]
    inputs: tuple[str, ...] = ()
    max_input_age_hours: float = 24.0
    """Of models without inputs, and of those that were trained before there were any, it says nothing."""


@dataclass(frozen=True, config=_CHECKED)
class Manifest:
    """One model's record. Ranges are [start, end) of bar opens in UTC; building one checks the types."""

    study: str
    trial: int
    hyper: dict[str, bool | int | float | str | None]
    features: ManifestFeatures
    scaler: dict[str, Any]
    """`Scaler.to_dict()`; its floats come back bit-equal."""
    symbols: tuple[str, ...]
    interval: Interval
    lookback: int
    """Bars that the model sees."""
    data_start: AwareDatetime
    data_end: AwareDatetime
    train_start: AwareDatetime
    train_end: AwareDatetime
    data_fingerprint: str
    code_version: str
    learner: str
    simulated: bool
    """True when the bars were invented: such a model never trades real money."""
    metrics: dict[str, float | None]
    """Figures of the training; None where one is not a finite number."""
    weight_sha256: str = ""
    """Hash of the weights file; `artifacts.save` fills it in."""

    @property
    def model(self) -> ModelId:
        return ModelId(self.study, self.trial)

    @property
    def unseen_from(self) -> datetime:
        """The first moment from which on it may be judged, in arena and backtest.

        Behind its training by the lookback, at most a fortnight: 60 daily bars would leave nothing of the arena's days.
        Decisions may look back at training bars, as they do live; no return that they are judged by was trained on.
        """
        return self.train_end + min(self.lookback * self.interval.duration, MAX_UNSEEN_GAP)


_ADAPTER = TypeAdapter(Manifest)


def to_json(manifest: Manifest) -> str:
    """Return the manifest as a JSON object with its own hash; raises ArtifactError on NaN in scales."""
    fields = _plain(manifest)
    try:
        return json.dumps({**fields, CHECKSUM: _hash(fields)}, indent=2, allow_nan=False) + "\n"
    except ValueError as error:
        raise ArtifactError(
            f"manifest of {manifest.model} has a scale or hyper-parameter that is NaN or infinite ({error}); "
            "nothing was written, train it again"
        ) from None


def from_json(text: str, origin: str) -> Manifest:
    """Return the manifest in `text`; raises ArtifactError naming `origin` and the field that is wrong."""
    try:
        fields = json.loads(text)
    except json.JSONDecodeError as error:
        raise ArtifactError(f"{origin} is not JSON ({error}); restore the folder, or retire the model") from None
    if not isinstance(fields, dict):
        raise ArtifactError(
            f"{origin} is no manifest: found a {type(fields).__name__}, expected an object; "
            "restore the folder, or retire the model"
        )
    found, expected = fields.pop(CHECKSUM, None), _hash(fields)
    if found != expected:
        raise ArtifactError(
            f"{origin} was changed after it was written: found {CHECKSUM} {found}, expected {expected}; "
            "restore the folder, or retire the model"
        )
    try:
        return _ADAPTER.validate_python(fields)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ArtifactError(
            f"{origin} has wrong fields ({wrong}); was it written by another version? Retire the model"
        ) from None


def _plain(manifest: Manifest) -> dict[str, Any]:
    fields = {name: _jsonable(value) for name, value in asdict(manifest).items()}
    # Infinity (a profit factor without losses) and NaN are no JSON.
    fields["metrics"] = {k: v if v is not None and math.isfinite(v) else None for k, v in manifest.metrics.items()}
    return fields


def _jsonable(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _hash(fields: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
