"""Files of a training that goes on after it was killed: whole or not there."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path
from typing import Any

import torch

from cappuccino.errors import TrainingError


def write(file: Path, fingerprint: str, content: dict[str, Any]) -> None:
    """Replace `file` by tensors and plain values; a crash or a full disk leaves the old file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    # Through memory: torch hides a full disk behind errors of its own.
    buffer = io.BytesIO()
    torch.save({"fingerprint": fingerprint, "content": content}, buffer)
    partial = file.with_name(f".{file.name}.saving")
    try:
        with partial.open("wb") as stream:
            stream.write(buffer.getbuffer())
            stream.flush()
            os.fsync(stream.fileno())
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    partial.replace(file)


def read(file: Path, fingerprint: str) -> dict[str, Any] | None:
    """Return the content on the CPU, or None when there is no file or it is of another training.

    Raises TrainingError when the file is damaged.
    """
    if not file.is_file():
        return None
    try:
        stored = torch.load(io.BytesIO(file.read_bytes()), map_location="cpu", weights_only=True)
        is_ours: bool = stored["fingerprint"] == fingerprint
        content: dict[str, Any] = stored["content"]
    except (RuntimeError, ValueError, EOFError, KeyError, TypeError, pickle.UnpicklingError) as error:
        raise TrainingError(f"checkpoint {file} is damaged ({error}); remove it to train again") from None
    return content if is_ours else None
