"""Checkpoint files are whole, ours, or refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cappuccino.errors import TrainingError
from cappuccino.rl import checkpoint


def test_what_was_written_comes_back_and_nothing_else_stays(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "a.pt"
    checkpoint.write(file, "ours", {"tensor": torch.arange(3), "number": 1.5})
    checkpoint.write(file, "ours", {"tensor": torch.arange(4), "number": 2.5})
    content = checkpoint.read(file, "ours")
    assert content is not None
    assert content["tensor"].tolist() == [0, 1, 2, 3]
    assert [path.name for path in file.parent.iterdir()] == ["a.pt"]


def test_no_file_and_a_foreign_file_are_no_checkpoint(tmp_path: Path) -> None:
    file = tmp_path / "a.pt"
    assert checkpoint.read(file, "ours") is None
    checkpoint.write(file, "theirs", {})
    assert checkpoint.read(file, "ours") is None


@pytest.mark.parametrize("damage", [b"", b"not a checkpoint", None])
def test_a_damaged_file_is_named(tmp_path: Path, damage: bytes | None) -> None:
    file = tmp_path / "a.pt"
    checkpoint.write(file, "ours", {"tensor": torch.arange(300)})
    file.write_bytes(file.read_bytes()[:200] if damage is None else damage)
    with pytest.raises(TrainingError, match=r"a\.pt is damaged"):
        checkpoint.read(file, "ours")
