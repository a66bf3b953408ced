"""A minute of torture for the warehouse: writers, readers, publishers, a person's shell, and `kill -9` all the time.

Run with `python benchmarks/bench_torture.py [--seconds 60]`. Each batch is one transaction over two tables with a
checksum, acknowledged in a file of the writer's own after the write returned. Exit status 1 when an acknowledged batch
is lost, anything is torn, somebody saw a state that never was, or a lock stays behind.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing as mp
import random
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

import duckdb
from torture_workers import STATE, TABLES, work

from cappuccino.store.warehouse import Warehouse

# Forked from a process that has everything imported: a kill costs milliseconds, not half a second of start-up.
WARM = mp.get_context("forkserver")
WARM.set_forkserver_preload(["cappuccino.store.warehouse"])
PATIENCE_S = 120.0
"""How much longer a busy machine may take for the batches that a verdict needs."""


@dataclass
class Crew:
    """The processes at work; one that is killed is replaced by another with a name of its own."""

    folder: Path
    seed: int
    alive: list[tuple[str, BaseProcess]] = field(default_factory=list)
    kills: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    n_started: int = 0

    def start(self, role: str) -> None:
        name, self.n_started = f"{role}{self.n_started}", self.n_started + 1
        process = WARM.Process(target=work, args=(role, str(self.folder), name, self.seed))
        process.start()
        self.alive.append((role, process))

    def kill(self, index: int) -> str:
        """Kill one process and return its role; one that had ended by itself is a problem."""
        role, process = self.alive.pop(index)
        process.kill()
        process.join()
        self.kills[role] += 1
        if process.exitcode != -signal.SIGKILL:
            self.problems.append(f"a {role} ended by itself with {process.exitcode}")
        return role


def torture(folder: Path, seconds: float, n_batches: int, roles: list[str], seed: int) -> Crew:
    """Let processes of `roles` work for so long, on a busy machine until there is enough to judge; return them.

    One of them is killed every 0.3 to 1 s, and all at the end.
    """
    with Warehouse(folder / "market.duckdb").write() as writer:
        for statement in TABLES:
            writer.execute(statement)
    crew, chance, until = Crew(folder, seed), random.Random(seed), time.monotonic() + seconds
    try:
        for role in roles:
            crew.start(role)
        while (left_s := until - time.monotonic()) > 0 or (left_s > -PATIENCE_S and not is_enough(folder, n_batches)):
            time.sleep(chance.uniform(0.3, 1.0))
            crew.start(crew.kill(chance.randrange(len(crew.alive))))
    finally:
        while crew.alive:
            crew.kill(-1)
    return crew


def said(folder: Path) -> list[list[str]]:
    """Return what the processes noted, in words; a line that a kill cut short was never said."""
    texts = (file.read_text() for file in sorted(folder.glob("*.log")))
    return [line.split() for text in texts for line in text.splitlines(keepends=True) if line.endswith("\n")]


def wrote(folder: Path) -> set[str]:
    """Return the batches that were acknowledged."""
    return {words[3] for words in said(folder) if words[2] == "wrote"}


def is_enough(folder: Path, n_batches: int) -> bool:
    """Return whether there are so many batches to judge, and somebody who has read."""
    return len(wrote(folder)) >= n_batches and any(words[2] == "read" for words in said(folder))


def verdict(folder: Path) -> tuple[dict[str, int], list[str]]:
    """Return counts of batches, and what is wrong with the files that were left behind."""
    acknowledged = wrote(folder)
    warehouse = Warehouse(folder / "market.duckdb", timeout_s=5)
    with warehouse.write() as writer:  # no lock was left behind
        writer.execute("insert into torture.notes values ('the end')")
    found = warehouse.query("select id from torture.batches")["id"].to_list()
    with warehouse.read() as reader:
        torn = (reader.one(STATE) or (0, 0))[1]
    given_up = sum(batch.endswith("given-up") for batch in found)
    counts = {
        "acknowledged": len(acknowledged),
        "found": len(found),
        "lost": len(acknowledged - set(found)),
        "torn": torn,
        "twice": len(found) - len(set(found)),
        "given up, yet there": given_up,
        "in other publications": _differences_after_publishing(warehouse, folder / "published.duckdb"),
    }
    wrong = [f"{counts[name]} batches {name}" for name in list(counts)[2:] if counts[name]]
    strange = {file.name for file in folder.iterdir() if file.suffix in (".part", ".wal")}
    return counts, wrong + [f"{name} was left behind" for name in sorted(strange)]


def _differences_after_publishing(warehouse: Warehouse, published: Path) -> int:
    """Return how many rows of a new publication, read whole by plain DuckDB, are not those of the warehouse."""
    warehouse.publish(published)
    differing = 0
    for table in ("batches", "parts", "notes"):
        ours = warehouse.query(f"from torture.{table} order by all")
        with duckdb.connect(str(published), read_only=True) as connection:
            theirs = connection.sql(f"from torture.{table} order by all").pl()
        differing += 0 if ours.equals(theirs) else max(len(ours), len(theirs))
    return differing


def figures(notes: list[list[str]], seconds: float) -> dict[str, float]:
    """Return operations a second and percentiles in ms, and what the person's holding the file cost the others."""
    times = [(float(start), float(end), kind) for start, end, kind, *_ in notes]
    held = [(start, end) for start, end, kind in times if kind == "held"]
    table: dict[str, float] = {}
    for kind, verb in (("wrote", "write"), ("read", "read"), ("published", "publication")):
        spans = [(start, end) for start, end, one in times if one == kind]
        table |= {f"{kind}/s": len(spans) / seconds, **_percentiles(verb, spans)}
        table |= _percentiles(f"{verb} beside the person", [s for s in spans if any(_overlap(s, h) for h in held)])
    return table | {"person held s": sum(end - start for start, end in held), "person held times": len(held)}


def _overlap(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one[0] < other[1] and other[0] < one[1]


def _percentiles(what: str, spans: list[tuple[float, float]]) -> dict[str, float]:
    if len(spans) < 2:
        return {}
    times = [1e3 * (end - start) for start, end in spans]
    cuts = statistics.quantiles(times, n=100, method="inclusive")
    return {f"{what} p50 ms": cuts[49], f"{what} p99 ms": cuts[98], f"{what} max ms": max(times)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("seconds", 60.0), ("batches", 20), ("writers", 4), ("readers", 4), ("seed", 2026)):
        parser.add_argument(f"--{name}", type=type(default), default=default)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    roles = ["writer"] * asked.writers + ["reader"] * asked.readers + ["publisher", "person"]
    with tempfile.TemporaryDirectory() as name:
        started_s = time.monotonic()
        crew = torture(Path(name), asked.seconds, asked.batches, roles, asked.seed)
        took_s, notes = time.monotonic() - started_s, said(Path(name))
        counts, wrong = verdict(Path(name))
    kills = {f"kills of a {role}": n for role, n in sorted(crew.kills.items())}
    table = {**counts, **kills, **figures(notes, took_s)}
    problems = crew.problems + [" ".join(words[2:]) for words in notes if words[2] == "failed"] + wrong
    if asked.json:
        print(json.dumps({"figures": table, "problems": problems}))
    else:
        print("\n".join(f"{name:>32} {value:12,.1f}" for name, value in table.items()))
    sys.exit("\n".join(problems) if problems else 0)


if __name__ == "__main__":
    main()
