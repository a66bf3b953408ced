"""Which study is due: its bars, its pairs, its name, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from cappuccino.errors import DataError, TrainingError
from cappuccino.market.interval import Interval
from cappuccino.market.panel import as_datetime
from cappuccino.rl.hyper import Hyper
from cappuccino.search.book import StudyBook
from cappuccino.search.study import Kind, Pair, StudyPlan, due_study, folds_of, plan_study, require_few_filled
from cappuccino.search.tasks import agent_rows, baseline_rows, task_of, write_study_arrays
from cappuccino.search.trial import run_trial
from cappuccino.settings import Settings
from cappuccino.store.warehouse import Warehouse
from cappuccino.validation.baselines import BASELINES
from tests.unit.search.conftest import LATER
from tests.unit.search.fakes import NOW, panel

Lab = Callable[..., Settings]


def planned(settings: Settings, kind: Kind = "training", now: datetime = NOW, due: bool = False) -> StudyPlan:
    with Warehouse(settings.database).read() as reader:
        return (due_study if due else plan_study)(reader, settings, kind, now)


def changed(settings: Settings, group: str, **keys: Any) -> Settings:
    return settings.model_copy(update={group: getattr(settings, group).model_copy(update=keys)})


def execute(settings: Settings, sql: str) -> None:
    with Warehouse(settings.database).write() as writer:
        writer.execute(sql)


def test_training_works_on_the_pair_that_was_chosen_last_by_then(lab: Lab) -> None:
    settings = lab()
    execute(
        settings,
        "insert into lab.timeframe_choices values ('timeframe-2', '1h', 4, 1, 1, '2024-06-01 06:00', 30)",
    )
    assert planned(settings).pairs == (Pair(Interval.H1, 8, 24),)
    assert planned(settings, now=LATER).pairs == (Pair(Interval.H1, 4, 30),)
    with pytest.raises(TrainingError, match="materialise lab/timeframe_choices"):
        planned(settings, now=NOW - timedelta(days=1))


def test_a_study_gets_no_bar_of_the_arena_and_of_the_holdout(lab: Lab) -> None:
    plan = planned(lab())
    data = plan.data[Interval.H1]
    assert as_datetime(data.panel.closed_at[-1]) == NOW - timedelta(days=10)
    assert plan.span == (as_datetime(data.panel.opened_at[0]), NOW - timedelta(days=10))
    assert plan.known_until == NOW
    assert plan.seal.arena_until == NOW - timedelta(days=4)
    assert np.isfinite(data.features).all()


def test_the_timeframe_search_crosses_intervals_and_lookbacks_in_turn(lab: Lab) -> None:
    plan = planned(lab(), "timeframe")
    assert plan.pairs == (Pair(Interval.H1, 4), Pair(Interval.H1, 8))
    assert [plan.pair_of(trial).lookback for trial in range(5)] == [4, 8, 4, 8, 4]
    assert plan.trial_cap == 4


def test_a_study_keeps_its_name_while_only_its_cap_and_its_workers_change(lab: Lab) -> None:
    settings = lab()
    name = planned(settings).study
    assert name.startswith("training-20240601T0000-")
    same = changed(settings, "training", trials=999, workers=7, patience=1, retry_pause_s=9.0, checkpoint_every=3)
    elsewhere = changed(settings, "training", executor="ray", ray_address="head:6379")
    assert planned(same).study == planned(elsewhere).study == name
    for other in (
        changed(settings, "training", updates=3),
        changed(settings, "training", seed=8),
        changed(settings, "costs", fee_bps=1.0),
        changed(settings, "market", history_days=30),
    ):
        assert planned(other).study != name
    assert planned(settings, now=NOW + timedelta(minutes=1)).study != name
    assert planned(settings, "timeframe").study != name


def test_other_bars_make_another_study(lab: Lab) -> None:
    settings = lab()
    before = planned(settings)
    execute(settings, "update market.bars_all set close = close * 1.0001 where opened_at_utc = '2024-05-01 12:00'")
    assert planned(settings).fingerprint != before.fingerprint
    assert planned(settings).study != before.study


def test_bars_that_were_not_known_then_change_nothing(lab: Lab) -> None:
    settings = lab()
    before = planned(settings)
    execute(settings, "update market.bars_all set close = 2 * close where opened_at_utc >= '2024-05-22 00:00'")
    assert planned(settings).study == before.study
    assert planned(settings, now=LATER).fingerprint != before.fingerprint


def test_a_study_that_was_left_in_the_middle_is_due_until_its_data_change_or_are_stale(lab: Lab) -> None:
    settings = lab()
    left = planned(settings)
    assert planned(settings, now=LATER, due=True).as_of == LATER
    StudyBook(Warehouse(settings.database), left, settings).open()
    found = planned(settings, now=LATER, due=True)
    assert (found.study, found.as_of, found.fingerprint) == (left.study, NOW, left.fingerprint)
    assert planned(settings, "timeframe", LATER, due=True).as_of == LATER
    stale = changed(settings, "training", max_data_age_days=1.0)
    assert planned(stale, now=LATER, due=True).as_of == LATER
    other = changed(settings, "training", seed=8)
    assert planned(other, now=LATER, due=True).as_of == LATER
    execute(settings, "update market.bars_all set volume = 2 * volume")
    assert planned(settings, now=LATER, due=True).as_of == LATER


def test_a_study_that_ended_is_not_taken_up_at_a_later_time(lab: Lab) -> None:
    settings = lab()
    book = StudyBook(Warehouse(settings.database), planned(settings), settings)
    book.open()
    book.close("complete", {}, 0)
    assert planned(settings, now=LATER, due=True).as_of == LATER


def test_a_new_study_supersedes_the_one_of_its_kind_that_was_left(lab: Lab) -> None:
    settings = lab()
    warehouse = Warehouse(settings.database)
    first, second, search = planned(settings), planned(settings, now=LATER), planned(settings, "timeframe")
    for plan in (first, search, second):
        StudyBook(warehouse, plan, settings).open()
    states = dict(warehouse.query("select study, state from lab.studies").iter_rows())
    assert states == {first.study: "superseded", second.study: "running", search.study: "running"}


def test_too_little_history_is_refused_with_the_number_needed(lab: Lab) -> None:
    settings = changed(lab(), "market", history_days=15)
    # 15 days, 10 of them the arena's; two folds, and 8 + 24 bars of purge: 2 x max(2 x 20, 2 x 32 + 2).
    with pytest.raises(DataError, match=r"1h x 8, .* 10 days .*120 bars .* cannot make 2 folds .* 132 are needed"):
        planned(settings)
    with pytest.raises(DataError, match=r"1h x 4, .* 0 bars .* needed"):
        planned(changed(settings, "market", history_days=9), "timeframe")


def test_a_fold_with_too_many_filled_bars_is_refused_even_when_the_whole_has_few(lab: Lab) -> None:
    settings = lab()
    whole = planned(settings).data[Interval.H1]
    folds = folds_of(whole, Pair(Interval.H1, 8), settings.training)
    start, stop = folds[1].validation[0]
    n_filled = 4
    assert n_filled / len(whole) < 0.01 < n_filled / (stop - start)
    first, last = (whole.panel.opened_at[t].item() for t in (start, start + n_filled - 1))
    execute(
        settings,
        f"update market.bars_all set is_filled = true where symbol = 'ETH/USD' and interval = '1h' "
        f"and opened_at_utc between '{first}' and '{last}'",
    )
    with pytest.raises(
        DataError, match=r"fold 1, validation: .* of the 1h bars of ETH/USD are filled, more than 1\.00%"
    ):
        planned(settings)
    generous = changed(settings, "market", max_filled_frac=0.05)
    assert planned(generous).data[Interval.H1].panel.is_filled.sum() == n_filled


def test_the_share_of_filled_bars_may_be_reached_but_not_exceeded() -> None:
    bars = panel(200)
    bars.is_filled[:2, 1] = True
    require_few_filled(bars, 0.01, "these")
    bars.is_filled[2, 1] = True
    with pytest.raises(DataError, match=r"these: 1\.50% of the 1h bars of ETH/USD"):
        require_few_filled(bars, 0.01, "these")


def test_features_that_lack_a_value_are_refused(lab: Lab) -> None:
    settings = lab()
    name = Warehouse(settings.database).query("from features.features").columns[-1]
    execute(settings, f"update features.features set \"{name}\" = null where opened_at_utc = '2024-05-10 00:00'")
    with pytest.raises(DataError, match="materialise features/features again"):
        planned(settings)


def test_folds_of_the_plan_are_those_of_the_trial(lab: Lab) -> None:
    """Baselines and agents have to be judged on the same bars."""
    settings = lab()
    plan = planned(settings)
    pair, data = plan.pairs[0], plan.data[Interval.H1]
    write_study_arrays(plan, settings)
    result = run_trial(task_of(plan, settings, 0, Hyper(batch_size=1024)), lambda fold, score: None)
    agent = agent_rows(plan, settings, 0, result).evaluations
    baselines = baseline_rows(plan, settings).evaluations
    assert len(agent) == 2
    assert len(baselines) == 2 * len(BASELINES)
    for number, fold in enumerate(folds_of(data, pair, settings.training)):
        first, last = fold.validation[0][0], fold.validation[-1][1] - 1
        span = (as_datetime(data.panel.opened_at[first]), as_datetime(data.panel.closed_at[last]))
        for rows in (agent, baselines):
            of_fold = rows.filter(pl.col("fold") == number).select("from_utc", "to_utc", "n_bars")
            assert of_fold.unique().rows() == [(*span, last - first)]


def test_positions_are_purged_as_long_as_they_were_held_within_limits() -> None:
    hours = Pair(Interval.H1, 8, 50)
    assert hours.holding_bars(10_000) == 50
    assert Pair(Interval.H1, 8).holding_bars(10_000) == 24  # at least a day
    assert Pair(Interval.H1, 8, 9_999).holding_bars(100_000) == 14 * 24  # at most a fortnight
    assert hours.holding_bars(600) == 30  # and a twentieth of the range
    assert hours.holding_bars(100) == 24
