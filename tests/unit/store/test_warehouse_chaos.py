"""Writing processes are killed again and again: what was acknowledged stays, and nothing is torn."""

import random
import subprocess
import sys
import time
from pathlib import Path

from cappuccino.store.warehouse import Warehouse

N_KILLS = 8
N_WRITERS = 3
WORKER = """
import sys
from pathlib import Path
import polars as pl
from cappuccino.store.warehouse import Warehouse

file, writes = Path(sys.argv[1]), sys.argv[2] == "write"
warehouse = Warehouse(file)
sequence = 0
while True:
    if writes:
        rows = pl.DataFrame({"writer": sys.argv[3], "sequence": sequence, "part": range(50)})
        with warehouse.write() as writer:
            for few in rows.iter_slices(5):
                writer.append("main.parts", few)
            writer.execute("update main.total set n_writes = n_writes + 1")
        print(sequence, flush=True)
        sequence += 1
    else:
        torn = warehouse.query("from main.torn")
        print("torn" if len(torn) else "whole", flush=True)
"""


class Worker:
    """A process that prints a line for every write or read it has done; its output is kept in a file."""

    def __init__(self, file: Path, kind: str, name: str) -> None:
        self.name, self.log = name, file.with_name(f"{name}.log")
        with self.log.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-c", WORKER, str(file), kind, name], stdout=output, stderr=subprocess.STDOUT
            )

    def lines(self) -> list[str]:
        """Lines that were written whole."""
        return self.log.read_text().splitlines()

    def wait_until_it_works(self) -> None:
        deadline = time.monotonic() + 60
        while not self.log.read_text():
            assert self.process.poll() is None, "the worker ended by itself"
            assert time.monotonic() < deadline, "the worker does nothing"
            time.sleep(0.01)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def prepared(tmp_path: Path) -> Warehouse:
    warehouse = Warehouse(tmp_path / "chaos.duckdb")
    with warehouse.write() as writer:
        writer.execute(
            "create table main.parts (writer varchar, sequence int, part int, primary key (writer, sequence, part))"
        )
        writer.execute("create table main.total as select 0 as n_writes")
        writer.execute(
            "create view main.torn as select writer, sequence from main.parts group by all having count(*) <> 50"
        )
    return warehouse


def test_kills_lose_no_acknowledged_write_and_tear_none(tmp_path):
    warehouse, chance = prepared(tmp_path), random.Random(2026)
    working = [Worker(warehouse.file, "write", f"writer_{n}") for n in range(N_WRITERS)]
    reader = Worker(warehouse.file, "read", "reader")
    done: list[Worker] = []
    try:
        for kill in range(N_KILLS):
            victim = working.pop(0)
            victim.wait_until_it_works()
            time.sleep(chance.uniform(0, 0.1))
            victim.kill()
            done.append(victim)
            working.append(Worker(warehouse.file, "write", f"writer_{N_WRITERS + kill}"))
        reader.wait_until_it_works()
        assert reader.process.poll() is None
    finally:
        for worker in (*working, reader):
            worker.kill()
    acknowledged = {(w.name, int(line)) for w in (*done, *working) for line in w.lines()}
    assert len(acknowledged) >= N_KILLS
    written = {tuple(row) for row in warehouse.query("select distinct writer, sequence from main.parts").rows()}
    assert acknowledged <= written
    assert len(written - acknowledged) <= N_KILLS + N_WRITERS  # a kill may fall between commit and acknowledgement
    assert warehouse.query("from main.torn").height == 0
    assert warehouse.query("from main.total").rows() == [(len(written),)]
    assert set(reader.lines()) == {"whole"}
