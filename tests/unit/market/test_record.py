from __future__ import annotations

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from cappuccino.errors import DataError
from cappuccino.market.record import check_record
from cappuccino.store.warehouse import Warehouse
from tests.unit.small_market import DAY, HOUR, MARKET, START, SYMBOLS, Canned, bars_between, sync

END = START + DAY


def failed(found: pl.DataFrame) -> set[tuple[str, str]]:
    return set(found.filter(~pl.col("passed")).select("check", "symbol").rows())


def test_sound_bars_pass_and_every_figure_is_stored(new_warehouse: Warehouse) -> None:
    sync(new_warehouse, START, END)
    found = check_record(new_warehouse, MARKET, END)
    assert failed(found) == set()
    assert set(found["symbol"]) == set(SYMBOLS)
    rows = new_warehouse.query("from ops.data_quality")
    assert_frame_equal(rows.select(found.columns), found, check_row_order=False)
    assert set(rows.select("checked_at_utc", "interval").rows()) == {(END, "1h")}


def test_a_hole_and_an_absent_symbol_are_found_in_the_record(new_warehouse: Warehouse) -> None:
    holed = bars_between(START, END).filter(pl.col("opened_at_utc") != START + 5 * HOUR)
    sync(new_warehouse, START, END, source=Canned(holed))
    market = MARKET.model_copy(update={"symbols": (*SYMBOLS, "LTC/USD"), "max_filled_frac": 0.01})
    bad = failed(check_record(new_warehouse, market, END))
    assert ("gaps", "BTC/USD") in bad
    assert ("filled_share", "ETH/USD") in bad
    assert ("missing_symbols", "LTC/USD") in bad
    assert ("missing_symbols", "BTC/USD") not in bad


def test_bars_of_later_and_symbols_of_others_are_not_looked_at(new_warehouse: Warehouse) -> None:
    jump = pl.when(pl.col("opened_at_utc") >= START + 20 * HOUR).then(1000.0).otherwise(1.0)
    prices = [pl.col(name) * jump for name in ("open", "high", "low", "close")]
    wild = bars_between(START, END).with_columns(prices)
    wild = wild.with_columns(
        [
            pl.when(pl.col("symbol") == "ETH/USD")
            .then(pl.col(name) * 1e6 ** (pl.int_range(pl.len()) % 2))
            .otherwise(name)
            for name in ("open", "high", "low", "close")
        ]
    )
    sync(new_warehouse, START, END, source=Canned(wild))
    only_btc = MARKET.model_copy(update={"symbols": ("BTC/USD",)})
    assert failed(check_record(new_warehouse, only_btc, START + 20 * HOUR)) == set()
    assert ("jumps", "BTC/USD") in failed(check_record(new_warehouse, only_btc, END))
    assert ("jumps", "ETH/USD") in failed(check_record(new_warehouse, MARKET, START + 20 * HOUR))


def test_old_bars_are_stale(new_warehouse: Warehouse) -> None:
    sync(new_warehouse, START, END)
    assert {check for check, _ in failed(check_record(new_warehouse, MARKET, END + 3 * HOUR))} >= {"stale"}


def test_checks_of_several_moments_stand_side_by_side(new_warehouse: Warehouse) -> None:
    sync(new_warehouse, START, END)
    for now in (END, END + HOUR):
        check_record(new_warehouse, MARKET, now)
    assert new_warehouse.query("select distinct checked_at_utc from ops.data_quality").height == 2


def test_an_empty_record_is_refused(new_warehouse: Warehouse) -> None:
    with pytest.raises(DataError, match="has no bars of BTC/USD, ETH/USD; materialise market/bars first"):
        check_record(new_warehouse, MARKET, END)
    sync(new_warehouse, START, END)
    with pytest.raises(DataError, match="has no bars"):
        check_record(new_warehouse, MARKET, START)
