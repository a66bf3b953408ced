"""Dagster's own records: under the warehouse, without telemetry, with a quick queue."""

from __future__ import annotations

import os
from pathlib import Path

DAGSTER_YAML = """\
nux:
  enabled: false
telemetry:
  enabled: false
run_queue:
  dequeue_interval_seconds: 1
freshness:
  enabled: true
concurrency:
  pools:
    default_limit: 1
"""


def prepare_home(warehouse: Path) -> Path:
    """Make the folder of Dagster's records, point this process to it, and return it; a set DAGSTER_HOME wins."""
    home = Path(os.environ.setdefault("DAGSTER_HOME", str((warehouse / ".dagster").absolute())))
    home.mkdir(parents=True, exist_ok=True)
    file = home / "dagster.yaml"
    if not file.exists():
        file.write_text(DAGSTER_YAML)
    return home
