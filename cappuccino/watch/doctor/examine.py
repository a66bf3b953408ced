"""The whole examination, in the order in which one thing rests on another."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path

from cappuccino.settings import Settings
from cappuccino.watch.doctor import machine, record
from cappuccino.watch.doctor.finding import Finding

ENVIRONMENT_FILE = Path(".env")


def examine(settings: Settings, now: datetime, environment_file: Path = ENVIRONMENT_FILE) -> list[Finding]:
    """Return what was found at `now`; changes nothing, and waits two seconds at most for a busy warehouse."""
    findings = [
        machine.python(sys.version_info[:3]),
        machine.libraries(machine.required(), machine.installed),
        machine.disk(settings.warehouse, settings.training.min_free_disk_mb),
        machine.secrets(environment_file),
        record.configuration(settings),
    ]
    source, end = record.source(settings)
    warehouse, contents = record.warehouse(settings)
    findings += [source, record.folder(settings), warehouse, record.training(settings)]
    if contents is not None:
        present = min(now, end) if end else now
        findings += [record.bars(settings, contents, present), record.artifacts(settings, contents)]
    return [*findings, record.published(settings)]
