"""A small sql/ tree and a warehouse in a temporary folder."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cappuccino.store.schema import Schema
from cappuccino.store.warehouse import Warehouse

BARS = """/*
description: Bars as the source gave them.
grain: one row per symbol and open
columns:
  symbol: Traded pair.
  opened_at_utc: Open of the bar.
  close: Last price.
  volume: Traded amount.
tests:
  - not_null: [symbol, close]
  - unique: [symbol, opened_at_utc]
  - positive: [close]
  - accepted: {symbol: [BTC/USD, ETH/USD]}
  - expression: volume >= 0
*/
create table market.bars (
    symbol varchar not null,
    opened_at_utc timestamp not null,
    close double not null,
    volume double default 0,
    primary key (symbol, opened_at_utc)
);
"""
FEATURES = """/*
description: Features.
grain: one row per bar
extensible: double
columns: {symbol: Traded pair., opened_at_utc: Open of the bar.}
*/
create table features.features (symbol varchar not null, opened_at_utc timestamp not null)
"""
LAST = """/*
description: The newest close of each symbol.
grain: one row per symbol
columns: {symbol: Traded pair., close: 'Close, "newest" bar: it''s last.'}
tests:
  - relationship: {column: symbol, to: market.bars.symbol}
examples:
  - name: the later of two bars counts
    given:
      market.bars:
        - {symbol: BTC/USD, opened_at_utc: 2025-01-01 00:00, close: 1.5}
        - {symbol: BTC/USD, opened_at_utc: 2025-01-02 00:00, close: 0.3}
    expect:
      - {symbol: BTC/USD, close: 0.3}
*/
select symbol, arg_max(close, opened_at_utc) as close from market.bars group by symbol
"""
DAILY = """/*
description: Days with bars.
grain: one row per day
materialized: table
columns: {day: UTC day., n_symbols: Symbols with a bar., highest: Highest newest close.}
*/
with named as (select * from market.bars),
highest as (select max(close) as highest from market.last_close)
select opened_at_utc::date as day, count(distinct symbol) as n_symbols, any_value(highest) as highest
from named cross join highest group by day
"""
TREE = {
    "market/bars": BARS,
    "features/features": FEATURES,
    "market/last_close": LAST,
    "lab/daily": DAILY,
}


def write_tree(folder: Path, changes: dict[str, str | None]) -> Path:
    for name, text in (TREE | changes).items():
        file = folder / f"{name}.sql"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        if text is not None:
            file.write_text(text)
    return folder


@pytest.fixture
def write_sql(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes the sql/ tree above, with files replaced, added, or removed by None."""
    return lambda changes=None: write_tree(tmp_path / "sql", changes or {})


@pytest.fixture(scope="session")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Schema:
    return Schema.load(write_tree(tmp_path_factory.mktemp("sql"), {}))


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory, schema: Schema) -> Path:
    file = tmp_path_factory.mktemp("migrated") / "w.duckdb"
    Warehouse(file).migrate(schema)
    return file


@pytest.fixture
def warehouse(tmp_path: Path, migrated: Path) -> Warehouse:
    """A migrated warehouse without rows."""
    return Warehouse(Path(shutil.copy(migrated, tmp_path / "w.duckdb")), timeout_s=20)
