from __future__ import annotations

from datetime import datetime

import numpy as np
import pytest

from cappuccino.errors import DataError
from cappuccino.features.compute import compute, first_row
from cappuccino.features.spec import FeatureSpec
from cappuccino.features.table import build_features, load_features
from cappuccino.market.interval import Interval
from cappuccino.market.panel import BarPanel, FloatArray, as_datetime
from cappuccino.market.sync import load_panel
from cappuccino.store.warehouse import Warehouse
from tests.unit.small_market import DAY, HOUR, START, SYMBOLS, sync

SPEC = FeatureSpec((), ("roc_12",))
END = START + 40 * DAY
BOTH = (Interval.H1, Interval.H4)


@pytest.fixture
def warehouse(new_warehouse: Warehouse) -> Warehouse:
    sync(new_warehouse, START, END)
    return new_warehouse


def loaded(
    warehouse: Warehouse,
    interval: Interval = Interval.H1,
    spec: FeatureSpec = SPEC,
    now: datetime = END,
    symbols: tuple[str, ...] = SYMBOLS,
) -> tuple[BarPanel, FloatArray]:
    with warehouse.read() as reader:
        return load_features(reader, symbols, interval, spec, now)


@pytest.mark.parametrize("interval", BOTH)
def test_the_table_holds_what_compute_says_bit_for_bit(warehouse: Warehouse, interval: Interval) -> None:
    built = build_features(warehouse, SYMBOLS, BOTH, SPEC, END)
    with warehouse.read() as reader:
        bars = load_panel(reader, SYMBOLS, interval, END)
    first = first_row(bars, SPEC)
    panel, values = loaded(warehouse, interval)
    assert (panel.opened_at == bars.opened_at[first:]).all()
    assert (panel.close == bars.close[first:]).all()
    np.testing.assert_array_equal(values, compute(bars, SPEC)[first:])
    (told,) = [one for one in built if one.interval is interval]
    assert (told.n_rows, told.n_warmup_bars) == (2 * (len(bars) - first), first)


def test_symbols_come_in_the_asked_order(warehouse: Warehouse) -> None:
    build_features(warehouse, SYMBOLS, (Interval.H1,), SPEC, END)
    panel, values = loaded(warehouse)
    swapped, swapped_values = loaded(warehouse, symbols=SYMBOLS[::-1])
    assert (swapped.close == panel.close[:, ::-1]).all()
    np.testing.assert_array_equal(swapped_values, values[:, ::-1])
    _, alone = loaded(warehouse, symbols=("ETH/USD",))
    np.testing.assert_array_equal(alone, values[:, 1:])


def test_building_sees_no_bar_that_had_not_closed(warehouse: Warehouse) -> None:
    now = END - 9 * DAY + 1.5 * HOUR
    build_features(warehouse, SYMBOLS, (Interval.H1,), SPEC, now)
    early, before = loaded(warehouse)
    assert as_datetime(early.closed_at[-1]) == END - 9 * DAY + HOUR
    build_features(warehouse, SYMBOLS, (Interval.H1,), SPEC, END)
    _, after = loaded(warehouse)
    np.testing.assert_array_equal(after[: len(before)], before)
    assert len(after) == len(before) + 9 * 24 - 1


def test_loading_as_of_a_moment_gives_nothing_later(warehouse: Warehouse) -> None:
    build_features(warehouse, SYMBOLS, (Interval.H4,), SPEC, END)
    whole, _ = loaded(warehouse, Interval.H4)
    panel, values = loaded(warehouse, Interval.H4, now=END - HOUR)
    assert as_datetime(panel.closed_at[-1]) == END - 4 * HOUR
    assert len(values) == len(panel) == len(whole) - 1


def test_building_again_replaces_the_interval_and_leaves_the_others(warehouse: Warehouse) -> None:
    build_features(warehouse, SYMBOLS, BOTH, SPEC, END)
    count = "select interval, count(*) as n, sum(roc_12) as total from features.features group by all order by 1"
    before = warehouse.query(count)
    build_features(warehouse, SYMBOLS, (Interval.H1,), SPEC, END)
    assert warehouse.query(count).rows() == before.rows()
    build_features(warehouse, SYMBOLS[:1], (Interval.H1,), SPEC, END)
    assert warehouse.query(count)["n"].to_list() == [before["n"][0] // 2, before["n"][1]]
    with pytest.raises(DataError, match="no 1h bars for ETH/USD"):
        loaded(warehouse)


def test_features_that_were_not_built_are_refused_by_name(warehouse: Warehouse) -> None:
    build_features(warehouse, SYMBOLS, BOTH, SPEC, END)
    more = FeatureSpec((), ("roc_12", "roc_24"))
    with pytest.raises(DataError, match="has no column roc_24; materialise"):
        loaded(warehouse, spec=more)
    build_features(warehouse, SYMBOLS, (Interval.H4,), more, END)
    assert loaded(warehouse, Interval.H4, more)[1].shape[2] == 7
    with pytest.raises(DataError, match="has no 1h roc_24; materialise"):
        loaded(warehouse, Interval.H1, more)
    assert np.isfinite(loaded(warehouse)[1]).all()


def test_an_interval_or_a_symbol_without_rows_is_refused(warehouse: Warehouse) -> None:
    build_features(warehouse, SYMBOLS, (Interval.H1,), SPEC, END)
    with pytest.raises(DataError, match="no 4h bars for"):
        loaded(warehouse, Interval.H4)
    with pytest.raises(DataError, match="no 1h bars for LTC/USD"):
        loaded(warehouse, symbols=("BTC/USD", "LTC/USD"))


def test_a_history_shorter_than_the_warm_up_is_refused_and_costs_nothing(warehouse: Warehouse) -> None:
    build_features(warehouse, SYMBOLS, (Interval.H1,), SPEC, END)
    _, before = loaded(warehouse)
    with pytest.raises(DataError, match="10 1h bars are too few for features: 12 are needed before the first"):
        build_features(warehouse, SYMBOLS, (Interval.H1,), SPEC, START + 10 * HOUR)
    np.testing.assert_array_equal(loaded(warehouse)[1], before)
