"""What trainings went through, as rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cappuccino.search.diary import FINAL, Diary, action_spread, begin, collapsed, update_frame
from cappuccino.store.schema import Schema
from cappuccino.store.warehouse import Warehouse
from cappuccino.validation.conduct import Conduct
from tests.unit.search.conftest import SQL
from tests.unit.search.fakes import some_progress

UPDATE = some_progress()


def diary() -> Diary:
    written: Diary = []
    fold = begin(written, "fold-0")
    fold.updates += [UPDATE, replace(UPDATE, update=2, duration_s=0.0)]
    fold.conduct = Conduct(0.01, 5)
    begin(written, FINAL).updates.append(replace(UPDATE, figures=replace(UPDATE.figures, kl=0.25)))
    return written


def test_each_update_is_a_row_with_all_its_figures() -> None:
    rows = update_frame("s", 7, diary())
    assert rows.select("training", "update", "steps_per_s", "kl").rows() == [
        ("fold-0", 1, 200.0, 0.5),
        ("fold-0", 2, None, 0.5),
        ("final", 1, 200.0, 0.25),
    ]
    assert set(rows["study"]) == {"s"} and set(rows["trial"]) == {7}


def test_rows_fit_the_table_of_updates(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "w.duckdb")
    warehouse.migrate(Schema.load(SQL))
    rows = update_frame("s", 7, diary())
    with warehouse.write() as writer:
        writer.append("lab.updates", rows)
    stored = warehouse.query("from lab.updates")
    order = ("training", "update")
    assert stored.sort(order).equals(rows.select(stored.columns).sort(order))


def test_a_trial_that_told_nothing_has_no_rows_and_no_verdict() -> None:
    begun: Diary = []
    begin(begun, "fold-0")
    for nothing in ([], begun):
        assert update_frame("s", 7, nothing).is_empty()
        assert collapsed(nothing) is None and action_spread(nothing) is None


def test_the_verdict_is_that_of_the_judged_folds() -> None:
    assert collapsed(diary()) == "constant"
    two = diary()
    begin(two, "fold-1").conduct = Conduct(0.31, 5)
    assert collapsed(two) is None
    assert action_spread(two) == pytest.approx(0.16)
