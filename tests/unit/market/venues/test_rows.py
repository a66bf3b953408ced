"""What is kept of an answer, whatever comes in whatever order."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from cappuccino.market.interval import Interval
from cappuccino.market.ranges import Ask
from cappuccino.market.source import BAR_SCHEMA, check_frame
from cappuccino.market.venues.rows import Kept, fit, raw_frame

INTERVAL = Interval.M15
START = datetime(2024, 3, 1, tzinfo=UTC)
ASK = Ask(("BTC/USD", "ETH/USD"), START, START + timedelta(hours=2))
NOW = START + timedelta(hours=1, minutes=50)

Row = tuple[str, datetime | None, float | None, float | None, float | None, float | None, float | None]

minutes = st.one_of(st.integers(-40, 160), st.integers(-3, 10).map(lambda n: 15 * n), st.just(10**6))
numbers = st.one_of(
    st.sampled_from([0.0, -0.0, -1.0, None, float("nan"), float("inf"), 1.0, 2.0, 3.0]), st.floats(0.5, 4)
)
good = st.tuples(st.floats(1, 2), st.floats(2, 3), st.floats(0.5, 1), st.floats(1, 2), st.floats(0, 9))
moments = st.one_of(st.none(), minutes.map(lambda n: START + timedelta(minutes=n)))
values = st.one_of(good, st.tuples(*[numbers] * 5))
rows = st.builds(lambda symbol, at, five: (symbol, at, *five), st.sampled_from([*ASK.symbols, "X/Y"]), moments, values)


def kept(some: list[Row]) -> Kept:
    frame = pl.DataFrame(some, schema=BAR_SCHEMA, orient="row")
    return fit(frame, ASK, INTERVAL, NOW)


@given(st.lists(rows, max_size=30), st.data())
@settings(max_examples=80, deadline=None)
def test_order_and_repetition_of_the_rows_change_nothing(some: list[Row], data: st.DataObject) -> None:
    once = kept(some)
    repeated = [*some, *data.draw(st.lists(st.sampled_from(some), max_size=10) if some else st.just([]))]
    again = kept(data.draw(st.permutations(repeated)))
    assert_frame_equal(again.bars, once.bars, check_exact=True)
    assert (again.n_rows, again.n_bad, again.example) == (once.n_rows, once.n_bad, once.example)


@given(st.lists(rows, max_size=30))
@settings(max_examples=80, deadline=None)
def test_what_is_kept_fulfils_the_contract_lies_in_the_range_and_was_in_the_answer(some: list[Row]) -> None:
    bars = kept(some).bars
    assert_frame_equal(check_frame(bars, INTERVAL, "property"), bars)
    assert all(START <= at < ASK.stop and at + INTERVAL.duration <= NOW for at in bars["opened_at_utc"])
    assert set(bars.iter_rows()) <= set(some)


def test_every_good_row_is_kept() -> None:
    times = [START + n * INTERVAL.duration for n in range(7)]
    some = [(symbol, at, 2.0, 3.0, 1.0, 2.5, 0.0) for symbol in ASK.symbols for at in times]
    found = kept(some[::-1])
    assert found.bars.rows() == some
    assert (found.n_rows, found.n_bad, found.example) == (14, 0, "")


def test_a_good_bar_beside_a_broken_one_of_the_same_time_is_kept() -> None:
    good_one = ("BTC/USD", START, 2.0, 3.0, 1.0, 2.5, 1.0)
    found = kept([("BTC/USD", START, 2.0, 3.0, 1.0, float("nan"), 1.0), good_one])
    assert found.bars.rows() == [good_one]
    assert (found.n_bad, found.example) == (
        1,
        "BTC/USD at 2024-03-01 00:00 UTC: close is nan, and prices are positive numbers",
    )


def test_no_volume_is_the_same_bits_whatever_sign_the_venue_gave_it() -> None:
    both = [("BTC/USD", START, 2.0, 3.0, 1.0, 2.5, volume) for volume in (-0.0, 0.0)]
    for some in (both, both[::-1], both[:1]):
        found = kept(some)
        assert [math.copysign(1, volume) for volume in found.bars["volume"]] == [1.0]
        assert found.n_bad == 0


def test_a_few_bad_bars_are_borne_and_many_are_not() -> None:
    empty = pl.DataFrame(schema=BAR_SCHEMA)
    for n_rows, n_bad, is_nonsense in [(10, 10, False), (11, 11, True), (1000, 50, False), (1000, 51, True)]:
        try:
            Kept(empty, n_rows, n_bad, "BTC/USD: odd").refuse_nonsense("somewhere")
            was_refused = False
        except Exception as error:
            was_refused = f"{n_bad} of {n_rows:,} bars" in str(error)
        assert was_refused == is_nonsense


def test_numbers_may_be_text_and_what_is_no_number_is_absent() -> None:
    opened = pl.Series([START, START, None], dtype=BAR_SCHEMA["opened_at_utc"])
    mixed = ["0.1", 7, "seven"]
    frame = raw_frame(["A", "B", "C"], opened, dict.fromkeys(["open", "high", "low", "close", "volume"], mixed))
    assert frame.schema == BAR_SCHEMA
    assert frame["close"].to_list() == [0.1, 7.0, None]
