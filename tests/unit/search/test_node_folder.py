"""Folders of a node: fetched once, held while somebody works there, removed behind the last one and behind the dead."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cappuccino.search.node_folder import NodeFolder, read_files, write_files

FILES = {"a.npy": np.arange(5, dtype=np.uint8), "deeper/b.json": np.zeros(0, dtype=np.uint8)}


def test_files_come_back_as_they_were(tmp_path: Path) -> None:
    write_files(tmp_path / "study", FILES)
    found = read_files(tmp_path / "study")
    assert list(found) == list(FILES)
    for name, content in FILES.items():
        np.testing.assert_array_equal(found[name], content)
    assert [folder.name for folder in tmp_path.iterdir()] == ["study"]


def test_a_write_that_broke_off_leaves_no_folder_and_the_next_one_succeeds(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError):
        write_files(tmp_path / "study", {"a": FILES["a.npy"], "a/b": FILES["a.npy"]})
    assert not (tmp_path / "study").exists()
    write_files(tmp_path / "study", FILES)
    assert list(read_files(tmp_path / "study")) == list(FILES)


def test_a_node_fetches_arrays_once(tmp_path: Path) -> None:
    fetched: list[str] = []

    def fetch() -> dict[str, np.ndarray]:
        fetched.append("")
        return FILES

    folder = NodeFolder(tmp_path / "root", "node")
    places = {folder.arrays("ab12", fetch) for _ in range(2)}
    other = folder.arrays("cd34", fetch)
    assert len(places) == 1 and other not in places and len(fetched) == 2
    assert list(read_files(other)) == list(FILES)
    folder.leave()


def test_the_last_one_to_leave_a_node_removes_it(tmp_path: Path) -> None:
    first, second, elsewhere = (NodeFolder(tmp_path, node) for node in ("node", "node", "other"))
    (first.own / "checkpoint").write_text("")
    first.leave()
    assert (tmp_path / "node").is_dir() and not first.own.exists()
    second.leave()
    assert sorted(file.name for file in tmp_path.iterdir()) == [".turn", "other", "other.lock"]
    elsewhere.leave()
    assert [file.name for file in tmp_path.iterdir()] == [".turn"]


def test_what_a_dead_process_left_behind_is_removed_by_the_next_one(tmp_path: Path) -> None:
    (tmp_path / "dead" / "17").mkdir(parents=True)
    (tmp_path / "dead.lock").write_text("")
    alive = NodeFolder(tmp_path, "alive")
    assert sorted(file.name for file in tmp_path.iterdir()) == [".turn", "alive", "alive.lock"]
    alive.leave()
