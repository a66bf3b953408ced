"""Recorded depth: snapshot and updates become books, and the real recording does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from cappuccino.errors import DataError
from cappuccino.market.book import check_books
from cappuccino.market.book_files import DepthFile

START = datetime(2024, 8, 8, 23, 54, tzinfo=UTC)
SECOND = timedelta(seconds=1)
REAL = Path(__file__).parents[4] / "shared" / "data" / "depth_binance_spot_20240808.parquet"
Row = tuple[str, float, int | None, int, str, float, float]


def recording(tmp_path: Path, *rows: Row, lag: timedelta = SECOND) -> DepthFile:
    """Rows are (kind, second on the exchange, first id, last id, side, price, qty); the recorder's clock lags."""
    columns = {
        "symbol": ["BTC/USDT"] * len(rows),
        "ts_local": [START + second * SECOND - lag for _, second, *_ in rows],
        "ts_event": [None if kind == "snapshot" else START + second * SECOND for kind, second, *_ in rows],
        "first_update_id": [row[2] for row in rows],
        "last_update_id": [row[3] for row in rows],
        "side": [row[4] for row in rows],
        "price": [row[5] for row in rows],
        "qty": [row[6] for row in rows],
        "kind": [row[0] for row in rows],
    }
    file = tmp_path / "depth.parquet"
    pl.DataFrame(columns).with_columns(pl.col("ts_local").dt.cast_time_unit("ns")).write_parquet(file)
    return DepthFile(file, SECOND, n_levels=2)


SNAPSHOT: tuple[Row, ...] = (
    ("snapshot", 1.5, None, 10, "bid", 99.0, 1.0),
    ("snapshot", 1.5, None, 10, "bid", 98.0, 2.0),
    ("snapshot", 1.5, None, 10, "bid", 97.0, 4.0),
    ("snapshot", 1.5, None, 10, "ask", 101.0, 8.0),
)


def books(file: DepthFile) -> list[tuple[float, float, float]]:
    """(second, bid units, ask units) of each book."""
    frame = check_books(file.books(("BTC/USDT",)), ("BTC/USDT",), "test")
    return [((seen - START) / SECOND, bid, ask) for _, seen, bid, ask in frame.iter_rows()]


def test_a_book_has_the_best_levels_after_all_updates_up_to_its_second(tmp_path: Path) -> None:
    file = recording(
        tmp_path,
        ("update", 1.0, 5, 9, "bid", 99.0, 77.0),  # older than the snapshot
        *SNAPSHOT,
        ("update", 3.0, 9, 12, "bid", 98.0, 0.0),  # begins before the snapshot's end, as the first one does
        ("update", 3.0, 9, 12, "ask", 100.0, 16.0),
        ("update", 4.2, 13, 13, "ask", 100.0, 32.0),
        ("update", 6.1, 14, 15, "bid", 1.0, 1.0),
    )
    assert books(file) == [(2, 3, 8), (3, 5, 24), (4, 5, 24), (5, 5, 40), (6, 5, 40)]


def test_a_missing_update_a_crossed_book_and_a_missing_snapshot_are_refused(tmp_path: Path) -> None:
    late: Row = ("update", 9.0, 20, 21, "bid", 1.0, 1.0)
    with pytest.raises(DataError, match="BTC/USDT: updates 11 to 19 are missing before 2024-08-08 23:54:09 UTC"):
        books(recording(tmp_path, *SNAPSHOT, late))
    crossed: Row = ("update", 3.0, 11, 19, "bid", 101.0, 1.0)
    with pytest.raises(DataError, match=r"at 2024-08-08 23:54:03 UTC: the book has 101.0 bid and 101.0 ask"):
        books(recording(tmp_path, *SNAPSHOT, crossed, late))
    emptied: Row = ("update", 3.0, 11, 19, "ask", 101.0, 0.0)
    with pytest.raises(DataError, match=r"the book has 99\.0 bid and no ask"):
        books(recording(tmp_path, *SNAPSHOT, emptied, late))
    with pytest.raises(DataError, match="DOGE/USDT has no snapshot to begin with; choose among BTC/USDT"):
        recording(tmp_path, *SNAPSHOT, late).books(("DOGE/USDT",))


def test_a_file_that_is_absent_or_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no file"):
        DepthFile(tmp_path / "nothing.parquet").books(("BTC/USDT",))
    pl.DataFrame({"symbol": ["A"]}).write_parquet(tmp_path / "other.parquet")
    with pytest.raises(DataError, match=r"column ts_local, .* is missing; found symbol"):
        DepthFile(tmp_path / "other.parquet").books(("BTC/USDT",))


def test_a_real_recording_gives_books_that_are_never_crossed() -> None:
    if not REAL.is_file():
        pytest.skip(f"no real depth: {REAL.name} is not in shared/data beside the project")
    frame = check_books(DepthFile(REAL, SECOND).books(("BTC/USDT",)), ("BTC/USDT",), REAL.name)
    imbalance = (frame["bid_units"] - frame["ask_units"]) / (frame["bid_units"] + frame["ask_units"])
    assert len(frame) == 650
    assert imbalance.is_between(-1, 1).all()
    assert abs(imbalance.mean()) < 0.1
    assert frame["seen_at_utc"].min() > datetime(2024, 8, 8, 23, 54, 15, tzinfo=UTC)
    minutes = DepthFile(REAL).books(("BTC/USDT",))
    assert minutes.equals(frame.filter(pl.col("seen_at_utc").dt.second() == 0))
