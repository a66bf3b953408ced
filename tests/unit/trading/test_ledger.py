"""The ledger keeps whole transactions or nothing, whatever happens to its process or its file."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cappuccino.errors import LedgerError
from cappuccino.trading.ledger import FILE, Entry, Ledger, from_us, to_us
from cappuccino.trading.ledger_schema import USER_VERSION


@pytest.fixture
def ledger(tmp_path: Path):  # type: ignore[no-untyped-def]
    with closing(Ledger(tmp_path)) as opened:
        yield opened


def add(entry: Entry, at_us: int, kind: str = "test") -> None:
    entry.insert("events", at_us=at_us, account="a", kind=kind, symbol="", detail="")


def times(ledger: Ledger) -> list[int]:
    return [row["at_us"] for row in ledger.rows("select at_us from events order by rowid")]


def test_a_block_that_fails_stores_nothing(ledger: Ledger) -> None:
    with pytest.raises(ZeroDivisionError), ledger.write() as entry:
        add(entry, 1)
        raise ZeroDivisionError
    assert (times(ledger), ledger.version) == ([], 0)
    with ledger.write() as entry:
        add(entry, 2)
    assert (times(ledger), ledger.version) == ([2], 1)


def test_a_row_with_a_key_that_is_there_is_refused_and_nothing_of_the_block_stays(ledger: Ledger) -> None:
    look = {"account": "a", "at_us": 1, "value_usd": 1.0, "cash_usd": 1.0, "exposure_frac": 0.0}
    with ledger.write() as entry:
        entry.insert("looks", **look)
    with pytest.raises(LedgerError, match="nothing was stored"), ledger.write() as entry:
        add(entry, 1)
        entry.insert("looks", **look)
    assert times(ledger) == []
    with ledger.write() as entry:
        entry.upsert("looks", **{**look, "value_usd": 2.0})
    assert [row["value_usd"] for row in ledger.rows("select * from looks")] == [2.0]


def test_a_change_of_a_row_that_is_not_there_is_refused(ledger: Ledger) -> None:
    with pytest.raises(LedgerError, match="orders has 0 rows"), ledger.write() as entry:
        entry.update("orders", {"client_id": "x"}, state="filled")


def test_a_writer_that_is_killed_inside_a_transaction_leaves_what_was_before(tmp_path: Path) -> None:
    program = f"""
import os, signal
from pathlib import Path
from cappuccino.trading.ledger import Ledger
ledger = Ledger(Path({str(tmp_path)!r}))
row = dict(account="a", kind="test", symbol="", detail="x" * 1000)
with ledger.write() as entry:
    entry.insert("events", at_us=1, **row)
with ledger.write() as entry:
    for n in range(5000):
        entry.insert("events", at_us=2, **row)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", program], check=False, env={**os.environ, "PYTHONPATH": "."})
    assert done.returncode == -signal.SIGKILL
    with closing(Ledger(tmp_path)) as ledger:
        assert (times(ledger), ledger.version) == ([1], 1)
        assert ledger.row("pragma integrity_check")[0] == "ok"  # type: ignore[index]


def test_a_reader_sees_whole_transactions_while_somebody_writes(tmp_path: Path, ledger: Ledger) -> None:
    with ledger.write() as entry:
        add(entry, 1)
    with closing(Ledger(tmp_path, is_reader=True)) as reader:
        with ledger.write() as entry:
            add(entry, 2)
            assert times(reader) == [1]
            add(entry, 3)
        assert times(reader) == [1, 2, 3]


def test_a_reader_cannot_write(tmp_path: Path, ledger: Ledger) -> None:
    with (
        closing(Ledger(tmp_path, is_reader=True)) as reader,
        pytest.raises(LedgerError, match="cannot be written"),
        reader.write(),
    ):
        pass
    assert ledger.version == 0


def test_a_second_writer_is_refused_after_a_while_and_says_so(tmp_path: Path, ledger: Ledger) -> None:
    with closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as other:
        other.execute("begin immediate")
        ledger.rows("pragma busy_timeout = 1")
        locked = "cannot be written: database is locked; nothing was sent"
        with pytest.raises(LedgerError, match=locked), ledger.write() as entry:
            add(entry, 1)
    assert times(ledger) == []


def test_without_a_ledger_a_reader_is_told_who_makes_one(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="the trader makes one: `cappuccino trade`"):
        Ledger(tmp_path, is_reader=True)


def test_a_file_that_is_no_database_is_not_touched(tmp_path: Path) -> None:
    file = tmp_path / FILE
    file.write_bytes(b"no database" * 1000)
    with pytest.raises(LedgerError, match=r"cannot be opened: file is not a database. Move it away"):
        Ledger(tmp_path)
    assert file.read_bytes() == b"no database" * 1000


def test_a_page_that_is_damaged_is_an_error_of_the_ledger(tmp_path: Path) -> None:
    with closing(Ledger(tmp_path)) as ledger, ledger.write() as entry:
        for n in range(500):
            add(entry, n)
    file = tmp_path / FILE
    with file.open("r+b") as opened:
        opened.seek(4096)
        opened.write(b"\xff" * (file.stat().st_size - 4096))
    with pytest.raises(LedgerError, match=r"cannot be (opened|read)"), closing(Ledger(tmp_path)) as ledger:
        ledger.rows("select * from events")


def test_the_ledger_of_a_newer_version_is_not_touched(tmp_path: Path) -> None:
    Ledger(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / FILE)) as connection:
        connection.execute(f"pragma user_version = {USER_VERSION + 1}")
    with pytest.raises(LedgerError, match=f"layout {USER_VERSION + 1}, this one knows {USER_VERSION}"):
        Ledger(tmp_path)


def test_what_is_stored_is_on_the_disk(ledger: Ledger) -> None:
    """FULL, in the log that a crash is recovered from."""
    found = [ledger.row(f"pragma {name}")[0] for name in ("journal_mode", "synchronous")]  # type: ignore[index]
    assert found == ["wal", 2]


def test_versions_rise_by_one_and_are_on_every_row(ledger: Ledger) -> None:
    for n in (1, 2, 3):
        with ledger.write() as entry:
            assert entry.version == n
            add(entry, n)
            add(entry, n)
    rows = ledger.rows("select at_us, version from events")
    assert [(row["at_us"], row["version"]) for row in rows] == [(n, n) for n in (1, 1, 2, 2, 3, 3)]


@settings(max_examples=25)
@given(sizes=st.lists(st.integers(1, 5), max_size=8), limit=st.integers(1, 6))
def test_reading_on_by_version_finds_every_row_once_and_whole_transactions(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], limit: int
) -> None:
    with closing(Ledger(tmp_path_factory.mktemp("ledger"))) as ledger:
        for n, size in enumerate(sizes):
            with ledger.write() as entry:
                for _ in range(size):
                    add(entry, n)
        seen, version = [], 0
        while rows := ledger.since("events", version, limit):
            found = [row["at_us"] for row in rows]
            assert all(found.count(n) == sizes[n] for n in set(found))
            seen += found
            version = rows[-1]["version"]
        assert seen == [n for n, size in enumerate(sizes) for _ in range(size)]


def test_a_row_that_changed_is_new_again(ledger: Ledger) -> None:
    account = dict.fromkeys(("account", "broker", "stage", "study", "symbols", "interval", "state"), "x")
    with ledger.write() as entry:
        entry.insert("accounts", **account, trial=1, opened_us=1, cash_usd=1.0)
    assert not ledger.since("accounts", ledger.version, 10)
    before = ledger.version
    with ledger.write() as entry:
        entry.update("accounts", {"account": "x"}, trouble="differs")
    assert [row["trouble"] for row in ledger.since("accounts", before, 10)] == ["differs"]


@given(st.integers(-(10**15), 10**16))
def test_times_come_back_to_the_microsecond(us: int) -> None:
    assert to_us(from_us(us)) == us


def test_old_rows_are_found_by_their_time(ledger: Ledger) -> None:
    """Every poll looks for what is too old: it must not read all looks of a month for that."""
    for table in ("looks", "heartbeats"):
        plan = ledger.rows(f"explain query plan delete from {table} where at_us < 5")
        assert "USING INDEX" in plan[0]["detail"]
    for where in ("account = 'a' and state in ('filled') and updated_us >= 5", "decision = 'd'"):
        plan = ledger.rows(f"explain query plan select * from orders where {where}")
        assert "USING INDEX" in plan[0]["detail"]


def test_a_ledger_of_an_earlier_layout_gets_what_is_new(tmp_path: Path) -> None:
    Ledger(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / FILE)) as old:
        old.execute("alter table accounts drop column venue_account")
        old.execute("drop table instruments")
        old.commit()
    ledger = Ledger(tmp_path)
    assert ledger.rows("select venue_account from accounts") == []
    assert ledger.rows("select * from instruments") == []
