"""Each check finds what it is for, counts it, and says where; and nothing else."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cappuccino.errors import DataError
from cappuccino.market import quality
from cappuccino.market.interval import Interval
from cappuccino.market.simulated import SimulatedSource
from cappuccino.market.source import BAR_SCHEMA, empty_frame
from cappuccino.settings import MarketSettings

START = datetime(2024, 1, 1, tzinfo=UTC)
QUARTER = timedelta(minutes=15)
SETTINGS = MarketSettings()


def check(frame, n_bars, symbols=("BTC/USD",), now=None, settings=SETTINGS):
    stop = START + n_bars * QUARTER
    return quality.check(frame, symbols, Interval.M15, START, stop, now or stop, settings)


def finding(frame, name, n_bars=8, symbol="BTC/USD", **more):
    found = check(frame, n_bars, symbols=(symbol,), **more)
    return found.row(by_predicate=pl.col("check") == name, named=True)


def failed(frame, n_bars=8, **more):
    return check(frame, n_bars, **more).filter(~pl.col("passed"))["check"].to_list()


def with_value(frame, row, column, value):
    is_row = pl.int_range(pl.len()) == row
    return frame.with_columns(
        pl.when(is_row).then(pl.lit(value, BAR_SCHEMA[column])).otherwise(pl.col(column)).alias(column)
    )


def test_good_bars_pass_every_check(make_bars):
    frame = pl.concat([make_bars([10, 11, 12, 11], "A/USD"), make_bars([5, 5, 5, 5], "B/USD")])
    result = check(frame, 4, symbols=("A/USD", "B/USD"))
    assert result["passed"].all()
    assert result["check"].to_list() == [*quality.SEVERITIES, *quality.SEVERITIES]
    assert result["symbol"].unique(maintain_order=True).to_list() == ["A/USD", "B/USD"]
    assert result.schema == quality.RESULT_SCHEMA
    assert result.null_count().sum_horizontal().item() == 0


def test_simulated_bars_pass_every_check_at_the_default_limits():
    symbols, stop = SETTINGS.symbols, START + timedelta(days=60)
    frame = SimulatedSource(1).bars(symbols, Interval.M15, START, stop)
    assert quality.check(frame, symbols, Interval.M15, START, stop, stop, SETTINGS)["passed"].all()


def test_severities_say_what_blocks_and_what_warns(make_bars):
    result = check(make_bars([1, 2]), 2)
    errors = set(result.filter(severity="error")["check"])
    assert errors == {
        "missing_symbols",
        "duplicates",
        "ohlc_order",
        "non_positive",
        "stale",
        "filled_share",
    }


def test_an_absent_symbol_is_missing_and_stale_and_nothing_else(make_bars):
    assert failed(make_bars([1, 2, 3], "A/USD"), symbols=("B/USD",)) == ["missing_symbols", "stale"]
    assert failed(empty_frame()) == ["missing_symbols", "stale"]


def test_bars_outside_the_range_and_of_other_symbols_do_not_count(make_bars):
    before = make_bars([-1.0], start=START - QUARTER)
    after = make_bars([-1.0], start=START + 4 * QUARTER)
    other = make_bars([-1.0], "B/USD")
    assert failed(pl.concat([before, make_bars([1, 2, 3, 4]), after, other]), 4) == []


def test_gaps_are_counted_between_the_first_and_the_last_bar(make_bars):
    frame = make_bars([None, 1, None, 3, None, None, None, 7])
    gaps = finding(frame, "gaps")
    assert (gaps["n_bad"], gaps["n_checked"], gaps["figure"]) == (4, 7, pytest.approx(4 / 7))
    assert gaps["detail"] == "gaps: 2, the longest of 3 bars after 2024-01-01 00:45 UTC"
    assert not gaps["passed"]


def test_repeated_bars_are_counted_once_for_each_too_many(make_bars):
    frame = make_bars([1, 2, 3, 4])
    thrice = pl.concat([frame, frame[2:3], frame[2:3]])
    found = finding(thrice, "duplicates", 4)
    assert (found["n_bad"], found["n_checked"]) == (2, 6)
    assert found["detail"] == "2 repeated, 0 off the 15m grid, first at 2024-01-01 00:30 UTC"
    assert failed(thrice, 4) == ["duplicates"]


def test_bars_off_the_grid_or_without_time_are_duplicates_and_make_no_gaps(make_bars):
    frame = make_bars([1, 2, 3, 4])
    stray = frame[:1].with_columns(pl.col("opened_at_utc") + timedelta(minutes=7))
    timeless = with_value(frame[:1], 0, "opened_at_utc", None)
    strange = pl.concat([frame, stray, timeless])
    assert failed(strange, 4) == ["duplicates"]
    detail = finding(strange, "duplicates", 4)["detail"]
    assert detail == "0 repeated, 2 off the 15m grid, first at 2024-01-01 00:07 UTC"


@pytest.mark.parametrize(("column", "value"), [("high", 1.9), ("low", 2.1)])
def test_broken_order_of_prices_is_found_with_its_numbers(make_bars, column, value):
    frame = with_value(make_bars([1, 2, 3, 4]), 1, column, value)
    assert failed(frame, 4) == ["ohlc_order"]
    found = finding(frame, "ohlc_order", 4)
    assert (found["n_bad"], found["n_checked"], found["figure"]) == (1, 4, 0.25)
    assert found["detail"].startswith("first at 2024-01-01 00:15 UTC, open 2.0, high")


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("low", 0.0),
        ("low", -1.0),
        ("high", None),
        ("open", float("nan")),
        ("high", float("inf")),
        ("volume", -1.0),
        ("volume", float("nan")),
        ("volume", None),
    ],
)
def test_numbers_that_cannot_be_are_found(make_bars, column, value):
    frame = with_value(make_bars([1, 2, 3, 4]), 2, column, value)
    assert failed(frame, 4) == ["non_positive"]
    found = finding(frame, "non_positive", 4)
    assert (found["n_bad"], found["n_checked"]) == (1, 4)
    assert found["detail"].startswith("first at 2024-01-01 00:30 UTC, open ")


def test_bars_without_trades_only_warn_and_filled_ones_are_not_counted_among_them(make_bars):
    frame = with_value(make_bars([1, 2, 3, 4]), 1, "volume", 0.0)
    assert failed(frame, 4) == ["zero_volume"]
    assert finding(frame, "zero_volume", 4)["detail"] == "first at 2024-01-01 00:15 UTC"
    filled = frame.with_columns(pl.Series("is_filled", [False, True, False, False]))
    assert finding(filled, "zero_volume", 4)["n_bad"] == 0


def test_jumps_are_log_moves_between_neighbours_up_and_down(make_bars):
    frame = make_bars([1.0, 2.0, 4.1, 1.0, 1.0])  # 0.693, 0.718, -1.411
    found = finding(frame, "jumps", 5)
    assert (found["n_bad"], found["n_checked"]) == (2, 4)
    assert found["figure"] == pytest.approx(1.41099, abs=1e-5)
    assert found["detail"] == "largest 1.411 at 2024-01-01 00:45 UTC, limit 0.7"


def test_a_move_across_a_gap_or_a_bad_price_is_no_jump(make_bars):
    assert finding(make_bars([1, 1, None, 9, 9]), "jumps", 5)["n_bad"] == 0
    bad = with_value(make_bars([1, 1, 1, 1]), 1, "close", 0.0)
    assert finding(bad, "jumps", 4)["n_checked"] == 1


@pytest.mark.parametrize(
    ("age", "passed"),
    [
        (timedelta(minutes=15), True),
        (timedelta(minutes=35), True),
        (timedelta(minutes=35, seconds=1), False),
    ],
)
def test_bars_are_stale_when_the_newest_opened_two_intervals_and_the_grace_time_ago(make_bars, age, passed):
    newest = START + 3 * QUARTER
    found = finding(make_bars([1, 2, 3, 4]), "stale", n_bars=100, now=newest + age)
    assert found["passed"] is passed
    assert found["figure"] == pytest.approx(age / QUARTER)


def test_a_bar_that_has_not_closed_does_not_make_bars_fresh(make_bars):
    frame = make_bars([1, 2, None, None, None, None, 7])
    assert "stale" in failed(frame, n_bars=7, now=START + 6 * QUARTER + timedelta(minutes=14))
    assert "stale" not in failed(frame, n_bars=7, now=START + 7 * QUARTER)


def test_a_range_of_the_past_is_stale_today_and_was_not_at_its_end(make_bars):
    frame = make_bars([1, 2, 3, 4])
    assert failed(frame, 4, now=START + timedelta(days=900)) == ["stale"]
    assert failed(frame, 4, now=START + 4 * QUARTER) == []


def test_the_filled_share_counts_absent_and_marked_bars_against_the_limit(make_bars):
    frame = make_bars([1.0, *[1.0] * 97, None, 1.0]).with_columns(is_filled=pl.int_range(pl.len()) == 5)
    found = finding(frame, "filled_share", 100)
    assert (found["n_bad"], found["n_checked"], found["figure"]) == (2, 100, 0.02)
    assert not found["passed"]
    generous = SETTINGS.model_copy(update={"max_filled_frac": 0.02})
    assert finding(frame, "filled_share", 100, settings=generous)["passed"]


def test_figures_belong_to_their_symbol(make_bars):
    frame = pl.concat([make_bars([1, None, 3, 4], "A/USD"), make_bars([1, 2, 3, 4], "B/USD")])
    result = check(frame, 4, symbols=("B/USD", "A/USD")).filter(check="gaps")
    assert dict(result.select("symbol", "n_bad").iter_rows()) == {"A/USD": 1, "B/USD": 0}


def test_frames_that_cannot_be_checked_are_refused(make_bars):
    frame = make_bars([1, 2, 3])
    with pytest.raises(DataError, match="column volume is absent or not Float64"):
        check(frame.drop("volume"), 3)
    with pytest.raises(DataError, match="1 rows name no symbol"):
        check(with_value(frame, 1, "symbol", None), 3)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    rows=st.lists(
        st.tuples(
            st.integers(-3, 12) | st.none(),
            st.lists(
                st.sampled_from([None, float("nan"), float("inf"), -1.0, 0.0, 1.0, 5.0]),
                min_size=5,
                max_size=5,
            ),
        ),
        max_size=12,
    )
)
def test_no_frame_however_broken_upsets_the_checks_or_their_order(rows):
    data = [("BTC/USD", None if n is None else START + n * QUARTER, *values) for n, values in rows]
    frame = pl.DataFrame(data, schema=BAR_SCHEMA, orient="row")
    result = check(frame, 8)
    assert len(result) == len(quality.SEVERITIES)
    assert (result["n_bad"] >= 0).all()
    assert (result["n_bad"] <= result["n_checked"]).all()
    assert result["figure"].is_finite().all()
    reverse = check(frame.reverse(), 8).filter(~pl.col("check").is_in(["jumps", "zero_volume"]))
    numbers = ["check", "passed", "n_bad", "n_checked", "figure"]
    assert reverse.select(numbers).equals(result.join(reverse, on="check", how="semi").select(numbers))
