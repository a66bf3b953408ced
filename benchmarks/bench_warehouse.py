"""Four writers and four readers on one DuckDB file: our lock against opening until it works.

Run with `make bench` or `python benchmarks/bench_warehouse.py`. Only ratios mean something; both take the same time.
"""

from __future__ import annotations

import multiprocessing as mp
import random
import statistics
import sys
import tempfile
import time
from multiprocessing.queues import Queue
from pathlib import Path

import duckdb

from cappuccino.store.warehouse import Warehouse

SECONDS, WRITERS, READERS = 8.0, 4, 4
ROWS = 400_000


def fill(file: Path) -> None:
    """Make a warehouse with a table of some size."""
    with Warehouse(file).write() as writer:
        writer.execute("create schema bench")
        writer.execute("create table bench.counts (worker bigint, n bigint)")
        writer.execute(f"create table bench.bulk as select range as n, random() as x from range({ROWS})")


def with_lock(file: Path, worker: int, writes: bool, until: float) -> list[float]:
    """Return the seconds of each operation through the warehouse."""
    warehouse, spent = Warehouse(file), []
    while time.monotonic() < until:
        started = time.monotonic()
        if writes:
            with warehouse.write() as writer:
                writer.execute("insert into bench.counts values ($w, 1)", w=worker)
        else:
            warehouse.query("select avg(x) as mean from bench.bulk")
        spent.append(time.monotonic() - started)
        time.sleep(random.uniform(0.01, 0.05))
    return spent


def with_retries(file: Path, worker: int, writes: bool, until: float) -> list[float]:
    """Return the seconds of each operation that opens the file until DuckDB lets it."""
    spent = []
    while time.monotonic() < until:
        started = time.monotonic()
        while True:
            try:
                connection = duckdb.connect(str(file), read_only=not writes)
                break
            except duckdb.IOException:
                time.sleep(random.uniform(0.005, 0.05))
        if writes:
            connection.execute("insert into bench.counts values (?, 1)", [worker])
        else:
            connection.sql("select avg(x) from bench.bulk").fetchall()
        connection.close()
        spent.append(time.monotonic() - started)
        time.sleep(random.uniform(0.01, 0.05))
    return spent


def work(way: str, file: Path, worker: int, writes: bool, until: float, out: Queue[tuple[bool, list[float]]]) -> None:
    """Run one process's operations and hand their times over."""
    random.seed(worker)
    out.put((writes, {"lock": with_lock, "retries": with_retries}[way](file, worker, writes, until)))


def measure(way: str) -> dict[str, float]:
    """Return operations a second and the 50th and 99th percentile of a write, in milliseconds."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "market.duckdb"
        fill(file)
        context = mp.get_context("spawn")
        out: Queue[tuple[bool, list[float]]] = context.Queue()
        until = time.monotonic() + SECONDS + 2.0
        jobs = [(n, n < WRITERS) for n in range(WRITERS + READERS)]
        processes = [context.Process(target=work, args=(way, file, n, w, until, out)) for n, w in jobs]
        for process in processes:
            process.start()
        found = [out.get() for _ in processes]
        for process in processes:
            process.join()
        counted = Warehouse(file).query("select count(*) as n from bench.counts")["n"][0]
    writes = [s for is_write, times in found if is_write for s in times]
    reads = [s for is_write, times in found if not is_write for s in times]
    if counted != len(writes):
        sys.exit(f"{way}: {len(writes)} writes were acknowledged, {counted} are there")
    percentiles = statistics.quantiles(writes, n=100, method="inclusive")
    return {
        "writes": len(writes),
        "reads": len(reads),
        "write p50 ms": 1e3 * percentiles[49],
        "write p99 ms": 1e3 * percentiles[98],
        "write max ms": 1e3 * max(writes),
    }


def main() -> None:
    lock, retries = measure("lock"), measure("retries")
    setting = f"({WRITERS} writers, {READERS} readers, {SECONDS:g} s)"
    print(f"{'figure':>14} {'our lock':>12} {'plain retry':>12} {'ratio':>8}   {setting}")
    for name in lock:
        print(f"{name:>14} {lock[name]:12,.1f} {retries[name]:12,.1f} {lock[name] / retries[name]:8.2f}")


if __name__ == "__main__":
    main()
