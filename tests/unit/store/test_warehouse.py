import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import duckdb
import polars as pl
import pytest

from cappuccino.errors import ContractError, WarehouseBusy, WarehouseError
from cappuccino.store import locks
from cappuccino.store.warehouse import Warehouse

NOON = datetime(2025, 6, 1, 12, tzinfo=UTC)
OUTSIDER = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1])
print("open", flush=True)
sys.stdin.read()
"""


def numbers(tmp_path: Path, **options: float) -> Warehouse:
    warehouse = Warehouse(tmp_path / "numbers.duckdb", **options)
    with warehouse.write() as writer:
        writer.execute("create table main.numbers (n integer primary key, at_utc timestamp)")
    return warehouse


def stored(warehouse: Warehouse) -> list[int]:
    return warehouse.query("select n from main.numbers order by n")["n"].to_list()


def outsider(file: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", OUTSIDER, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    return process


def test_a_write_is_there_for_the_next_reader(tmp_path):
    warehouse = numbers(tmp_path)
    with warehouse.write() as writer:
        writer.execute("insert into main.numbers values ($n, null)", n=7)
    assert stored(warehouse) == [7]
    assert stored(Warehouse(tmp_path / "numbers.duckdb")) == [7]


def test_an_exception_in_the_block_leaves_nothing_of_it(tmp_path):
    warehouse = numbers(tmp_path)
    with pytest.raises(KeyboardInterrupt), warehouse.write() as writer:
        writer.execute("insert into main.numbers values (1, null)")
        writer.execute("create table main.other (n integer)")
        raise KeyboardInterrupt
    assert stored(warehouse) == []
    assert warehouse.query("select count(*) as n from duckdb_tables() where table_name = 'other'")["n"][0] == 0


def test_a_failing_statement_leaves_nothing_of_the_block_and_says_what_failed(tmp_path):
    warehouse = numbers(tmp_path)
    said = r"(?s)numbers\.duckdb: .*nowhere.*in: insert into nowhere"
    with pytest.raises(WarehouseError, match=said), warehouse.write() as writer:
        writer.execute("insert into main.numbers values (1, null)")
        writer.execute("insert into nowhere values (1)")
    assert stored(warehouse) == []


def test_a_writer_reads_what_it_wrote(tmp_path):
    with numbers(tmp_path).write() as writer:
        writer.execute("insert into main.numbers values (1, $at)", at=NOON)
        assert writer.one("select n, at_utc from main.numbers") == (1, NOON)


def test_a_reader_cannot_write(tmp_path):
    with numbers(tmp_path).read() as reader, pytest.raises(WarehouseError, match="read-only"):
        reader.query("insert into main.numbers values (1, null)")


def test_times_are_aware_utc_in_python_and_naive_utc_in_the_table(tmp_path):
    warehouse = numbers(tmp_path)
    elsewhere = NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))
    with warehouse.write() as writer:
        writer.execute("insert into main.numbers values (1, $at)", at=elsewhere)
    frame = warehouse.query("select at_utc, at_utc::varchar as text, [at_utc] as listed from main.numbers")
    assert frame.schema == {
        "at_utc": pl.Datetime("us", "UTC"),
        "text": pl.String(),
        "listed": pl.List(pl.Datetime("us", "UTC")),
    }
    assert frame.row(0) == (NOON, "2025-06-01 12:00:00", [NOON])


def test_parameters_may_be_times_and_lists_of_times(tmp_path):
    warehouse = numbers(tmp_path)
    with warehouse.read() as reader:
        assert reader.one("select timestamp '2025-06-01 12:00' = $at", at=NOON) == (True,)
        assert reader.one("select timestamp '2025-06-01 12:00' in $times", times=[NOON]) == (True,)
        with pytest.raises(ValueError, match="no time zone"):
            reader.one("select $at", at=NOON.replace(tzinfo=None))


def test_now_in_sql_is_utc_whatever_the_zone_of_the_machine(tmp_path):
    assert numbers(tmp_path).query("select current_setting('TimeZone') as zone")["zone"][0] == "UTC"


def test_an_interval_column_comes_as_text(tmp_path):
    frame = numbers(tmp_path).query("select interval '90 minutes' as length, 1 as n")
    assert frame.row(0) == ("01:30:00", 1)


def test_one_gives_the_row_or_none_and_refuses_to_choose(tmp_path):
    with numbers(tmp_path).read() as reader:
        assert reader.one("select 1, 'a'") == (1, "a")
        assert reader.one("select 1 where false") is None
        with pytest.raises(WarehouseError, match="at most one row"):
            reader.one("from range(3)")


def test_reading_where_no_warehouse_is_says_so_and_leaves_no_file(tmp_path):
    with pytest.raises(WarehouseError, match=r"no warehouse at .*absent\.duckdb"):
        Warehouse(tmp_path / "absent.duckdb").query("select 1")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["text", "header", "truncated"])
def test_a_damaged_file_is_named_with_what_to_do(tmp_path, damage):
    warehouse = numbers(tmp_path)
    with warehouse.write() as writer:
        writer.execute("insert into main.numbers select range, null from range(100000)")
    content = warehouse.file.read_bytes()
    replaced = {
        "text": b"not a database",
        "header": content[:5000] + bytes(20000) + content[25000:],
        "truncated": content[: len(content) // 3],
    }
    warehouse.file.write_bytes(replaced[damage])
    with pytest.raises(WarehouseError, match=r"(?s)numbers\.duckdb cannot be read.*backup"):
        warehouse.query("select sum(n) from main.numbers")


def test_another_file_that_a_query_misses_is_not_taken_for_damage(tmp_path):
    with pytest.raises(WarehouseError, match=r"absent\.parquet") as failure:
        numbers(tmp_path).query("from 'absent.parquet'")
    assert "backup" not in str(failure.value)


def test_opening_inside_an_opening_is_refused_at_once(tmp_path):
    warehouse = numbers(tmp_path)
    started = time.monotonic()
    with warehouse.read(), pytest.raises(WarehouseError, match="open in this thread already"):
        warehouse.query("select 1")
    with warehouse.write(), pytest.raises(WarehouseError, match="open in this thread already"):
        Warehouse(warehouse.file).query("select 1")
    assert time.monotonic() - started < 5
    assert stored(warehouse) == []


def test_readers_read_together(tmp_path):
    warehouse = numbers(tmp_path)
    both = threading.Barrier(2, timeout=10)

    def meet(met: list[bool]) -> None:
        with warehouse.read() as reader:
            both.wait()
            met.append(reader.one("select count(*) from main.numbers") == (0,))

    met: list[bool] = []
    threads = [threading.Thread(target=meet, args=(met,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert met == [True, True]


def test_threads_that_add_lose_no_addition(tmp_path):
    warehouse = numbers(tmp_path)
    with warehouse.write() as writer:
        writer.execute("insert into main.numbers values (0, null)")

    def add() -> None:
        for _ in range(5):
            with warehouse.write() as writer:
                writer.execute("update main.numbers set n = n + 1")

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stored(warehouse) == [20]


def test_a_stream_of_readers_does_not_starve_a_writer(tmp_path):
    warehouse = numbers(tmp_path, timeout_s=10)
    done = threading.Event()

    def read_on_and_on() -> None:
        while not done.is_set():
            with locks.held(warehouse.file, exclusive=False, timeout_s=10):
                time.sleep(0.03)

    readers = [threading.Thread(target=read_on_and_on) for _ in range(6)]
    for reader in readers:
        reader.start()
    try:
        for n in range(3):
            with warehouse.write() as writer:
                writer.execute("insert into main.numbers values ($n, null)", n=n)
    finally:
        done.set()
        for reader in readers:
            reader.join()
    assert stored(warehouse) == [0, 1, 2]


def test_a_writer_that_stays_too_long_is_named(tmp_path):
    warehouse = numbers(tmp_path, timeout_s=0.05)
    with (
        locks.held(warehouse.file, exclusive=True, timeout_s=1),
        pytest.raises(WarehouseBusy, match=r"numbers\.duckdb is in use by process \d+, which is writing"),
    ):
        warehouse.query("select 1")
    assert stored(warehouse) == []


def test_readers_that_stay_too_long_are_told_to_the_writer(tmp_path):
    warehouse = numbers(tmp_path, timeout_s=0.05)
    reading = locks.held(warehouse.file, exclusive=False, timeout_s=1)
    with reading, pytest.raises(WarehouseBusy, match="in use by other readers"), warehouse.write():
        pass
    assert stored(warehouse) == []


def test_an_outsider_who_stays_is_reported_with_the_process_that_duckdb_names(tmp_path):
    warehouse = numbers(tmp_path, timeout_s=0.2)
    process = outsider(warehouse.file)
    try:
        with pytest.raises(WarehouseBusy, match=rf"not Cappuccino.*PID {process.pid}"):
            warehouse.query("select 1")
    finally:
        process.communicate("")
    assert stored(warehouse) == []


def test_an_outsider_who_leaves_in_time_is_waited_for(tmp_path):
    warehouse = numbers(tmp_path, timeout_s=30)
    process = outsider(warehouse.file)
    leaving = threading.Timer(0.2, process.communicate, args=("",))
    leaving.start()
    with warehouse.write() as writer:
        writer.execute("insert into main.numbers values (1, null)")
    leaving.join()
    assert stored(warehouse) == [1]


def test_a_file_is_created_so_that_the_older_duckdb_opens_it(tmp_path):
    warehouse = numbers(tmp_path)
    created = warehouse.query("select tags['storage_version'] as version from duckdb_databases() where not internal")
    assert created["version"].to_list() == ["v1.5.0+"]


def test_a_published_copy_has_every_row_and_may_stay_open_while_the_warehouse_is_written(tmp_path):
    warehouse, copy = numbers(tmp_path), tmp_path / "published.duckdb"
    with warehouse.write() as writer:
        writer.execute("insert into main.numbers values (1, null)")
    warehouse.publish(copy)
    with duckdb.connect(str(copy), read_only=True) as notebook:
        with warehouse.write() as writer:
            writer.execute("insert into main.numbers values (2, null)")
        warehouse.publish(copy)
        assert notebook.sql("select n from main.numbers").fetchall() == [(1,)]
    assert stored(Warehouse(copy)) == [1, 2]
    assert not (tmp_path / "published.duckdb.part").exists()


def test_a_published_copy_has_what_a_killed_writer_had_committed(tmp_path):
    warehouse, copy = numbers(tmp_path), tmp_path / "published.duckdb"
    killed = """
import os, signal, sys
from pathlib import Path
from cappuccino.store.warehouse import Warehouse
with Warehouse(Path(sys.argv[1])).write() as writer:
    writer.execute("insert into main.numbers values (1, null)")
    writer.connection.execute("commit")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", killed, str(warehouse.file)], check=False)
    assert warehouse.file.with_name("numbers.duckdb.wal").exists()
    warehouse.publish(copy)
    assert stored(Warehouse(copy)) == [1]


def test_what_somebody_wrote_into_the_published_copy_does_not_survive_the_next_one(tmp_path):
    warehouse, copy = numbers(tmp_path), tmp_path / "published.duckdb"
    warehouse.publish(copy)
    copy.with_name("published.duckdb.wal").write_bytes(b"somebody's changes")
    warehouse.publish(copy)
    assert stored(Warehouse(copy)) == []


def test_a_broken_constraint_is_a_contract_error(tmp_path):
    warehouse = numbers(tmp_path)
    with pytest.raises(ContractError, match=r"(?i)duplicate key"), warehouse.write() as writer:
        writer.execute("insert into main.numbers values (1, null)")
        writer.execute("insert into main.numbers values (1, null)")
    assert stored(warehouse) == []
