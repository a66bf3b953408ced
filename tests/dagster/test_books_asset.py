"""The asset of order books adds one of each symbol, and says why where it adds none."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from assets.inputs import market_books
from cappuccino.clock import FixedClock
from cappuccino.market.simulated import SimulatedSource
from cappuccino.market.source import BarSource, empty_frame
from cappuccino.settings import Settings, load
from cappuccino.store.warehouse import Warehouse
from tests.unit.small_market import SCHEMA, SYMBOLS, Canned

NOW = datetime(2025, 3, 1, 12, 7, 30, tzinfo=UTC)


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    warehouse = Warehouse(tmp_path / "cappuccino.duckdb")
    warehouse.migrate(SCHEMA)
    return warehouse


def settings_with(tmp_path: Path, *inputs: str) -> Settings:
    (tmp_path / "empty.toml").write_text("")
    return load(
        tmp_path / "empty.toml",
        {"warehouse": tmp_path, "market": {"symbols": SYMBOLS}, "features": {"inputs": list(inputs)}},
    )


def materialized(settings: Settings, warehouse: Warehouse, source: BarSource) -> dg.MaterializeResult[None]:
    result = market_books(settings=settings, clock=FixedClock(NOW), source=source, warehouse=warehouse)
    assert isinstance(result, dg.MaterializeResult)
    return result


def test_a_snapshot_of_each_symbol_is_added(tmp_path: Path, warehouse: Warehouse) -> None:
    settings = settings_with(tmp_path, "book_imbalance")
    result = materialized(settings, warehouse, SimulatedSource(5))
    assert (result.metadata or {})["books_recorded"] == 2
    rows = warehouse.query("select symbol, seen_at_utc, source from market.books order by symbol").rows()
    assert rows == [(symbol, NOW.replace(second=0), "simulated") for symbol in SYMBOLS]


@pytest.mark.parametrize(
    ("inputs", "source", "said"),
    [
        (("sentiment",), SimulatedSource(5), "book_imbalance is not among features.inputs"),
        (("book_imbalance",), Canned(empty_frame(), name="canned"), "source canned has no order books"),
    ],
)
def test_nothing_is_added_where_nothing_is_asked_for_or_known(
    tmp_path: Path, warehouse: Warehouse, inputs: tuple[str, ...], source: BarSource, said: str
) -> None:
    result = materialized(settings_with(tmp_path, *inputs), warehouse, source)
    metadata = result.metadata or {}
    assert said in str(metadata["skipped"])
    assert metadata["books_recorded"] == metadata["dagster/row_count"] == 0
