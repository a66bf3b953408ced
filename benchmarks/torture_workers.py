"""What the processes of bench_torture.py do until they are killed, and what they insist on meanwhile."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import polars as pl

from cappuccino.store.warehouse import Warehouse

TABLES = (
    "create schema torture",
    "create table torture.batches (id varchar primary key, n_parts bigint not null, checksum bigint not null)",
    "create table torture.parts (batch varchar, part bigint, value bigint, primary key (batch, part))",
    "create table torture.notes (text varchar)",
)
STATE = """
    with found as (select batch, count(*) as n_parts, sum(value) as checksum from torture.parts group by batch)
    select
        (select count(*) from torture.batches),
        count(*) filter (
            batches.n_parts is distinct from found.n_parts or batches.checksum is distinct from found.checksum
        )
    from torture.batches as batches
    full join found on found.batch = batches.id
"""
GIVEN_UP, PERSON_WAIT_S, PERSON_PAUSE_S = 0.05, 60.0, 0.05


class ImpossibleError(Exception):
    """Somebody saw a state that never was."""


class Log:
    """What one process did, on the disk before it does the next thing: start, end (monotonic s), kind, detail."""

    def __init__(self, file: Path) -> None:
        self._descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(self, started_s: float, kind: str, detail: str = "") -> None:
        os.write(self._descriptor, f"{started_s:.6f} {time.monotonic():.6f} {kind} {detail}\n".encode())
        os.fsync(self._descriptor)


class Witness:
    """Looks at states of the warehouse, one after the other, and refuses what can never have been."""

    def __init__(self) -> None:
        self.n_batches = 0

    def see(self, n_batches: int, n_torn: int) -> None:
        if n_torn:
            raise ImpossibleError(f"{n_torn} torn batches of {n_batches}")
        if n_batches < self.n_batches:
            raise ImpossibleError(f"{n_batches} batches after {self.n_batches}")
        self.n_batches = n_batches


def write(folder: Path, name: str, chance: random.Random, log: Log) -> Iterator[None]:
    """Write batches; a few are given up in the middle and must leave nothing."""
    warehouse, sequence = Warehouse(folder / "market.duckdb"), 0
    while True:
        sequence, started_s = sequence + 1, time.monotonic()
        values = [chance.randrange(10**9) for _ in range(chance.randint(2, 40))]
        is_given_up = chance.random() < GIVEN_UP
        batch = f"{name}-{sequence}" + ("-given-up" if is_given_up else "")
        parts = pl.DataFrame({"batch": batch, "part": range(len(values)), "value": values})
        try:
            with warehouse.write() as writer:
                writer.append("torture.parts", parts[::2])
                row = {"id": batch, "n_parts": len(values), "checksum": sum(values)}
                writer.append("torture.batches", pl.DataFrame([row]))
                if is_given_up:
                    raise InterruptedError
                writer.append("torture.parts", parts[1::2])
            log.note(started_s, "wrote", batch)
        except InterruptedError:
            log.note(started_s, "gave_up", batch)
        yield


def read(folder: Path, name: str, chance: random.Random, log: Log) -> Iterator[None]:
    """Read and verify, twice in a while in one opening: nobody may write in between."""
    warehouse, witness = Warehouse(folder / "market.duckdb"), Witness()
    while True:
        started_s = time.monotonic()
        with warehouse.read() as reader:
            witness.see(*(reader.one(STATE) or (0, 0)))
            if chance.random() < 0.2:
                before = witness.n_batches
                time.sleep(0.01)
                witness.see(*(reader.one(STATE) or (0, 0)))
                if witness.n_batches != before:
                    raise ImpossibleError("somebody wrote while a reader had the file")
        log.note(started_s, "read")
        yield


def publish(folder: Path, name: str, chance: random.Random, log: Log) -> Iterator[None]:
    """Publish now and then."""
    warehouse = Warehouse(folder / "market.duckdb")
    while True:
        started_s = time.monotonic()
        warehouse.publish(folder / "published.duckdb")
        log.note(started_s, "published")
        time.sleep(chance.uniform(0.1, 0.8))
        yield


def person(folder: Path, name: str, chance: random.Random, log: Log) -> Iterator[None]:
    """Open the files with plain DuckDB for a while, to read, to write a note, or with one left open at the end."""
    files = {"market": Witness(), "published": Witness()}
    while True:
        which = "published" if chance.random() < 0.3 and (folder / "published.duckdb").exists() else "market"
        writes = which == "market" and chance.random() < 0.4
        with _opened_by_hand(folder / f"{which}.duckdb", writes) as connection:
            started_s = time.monotonic()
            files[which].see(*connection.sql(STATE).fetchall()[0])
            if writes:
                connection.execute("insert into torture.notes values (?)", [f"{name} was here"])
                connection.execute("begin")
                connection.execute("delete from torture.batches")  # never committed
            time.sleep(chance.uniform(0, 0.3))
        log.note(started_s, "held" if which == "market" else "looked")
        time.sleep(chance.uniform(0, 0.3))
        yield


@contextmanager
def _opened_by_hand(file: Path, writes: bool) -> Iterator[duckdb.DuckDBPyConnection]:
    deadline = time.monotonic() + PERSON_WAIT_S
    while True:
        try:
            connection = duckdb.connect(str(file), read_only=not writes)
            break
        except duckdb.IOException as error:
            if "Could not set lock" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(PERSON_PAUSE_S)
    try:
        yield connection
    finally:
        connection.close()


ROLES: dict[str, Callable[[Path, str, random.Random, Log], Iterator[None]]] = {
    "writer": write,
    "reader": read,
    "publisher": publish,
    "person": person,
}


def work(role: str, folder: str, name: str, seed: int) -> None:
    """Do one process's work; what ends it, other than being killed, goes to its log."""
    log, chance, started_s = Log(Path(folder, f"{name}.log")), random.Random(f"{seed}-{name}"), time.monotonic()
    try:
        for _ in ROLES[role](Path(folder), name, chance, log):
            time.sleep(chance.uniform(0, 0.02))
    except BaseException as error:
        log.note(started_s, "failed", " ".join(repr(error).split()))
        raise
