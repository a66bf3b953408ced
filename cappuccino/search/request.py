"""What a study's program is told: settings, kind and moment, in a file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cappuccino.search.study import Kind
from cappuccino.settings import Settings


@dataclass(frozen=True)
class StudyRequest:
    """Run the study of this kind that is due at `now`."""

    settings: Settings
    kind: Kind
    now: datetime


def write_request(settings: Settings, kind: Kind, now: datetime) -> Path:
    """Store a request in the warehouse folder and return its file. It holds no secrets."""
    file = settings.warehouse.absolute() / "scratch" / f"{kind}-request.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    absolute = settings.model_copy(update={"warehouse": settings.warehouse.absolute()})
    text = json.dumps({"kind": kind, "now": now.isoformat(), "settings": absolute.model_dump(mode="json")}, indent=2)
    part = file.with_suffix(".part")
    part.write_text(text)
    part.replace(file)
    return file


def read_request(file: Path) -> StudyRequest:
    """Return the request in `file`; its settings are taken as they stand, not merged with the environment."""
    fields = json.loads(file.read_text())
    return StudyRequest(Settings.stored(fields["settings"]), fields["kind"], datetime.fromisoformat(fields["now"]))
