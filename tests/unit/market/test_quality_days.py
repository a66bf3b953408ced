"""What single days say: each hole counts in every day that it touches, and with its whole length."""

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from cappuccino.errors import DataError
from cappuccino.market import quality
from cappuccino.market.interval import Interval
from cappuccino.market.quality_catalogue import DAILY, DAY_SCHEMA, MEANINGS, RECORD, SEVERITIES, can_block
from cappuccino.market.quality_days import check_days
from cappuccino.market.quality_holes import halts, holes, moves_of, spans_of
from cappuccino.market.quality_record import summary
from cappuccino.settings import MarketSettings

START = datetime(2024, 1, 1, tzinfo=UTC)
STEP = timedelta(hours=4)
SETTINGS = MarketSettings(base_interval=Interval.H4)
DAYS = [date(2024, 1, n) for n in (1, 2, 3)]


def days_of(frame, start=START, stop=START + timedelta(days=3), settings=SETTINGS):
    spans = spans_of(frame)
    halted = halts(moves_of(frame), spans, Interval.H4)
    return check_days(
        frame.with_columns(is_filled=pl.lit(value=False)), spans, halted, Interval.H4, start, stop, settings
    )


@pytest.fixture
def holed(make_bars):
    """Three days of four-hour bars; from the fourth bar of day 1 to the first of day 3 there is nothing."""
    return make_bars([1.0] * 3 + [None] * 10 + [1.0] * 5, "A/USD", step=STEP)


def test_a_hole_over_three_days_counts_in_each_and_is_named_whole(holed):
    gaps = days_of(holed).filter(check="gaps")
    assert gaps["day"].to_list() == DAYS
    assert gaps["n_bad"].to_list() == [3, 6, 1]
    assert gaps["n_checked"].to_list() == [6, 6, 6]
    assert set(gaps["detail"]) == {"hole of 10 bars (40.0 h) after 2024-01-01 08:00 UTC"}
    longest = days_of(holed).filter(check="longest_hole")
    assert longest["figure"].to_list() == [40.0] * 3
    assert longest["n_bad"].to_list() == [3, 6, 1]
    assert not longest["passed"].any()


def test_a_part_of_the_days_says_the_same_as_the_whole(holed, make_bars):
    frame = pl.concat([holed, make_bars([1.0] * 17 + [9.0], "B/USD", step=STEP)])
    whole = days_of(frame)
    parts = [days_of(frame, START + timedelta(days=n), START + timedelta(days=n + 1)) for n in range(3)]
    assert pl.concat(parts).sort("symbol", "day", "check").equals(whole)
    assert whole.filter(check="jumps", symbol="B/USD")["figure"].to_list() == pytest.approx([0, 0, 2.197], abs=1e-3)
    moves = whole.filter(check="jumps", symbol="B/USD")["n_checked"].to_list()
    assert moves == [5, 6, 6], "a day's first move is from the last bar of the day before"


def test_every_symbol_has_a_row_per_check_on_each_day_that_it_is_listed(make_bars):
    late = make_bars([None] * 8 + [1.0] * 10, "B/USD", step=STEP)
    found = days_of(pl.concat([make_bars([1.0] * 18, "A/USD", step=STEP), late]))
    assert found.schema == DAY_SCHEMA
    assert found.group_by("symbol", "day").len().sort("symbol", "day").rows() == [
        *(("A/USD", day, len(DAILY)) for day in DAYS),
        *(("B/USD", day, len(DAILY)) for day in DAYS[1:]),
    ]
    assert found.filter(check="gaps", symbol="B/USD")["n_checked"].to_list() == [4, 6]


def test_the_summary_counts_days_and_shows_the_worst_one(make_bars):
    closes = [1.0, None, 1.0, 1.0, 1.0, 1.0, 1.0, None, None, 1.0, 1.0, 1.0, 1.0, 1.0]
    found = summary(days_of(make_bars(closes, "A/USD", step=STEP)), ("A/USD", "Z/USD"), SETTINGS)
    gaps = found.row(by_predicate=(pl.col("check") == "gaps") & (pl.col("symbol") == "A/USD"), named=True)
    assert (gaps["n_bad"], gaps["n_checked"]) == (3, 14)
    assert gaps["detail"] == "hole of 2 bars (8.0 h) after 2024-01-02 00:00 UTC; on 2 days"
    absent = found.filter(symbol="Z/USD")
    assert absent["check"].to_list() == list(DAILY)
    assert absent["passed"].all() and absent["n_checked"].sum() == 0


def test_the_summary_judges_old_findings_by_the_settings_of_today(holed):
    found = days_of(holed, settings=SETTINGS.model_copy(update={"max_hole_hours": 41.0}))
    assert found.filter(check="longest_hole")["passed"].all()
    now = summary(found, ("A/USD",), SETTINGS.model_copy(update={"gap_policy": "refuse"}))
    verdicts = {row["check"]: (row["severity"], row["passed"]) for row in now.iter_rows(named=True)}
    assert verdicts["longest_hole"] == ("error", False)
    assert verdicts["gaps"] == ("error", False)


@pytest.mark.parametrize(("then", "now", "n_bad"), [(41.0, 24.0, 3), (24.0, 41.0, 0), (24.0, 24.0, 10)])
def test_counts_of_another_limit_follow_the_verdict_of_today(holed, then, now, n_bad):
    found = days_of(holed, settings=SETTINGS.model_copy(update={"max_hole_hours": then}))
    whole = summary(found, ("A/USD",), SETTINGS.model_copy(update={"max_hole_hours": now}))
    longest = whole.row(by_predicate=pl.col("check") == "longest_hole", named=True)
    assert (longest["passed"], longest["n_bad"]) == (n_bad == 0, n_bad), "one for each day that fails, when not counted"


def test_holes_are_listed_with_the_bars_around_them(holed):
    assert holes(holed, Interval.H4).rows() == [
        ("A/USD", START + 2 * STEP, START + 13 * STEP, 10),
    ]


def test_every_check_has_a_meaning_and_judges_days_or_the_record():
    assert list(MEANINGS) == list(SEVERITIES)
    assert {*DAILY, *RECORD} == set(SEVERITIES)
    assert {name for name in SEVERITIES if not can_block(name)} == {"halts", "zero_volume", "jumps"}


def test_a_range_that_does_not_lie_on_the_grid_is_refused(make_bars):
    with pytest.raises(ValueError, match="not on the 4h grid"):
        quality.check(make_bars([1.0]), ("A/USD",), Interval.H4, START + timedelta(minutes=1), START, START, SETTINGS)
    with pytest.raises(DataError):
        quality.check(pl.DataFrame(), ("A/USD",), Interval.H4, START, START, START, SETTINGS)
