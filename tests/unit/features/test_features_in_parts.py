"""A market of many symbols goes in and out of the features table in parts."""

from __future__ import annotations

import numpy as np
import pytest

from cappuccino.errors import DataError
from cappuccino.features import table
from cappuccino.features.spec import FeatureSpec
from cappuccino.features.table import build_features, load_features
from cappuccino.market.interval import Interval
from cappuccino.store.warehouse import Warehouse
from tests.unit.small_market import DAY, START, SYMBOLS, sync

SPEC = FeatureSpec((), ("roc_12",))
END = START + 40 * DAY
BOTH = (Interval.H1, Interval.H4)


@pytest.mark.parametrize("rows_at_once", [1, 7, 200])
def test_neither_the_table_nor_what_is_loaded_depends_on_the_parts(
    new_warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, rows_at_once: int
) -> None:
    sync(new_warehouse, START, END)
    whole = build_features(new_warehouse, SYMBOLS, BOTH, SPEC, END)
    with new_warehouse.read() as reader:
        stored = reader.query("from features.features order by all")
        panel, values = load_features(reader, SYMBOLS[::-1], Interval.H4, SPEC, END)
    monkeypatch.setattr(table, "ROWS_AT_ONCE", rows_at_once)
    assert build_features(new_warehouse, SYMBOLS, BOTH[1:], SPEC, END) == whole[1:]
    with new_warehouse.read() as reader:
        assert reader.query("from features.features order by all").equals(stored)
        again, same = load_features(reader, SYMBOLS[::-1], Interval.H4, SPEC, END)
    assert again.fingerprint() == panel.fingerprint()
    np.testing.assert_array_equal(same, values)


def test_a_row_that_is_missing_in_the_middle_is_refused(new_warehouse: Warehouse) -> None:
    sync(new_warehouse, START, END)
    build_features(new_warehouse, SYMBOLS, (Interval.H4,), SPEC, END)
    with new_warehouse.write() as writer:
        writer.execute("delete from features.features where symbol = 'ETH/USD' and opened_at_utc = '2025-04-05 08:00'")
    with new_warehouse.read() as reader, pytest.raises(DataError, match=r"has \d+ rows for \d+ 4h bars .*materialise"):
        load_features(reader, SYMBOLS, Interval.H4, SPEC, END)
