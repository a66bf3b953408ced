from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cappuccino.errors import DataError
from cappuccino.market.interval import Interval
from cappuccino.market.panel import BarPanel, as_datetime, as_datetime64, panel_from_frame

START = datetime(2024, 1, 1, tzinfo=UTC)
QUARTER = timedelta(minutes=15)


def marked(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.lit(False).alias("is_filled"))


def panel(n_bars: int, seed: int = 1) -> BarPanel:
    opened_at = as_datetime64(START) + np.arange(n_bars) * np.timedelta64(Interval.M15.us, "us")
    prices = np.random.default_rng(seed).uniform(1, 2, (5, n_bars, 2))
    filled = np.zeros((n_bars, 2), dtype=bool)
    return BarPanel(Interval.M15, ("A/USD", "B/USD"), opened_at, *prices, is_filled=filled)


def test_moments_survive_the_way_to_numpy_and_back_and_lose_their_zone_for_utc():
    moment = datetime(2024, 5, 6, 7, 8, 9, 10, tzinfo=UTC)
    assert as_datetime(as_datetime64(moment)) == moment
    in_berlin = datetime(2024, 1, 1, 1, tzinfo=timezone(timedelta(hours=1)))
    assert as_datetime64(in_berlin) == np.datetime64("2024-01-01T00:00")


def test_symbols_become_columns_in_the_order_asked_for(make_bars):
    frame = marked(pl.concat([make_bars([1, 2, 3], "A/USD"), make_bars([7, 8, 9], "B/USD")]))
    result = panel_from_frame(frame.sample(fraction=1, shuffle=True, seed=3), ("B/USD", "A/USD"), Interval.M15)
    np.testing.assert_array_equal(result.close, [[7, 1], [8, 2], [9, 3]])
    np.testing.assert_array_equal(result.high, result.close + 1)
    np.testing.assert_array_equal(result.low, result.close - 0.5)
    np.testing.assert_array_equal(result.volume, np.full((3, 2), 10.0))
    assert result.opened_at[2] == np.datetime64("2024-01-01T00:30")
    assert result.closed_at[2] == np.datetime64("2024-01-01T00:45")
    assert len(result) == 3


def test_filled_bars_stay_marked(make_bars):
    frame = make_bars([1, 2, 3], "A/USD").with_columns(pl.Series("is_filled", [False, True, False]))
    result = panel_from_frame(frame, ("A/USD",), Interval.M15)
    np.testing.assert_array_equal(result.is_filled[:, 0], [False, True, False])


def test_the_panel_covers_only_the_time_that_all_symbols_have(make_bars):
    early, late = make_bars([1, 2, 3, 4], "A/USD"), make_bars([None, 6, 7, 8, 9], "B/USD")
    result = panel_from_frame(marked(pl.concat([early, late])), ("A/USD", "B/USD"), Interval.M15)
    np.testing.assert_array_equal(result.close, [[2, 6], [3, 7], [4, 8]])


def test_an_absent_symbol_is_named_with_those_that_are_there(make_bars):
    with pytest.raises(DataError, match=r"no 15m bars for B/USD; the warehouse has A/USD"):
        panel_from_frame(marked(make_bars([1, 2], "A/USD")), ("A/USD", "B/USD"), Interval.M15)
    with pytest.raises(DataError, match="the warehouse has none"):
        panel_from_frame(marked(make_bars([])), ("A/USD",), Interval.M15)


def test_symbols_without_common_time_are_refused(make_bars):
    apart = [make_bars([1, 2], "A/USD"), make_bars([3], "B/USD", START + timedelta(days=1))]
    with pytest.raises(DataError, match="no time in common"):
        panel_from_frame(marked(pl.concat(apart)), ("A/USD", "B/USD"), Interval.M15)


@pytest.mark.parametrize(
    ("closes", "where"),
    [([1, None, 3], "00:15"), ([1, None, None, 4, 5], "00:15"), ([1, 2, None, 4], "00:30")],
)
def test_a_hole_is_refused_with_symbol_and_time(make_bars, closes, where):
    with pytest.raises(DataError, match=rf"A/USD 15m: expected one bar at 2024-01-01T{where}.* hole"):
        panel_from_frame(marked(make_bars(closes, "A/USD")), ("A/USD",), Interval.M15)


def test_a_repeated_bar_is_refused(make_bars):
    frame = marked(make_bars([1, 2, 3], "A/USD"))
    with pytest.raises(DataError, match=r"A/USD 15m: .* repeated bar"):
        panel_from_frame(pl.concat([frame, frame[1:2]]), ("A/USD",), Interval.M15)


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_a_number_that_is_none_stops_the_line(make_bars, value):
    frame = marked(make_bars([1, 2, 3], "A/USD"))
    broken = frame.with_columns(pl.Series("low", [0.5, value, 2.5], dtype=pl.Float64))
    with pytest.raises(DataError, match=r"A/USD 15m: low of the bar at 2024-01-01T00:15.* not a number"):
        panel_from_frame(broken, ("A/USD",), Interval.M15)


def test_between_takes_opens_from_the_start_up_to_but_not_including_the_stop():
    bars = panel(8)
    cut = bars.between(START + QUARTER, START + 3 * QUARTER)
    np.testing.assert_array_equal(cut.opened_at, bars.opened_at[1:3])
    assert len(bars.between(START + 3 * QUARTER, START)) == 0


def test_a_bar_is_known_from_its_close_on():
    bars = panel(8)
    assert len(bars.known_at(START + 2 * QUARTER)) == 2
    assert len(bars.known_at(START + 2 * QUARTER - timedelta(microseconds=1))) == 1
    assert len(bars.known_at(START)) == 0


def test_rows_outside_the_panel_are_refused():
    for start, stop in [(-1, 2), (0, 9), (3, 2)]:
        with pytest.raises(ValueError, match="panel of 8"):
            panel(8).rows(start, stop)


def test_the_fingerprint_changes_with_any_number_and_not_with_the_memory_layout():
    bars = panel(8)
    assert bars.fingerprint() == panel(8).fingerprint()
    assert bars.fingerprint() == bars.rows(0, 8).fingerprint()
    assert bars.fingerprint() != bars.rows(0, 7).fingerprint()
    other = panel(8)
    other.volume[7, 1] = np.nextafter(other.volume[7, 1], 3)
    assert bars.fingerprint() != other.fingerprint()
    fortran = panel(8)
    object.__setattr__(fortran, "close", np.asfortranarray(fortran.close))
    assert bars.fingerprint() == fortran.fingerprint()


@settings(derandomize=True, deadline=None, max_examples=50)
@given(st.integers(0, 40 * 15))
def test_known_bars_have_closed_and_the_next_one_has_not(minutes):
    now = START + timedelta(minutes=minutes)
    known = panel(32).known_at(now)
    assert all(known.closed_at <= as_datetime64(now))
    assert len(known) == min(32, minutes // 15)
