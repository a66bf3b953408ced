from datetime import timedelta

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from cappuccino.errors import DataError
from cappuccino.market.interval import Interval
from cappuccino.market.source import BAR_SCHEMA, check_frame, empty_frame


def test_good_bars_pass_unchanged_and_without_extra_columns(make_bars):
    frame = pl.concat([make_bars([1, None, 3], "A/USD"), make_bars([5, 6], "B/USD")])
    extra = frame.with_columns(pl.lit(3).alias("trades")).select("trades", *reversed(frame.columns))
    assert_frame_equal(check_frame(extra, Interval.M15, "here"), frame)


def test_no_bars_pass():
    assert check_frame(empty_frame(), Interval.M15, "here").schema == BAR_SCHEMA


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("close", None, "close is missing"),
        ("symbol", None, "symbol is missing"),
        ("opened_at_utc", None, "opened_at_utc is missing"),
        ("open", float("nan"), "open is nan"),
        ("high", float("inf"), "high is inf"),
        ("volume", float("nan"), "volume is nan"),
        ("low", 0.0, r"low is 0\.0, prices are above zero"),
        ("close", -1.0, r"close is -1\.0, prices are above zero"),
        ("volume", -0.1, r"volume is -0\.1"),
        ("high", 1.9, r"low <= open, close <= high is broken \(open 2\.0, high 1\.9"),
        ("low", 2.1, r"low <= open, close <= high is broken"),
    ],
)
def test_a_bad_value_is_named_with_its_place(make_bars, column, value, message):
    frame = make_bars([1.0, 2.0, 3.0])
    dtype = BAR_SCHEMA[column]
    broken = frame.with_columns(
        pl.when(pl.int_range(pl.len()) == 1).then(pl.lit(value, dtype)).otherwise(pl.col(column)).alias(column)
    )
    place = "None at" if column == "symbol" else "BTC/USD at"
    time = "no time" if column == "opened_at_utc" else "2024-01-01 00:15 UTC"
    with pytest.raises(DataError, match=rf"^prices\.csv: {place} {time}: {message}"):
        check_frame(broken, Interval.M15, "prices.csv")


def test_a_bar_off_the_grid_is_named(make_bars):
    frame = make_bars([1, 2, 3])
    with pytest.raises(DataError, match=r"BTC/USD at 2024-01-01 00:15 UTC: not on the grid of 1h bars"):
        check_frame(frame, Interval.H1, "here")


def test_seconds_off_the_grid_show_in_the_message(make_bars):
    shifted = make_bars([1]).with_columns(pl.col("opened_at_utc") + timedelta(seconds=7))
    with pytest.raises(DataError, match="at 2024-01-01 00:00:07 UTC: not on the grid"):
        check_frame(shifted, Interval.M15, "here")


def test_a_repeated_bar_is_named(make_bars):
    frame = make_bars([1, 2, 3])
    twice = pl.concat([frame[:2], frame[1:]])
    with pytest.raises(DataError, match=r"BTC/USD at 2024-01-01 00:15 UTC: the bar is there twice"):
        check_frame(twice, Interval.M15, "here")


def test_disorder_is_named_within_and_between_symbols(make_bars):
    frame = make_bars([1, 2, 3])
    with pytest.raises(DataError, match=r"at 2024-01-01 00:15 UTC: the bar comes after a later one"):
        check_frame(frame[[0, 2, 1]], Interval.M15, "here")
    with pytest.raises(DataError, match=r"A/USD at 2024-01-01 00:00 UTC: the bar comes after a later one"):
        check_frame(pl.concat([frame, make_bars([1], "A/USD")]), Interval.M15, "here")


def test_missing_columns_and_wrong_types_are_named(make_bars):
    frame = make_bars([1, 2])
    with pytest.raises(DataError, match=r"here: column low, volume is missing, found symbol"):
        check_frame(frame.drop("low", "volume"), Interval.M15, "here")
    with pytest.raises(DataError, match=r"column volume is Int64, bars need Float64"):
        check_frame(frame.with_columns(pl.col("volume").cast(pl.Int64)), Interval.M15, "here")
    naive = frame.with_columns(pl.col("opened_at_utc").dt.replace_time_zone(None))
    with pytest.raises(DataError, match=r"column opened_at_utc is Datetime.*bars need Datetime.*UTC"):
        check_frame(naive, Interval.M15, "here")
