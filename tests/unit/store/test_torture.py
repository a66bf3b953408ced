"""The torture of benchmarks/bench_torture.py, for a few seconds, and that its verdict can be a bad one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from cappuccino.store.warehouse import Warehouse

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"
LINES = "1.0 1.5 wrote writer0-1\n2.0 2.5 wrote writer0-2\n2.5 2.6 gave_up writer0-3-given-up\n2.7 2.8 wrote wri"
GOOD = {"acknowledged": 2, "found": 2, "lost": 0, "torn": 0, "twice": 0, "given up, yet there": 0}
GOOD["in other publications"] = 0
Left = Callable[..., Path]


def test_killed_writers_readers_publishers_and_people_lose_nothing_and_tear_nothing() -> None:
    command = [sys.executable, str(BENCHMARKS / "bench_torture.py"), "--seconds", "5", "--batches", "3"]
    done = subprocess.run([*command, "--writers", "3", "--readers", "2", "--json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["problems"] == []
    counts = found["figures"]
    assert {name: counts[name] for name in list(GOOD)[2:]} == dict.fromkeys(list(GOOD)[2:], 0)
    n_kills = sum(n for name, n in counts.items() if name.startswith("kills of"))
    assert n_kills >= 7 + 3, "all 7 processes at the end, and some before"
    assert 3 <= counts["acknowledged"] <= counts["found"] <= counts["acknowledged"] + n_kills
    assert counts["read/s"] > 0


@pytest.fixture
def torture(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import bench_torture

    return bench_torture


@pytest.fixture
def left(tmp_path: Path, torture: ModuleType) -> Left:
    """Return a function that leaves a warehouse with two whole batches, then changed by statements."""

    def leave(*statements: str) -> Path:
        with Warehouse(tmp_path / "market.duckdb").write() as writer:
            for statement in torture.TABLES:
                writer.execute(statement)
            writer.execute("insert into torture.batches values ('writer0-1', 2, 30), ('writer0-2', 1, 7)")
            writer.execute("insert into torture.parts values ('writer0-1', 0, 10), ('writer0-1', 1, 20)")
            writer.execute("insert into torture.parts values ('writer0-2', 0, 7)")
            for statement in statements:
                writer.execute(statement)
        (tmp_path / "writer0.log").write_text(LINES)
        return tmp_path

    return leave


def test_whole_batches_get_a_good_verdict(torture: ModuleType, left: Left) -> None:
    assert torture.verdict(left()) == (GOOD, [])


BAD = {
    "a lost batch": (
        ["delete from torture.batches where id = 'writer0-2'", "delete from torture.parts where batch = 'writer0-2'"],
        "1 batches lost",
    ),
    "a batch without a part": (["delete from torture.parts where value = 20"], "1 batches torn"),
    "parts without a batch": (["insert into torture.parts values ('writer9-1', 0, 1)"], "1 batches torn"),
    "a part of another value": (["update torture.parts set value = 8 where value = 7"], "1 batches torn"),
    "a batch that was given up": (
        [
            "insert into torture.batches values ('w-given-up', 1, 1)",
            "insert into torture.parts values ('w-given-up', 0, 1)",
        ],
        "1 batches given up, yet there",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_the_verdict_names(torture: ModuleType, left: Left, what: str) -> None:
    statements, named = BAD[what]
    assert torture.verdict(left(*statements))[1] == [named]


def test_the_verdict_names_files_that_were_left_behind(torture: ModuleType, left: Left) -> None:
    folder = left()
    (folder / "published.old.part").touch()
    assert torture.verdict(folder)[1] == ["published.old.part was left behind"]


@pytest.mark.parametrize(
    ("states", "why"), [([(3, 1)], "1 torn batches of 3"), ([(3, 0), (2, 0)], "2 batches after 3")]
)
def test_a_witness_refuses_what_can_never_have_been(
    torture: ModuleType, states: list[tuple[int, int]], why: str
) -> None:
    import torture_workers

    witness = torture_workers.Witness()
    with pytest.raises(torture_workers.ImpossibleError, match=why):
        for state in states:
            witness.see(*state)
