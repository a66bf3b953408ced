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
        "longest_hole",
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
    assert gaps["detail"] == "hole of 3 bars (0.75 h) after 2024-01-01 00:45 UTC"
    assert not gaps["passed"]


def test_a_refused_gap_is_an_error_and_a_halt_is_not(make_bars):
    refusing = SETTINGS.model_copy(update={"gap_policy": "refuse"})
    frame = pl.concat([make_bars([1, None, 3, None, 5], "A/USD"), make_bars([1, None, 3, 4, 5], "B/USD")])
    for chosen, severity in ((SETTINGS, "warn"), (refusing, "error")):
        found = check(frame, 5, symbols=("A/USD", "B/USD"), settings=chosen)
        rows = found.filter(pl.col("check").is_in(["gaps", "halts"])).select("check", "symbol", "severity", "n_bad")
        assert rows.rows() == [
            ("gaps", "A/USD", severity, 1),
            ("halts", "A/USD", "warn", 1),
            ("gaps", "B/USD", severity, 0),
            ("halts", "B/USD", "warn", 1),
        ]


def test_a_symbol_that_stands_still_without_volume_takes_part_in_a_halt(make_bars):
    still = make_bars([1, 2, 3, 4], "B/USD").with_columns(
        volume=pl.Series([1.0, 0.0, 0.0, 1.0]),
        high=pl.Series([2.0, 2.0, 4.0, 5.0]),
        low=pl.Series([0.5, 2.0, 2.5, 3.5]),
    )
    found = check(pl.concat([make_bars([1, None, None, 4], "A/USD"), still]), 4, symbols=("A/USD", "B/USD"))
    counts = {(row["check"], row["symbol"]): row["n_bad"] for row in found.iter_rows(named=True)}
    assert counts["halts", "A/USD"] == 1, "at 00:15 B is flat; at 00:30 it has a range, so it did move"
    assert counts["gaps", "A/USD"] == 1
    assert counts["zero_volume", "B/USD"] == 2


def test_a_symbol_that_is_not_listed_yet_or_any_more_does_not_prevent_a_halt(make_bars):
    frame = pl.concat(
        [
            make_bars([1, None, 3, 4, None, 6], "A/USD"),
            make_bars([1, None, 3, 4, None, 6], "B/USD"),
            make_bars([None, None, 3, 4, None, None], "C/USD"),
        ]
    )
    found = check(frame, 6, symbols=("A/USD", "B/USD", "C/USD"))
    assert found.filter(check="halts")["n_bad"].to_list() == [2, 2, 0]
    assert found.filter(check="gaps")["n_bad"].sum() == 0


def test_alone_a_symbol_has_holes_and_no_halts(make_bars):
    found = check(make_bars([1, None, 3], "A/USD"), 3, symbols=("A/USD",))
    assert dict(found.select("check", "n_bad").rows())["gaps"] == 1
    assert dict(found.select("check", "n_bad").rows())["halts"] == 0


def test_nothing_of_anybody_for_more_than_a_day_is_no_halt(make_bars):
    for n_absent, check_name in ((96, "halts"), (97, "gaps")):
        closes = [1.0, *[None] * n_absent, 1.0]
        frame = pl.concat([make_bars(closes, symbol) for symbol in ("A/USD", "B/USD")])
        found = check(frame, len(closes), symbols=("A/USD", "B/USD"))
        assert dict(found.filter(symbol="A/USD").select("check", "n_bad").rows())[check_name] == n_absent


@pytest.mark.parametrize("is_mixed", [False, True])
def test_what_is_flat_for_more_than_a_day_excuses_no_hole(make_bars, is_mixed):
    """Nothing moves: B is flat while A is absent, or now the one and now the other."""
    for n_still, check_name in ((96, "halts"), (97, "gaps")):
        absent = [not (is_mixed and n % 2) for n in range(n_still)]
        lacking = make_bars([1.0, *[None if lost else 1.0 for lost in absent], 1.0], "A/USD")
        flat = make_bars([1.0] * (n_still + 2), "B/USD")
        still = pl.col("opened_at_utc").is_between(START + QUARTER, START + n_still * QUARTER)
        quiet = pl.concat([lacking, flat]).with_columns(
            pl.when(still).then(pl.lit(1.0)).otherwise(pl.col(name)).alias(name) for name in ("high", "low")
        )
        quiet = quiet.with_columns(volume=pl.when(still).then(0.0).otherwise("volume"))
        found = check(quiet, n_still + 2, symbols=("A/USD", "B/USD"))
        counts = {(row["check"], row["symbol"]): row["n_bad"] for row in found.iter_rows(named=True)}
        other = {"halts": "gaps", "gaps": "halts"}[check_name]
        assert (counts[check_name, "A/USD"], counts[other, "A/USD"]) == (sum(absent), 0)


def test_a_halt_is_a_halt_as_soon_as_the_first_symbol_is_back(make_bars):
    """B returns never; for a day it counts as a symbol that is still halted, then as one that is not listed."""
    for n_back, counts in ((1, (80, 0)), (17, (80, 0)), (18, (0, 80))):
        frame = pl.concat([make_bars([1.0, *[None] * 80, *[1.0] * n_back], "A/USD"), make_bars([1.0], "B/USD")])
        found = check(frame, 81 + n_back, symbols=("A/USD", "B/USD")).filter(symbol="A/USD")
        n_bad = dict(found.select("check", "n_bad").rows())
        assert (n_bad["halts"], n_bad["gaps"]) == counts
        assert found.filter(check="gaps")["n_checked"].item() == 81 + n_back


def test_a_hole_is_as_long_as_what_the_source_lost_without_the_halt_in_it(make_bars):
    """All are halted for twenty hours; of B the source lost five hours more, and half an hour before."""
    frame = pl.concat(
        [
            make_bars([1.0] * 3 + [None] * 80 + [1.0] * 21, "A/USD"),
            make_bars([1.0] + [None] * 102 + [1.0], "B/USD"),
        ]
    )
    found = check(frame, 104, symbols=("A/USD", "B/USD")).filter(symbol="B/USD")
    rows = {row["check"]: row for row in found.iter_rows(named=True)}
    assert (rows["longest_hole"]["figure"], rows["longest_hole"]["passed"]) == (5.0, True)
    assert (rows["gaps"]["n_bad"], rows["halts"]["n_bad"]) == (22, 80)
    assert rows["gaps"]["detail"] == "hole of 20 bars (5.0 h) after 2024-01-01 20:30 UTC; on 2 days"
    assert rows["halts"]["detail"] == "hole of 80 bars (20.0 h) after 2024-01-01 00:30 UTC"


@pytest.mark.parametrize(("hours", "passed"), [(1.0, True), (0.99, False)])
def test_the_longest_hole_of_a_source_is_compared_with_its_limit(make_bars, hours, passed):
    settings = SETTINGS.model_copy(update={"max_hole_hours": hours})
    found = finding(make_bars([1, None, 3, None, None, None, None, 8]), "longest_hole", settings=settings)
    assert (found["passed"], found["figure"], found["severity"]) == (passed, 1.0, "error")
    assert found["n_bad"] == (0 if passed else 4), "only bars in holes that are too long"
    assert found["detail"] == f"largest hole of 4 bars (1.0 h) after 2024-01-01 00:30 UTC, limit {hours:g}"


def test_a_halt_is_no_hole_however_long_the_limit_is(make_bars):
    strict = SETTINGS.model_copy(update={"max_hole_hours": 0.2})
    frame = pl.concat([make_bars([1, None, None, 4], symbol) for symbol in ("A/USD", "B/USD")])
    found = check(frame, 4, symbols=("A/USD", "B/USD"), settings=strict).filter(check="longest_hole")
    assert found["figure"].to_list() == [0.0, 0.0]
    assert found["passed"].all()


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
