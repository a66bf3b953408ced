"""Room on the disk for what training writes."""

from __future__ import annotations

import shutil
from pathlib import Path

from cappuccino.errors import TrainingError


def has_room(folder: Path, min_free_mb: float) -> bool:
    """Return whether `min_free_mb` are free under `folder`."""
    return _free_mb(folder) >= min_free_mb


def require_disk(folder: Path, min_free_mb: float) -> None:
    """Raise TrainingError when less than `min_free_mb` are free under `folder`."""
    free_mb = _free_mb(folder)
    if free_mb < min_free_mb:
        raise TrainingError(
            f"{free_mb:.0f} MB are free under {folder}, training wants {min_free_mb:.0f} (training.min_free_disk_mb "
            "and the arrays of a study); free some disk space, then start again: the study goes on where it was"
        )


def _free_mb(folder: Path) -> float:
    return shutil.disk_usage(folder).free / 2**20
