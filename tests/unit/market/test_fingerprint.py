"""The fingerprint of bars: a sum that every change of a bar changes, and nothing else does."""

from __future__ import annotations

import hashlib
import struct
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cappuccino.market.fingerprint import bars_fingerprint
from cappuccino.store.models import build
from cappuccino.store.warehouse import Warehouse
from tests.unit.small_market import HOUR, SCHEMA, START, SYMBOLS, sync

STOP = START + timedelta(days=3)
PRIME = 2**31 - 1
FACTORS = (1, 16807, 48271, 69621, 630360016)


@pytest.fixture(scope="module")
def synced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    warehouse = Warehouse(tmp_path_factory.mktemp("fingerprint") / "w.duckdb")
    warehouse.migrate(SCHEMA)
    sync(warehouse, START, STOP)
    return warehouse.file


@pytest.fixture
def warehouse(tmp_path: Path, synced: Path) -> Warehouse:
    file = tmp_path / "w.duckdb"
    file.write_bytes(synced.read_bytes())
    return Warehouse(file)


def taken(
    warehouse: Warehouse,
    symbols: tuple[str, ...] = SYMBOLS,
    start: datetime = START,
    stop: datetime = STOP,
) -> str:
    """The fingerprint of what is stored, once the longer bars have been made of it."""
    with warehouse.write() as writer:
        build(writer, SCHEMA.models["market.bars_all"])
    with warehouse.read() as reader:
        return bars_fingerprint(reader, symbols, start, stop)


def change(warehouse: Warehouse, *statements: str) -> None:
    with warehouse.write() as writer:
        for statement in statements:
            writer.execute(statement)


def expected(warehouse: Warehouse) -> str:
    """The same, bar by bar in Python's whole numbers, from the bytes of each value."""
    totals: dict[str, tuple[int, int]] = {}
    rows = warehouse.query("select symbol, opened_at_utc, open, high, low, close, volume from market.bars").rows()
    for symbol, opened_at, *values in rows:
        minute = (opened_at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(minutes=1)
        weight = pow((minute * 1566083941 + 1) % PRIME, 2, PRIME)
        bits = (struct.unpack(">q", struct.pack(">d", value))[0] for value in values)
        number = sum(bit * (weight * factor % PRIME + 1) for bit, factor in zip(bits, FACTORS, strict=True))
        n_bars, total = totals.get(symbol, (0, 0))
        totals[symbol] = (n_bars + 1, total + number)
    text = ",".join(f"{symbol} {n_bars} {total}" for symbol, (n_bars, total) in sorted(totals.items()))
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def test_the_fingerprint_is_the_sum_that_its_description_promises(warehouse: Warehouse) -> None:
    assert taken(warehouse) == expected(warehouse)


def test_the_order_of_rows_and_of_symbols_does_not_matter(warehouse: Warehouse) -> None:
    before = taken(warehouse)
    change(warehouse, "create or replace table market.bars as from market.bars order by hash(opened_at_utc, symbol)")
    assert taken(warehouse, SYMBOLS[::-1]) == before


@pytest.mark.parametrize("column", ["open", "high", "low", "close", "volume"])
def test_the_smallest_change_of_any_value_shows_and_putting_it_back_hides_it(warehouse: Warehouse, column: str) -> None:
    before = taken(warehouse)
    where = "where symbol = 'ETH/USD' and opened_at_utc = '2025-03-02 05:00'"
    (value,) = warehouse.query(f"select {column} from market.bars {where}").row(0)
    (next_up,) = struct.unpack(">d", struct.pack(">q", struct.unpack(">q", struct.pack(">d", value))[0] + 1))
    change(warehouse, f"update market.bars set {column} = {next_up!r} {where}")
    assert taken(warehouse) != before
    change(warehouse, f"update market.bars set {column} = {value!r} {where}")
    assert taken(warehouse) == before


OTHERS = {
    "a bar that is withdrawn": "delete from market.bars where symbol = 'BTC/USD' and opened_at_utc = '2025-03-02'",
    "two bars that change places": """
        update market.bars set
            opened_at_utc = timestamp '2025-03-03' - (opened_at_utc - timestamp '2025-03-03'),
            closed_at_utc = timestamp '2025-03-03' - (opened_at_utc - timestamp '2025-03-03') + interval 1 hour
        where symbol = 'BTC/USD' and opened_at_utc in ('2025-03-02 23:00', '2025-03-03 01:00')
    """,
    "two symbols that change places": """
        update market.bars set symbol = if(symbol = 'BTC/USD', 'ETH/USD', 'BTC/USD')
        where opened_at_utc = '2025-03-02'
    """,
    "two columns that change places": "update market.bars set open = close, close = open where hour(opened_at_utc) = 3",
    "changes of neighbours that add up to nothing": """
        update market.bars set volume = 4 + (case hour(opened_at_utc) when 7 then 1 when 8 then -2 else 1 end)
        where symbol = 'BTC/USD' and opened_at_utc between '2025-03-02 07:00' and '2025-03-02 09:00'
    """,
}


@pytest.mark.parametrize("what", OTHERS)
def test_other_bars_have_another_fingerprint(warehouse: Warehouse, what: str) -> None:
    change(
        warehouse,
        "update market.bars set volume = 4 where symbol = 'BTC/USD' "
        "and opened_at_utc between '2025-03-02 07:00' and '2025-03-02 09:00'",
    )
    before = taken(warehouse)
    change(warehouse, OTHERS[what])
    assert taken(warehouse) != before


def test_only_the_range_and_the_symbols_that_are_asked_for_count(warehouse: Warehouse) -> None:
    inside = ("BTC/USD",), START + HOUR, STOP - HOUR
    before = taken(warehouse, *inside)
    change(
        warehouse,
        "update market.bars set volume = 9 where symbol = 'ETH/USD'",
        "update market.bars set volume = 9 where opened_at_utc in ('2025-03-01', '2025-03-03 23:00')",
    )
    assert taken(warehouse, *inside) == before
    change(warehouse, "update market.bars set volume = 9 where opened_at_utc = '2025-03-03 22:00'")
    assert taken(warehouse, *inside) != before


def test_a_range_without_bars_has_a_fingerprint_too(warehouse: Warehouse) -> None:
    assert taken(warehouse, start=STOP, stop=STOP + HOUR) == hashlib.md5(b"", usedforsecurity=False).hexdigest()


def test_bars_that_the_derived_ones_lag_behind_of_have_two_numbers(warehouse: Warehouse) -> None:
    change(warehouse, "update market.bars set volume = 9 where symbol = 'BTC/USD' and opened_at_utc = '2025-03-02'")
    differing = warehouse.query(
        """
        select symbol, opened_at_utc from market.fingerprints
        group by symbol, opened_at_utc having count(distinct fingerprint) <> 1
        """
    )
    assert differing.rows() == [("BTC/USD", datetime(2025, 3, 2, tzinfo=UTC))]
