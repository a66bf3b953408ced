from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cappuccino.market.interval import Interval


def test_lengths_are_what_the_names_say():
    assert Interval.M15.duration == timedelta(minutes=15)
    assert Interval.H4.us == 4 * 3600 * 1_000_000
    assert [i.per_day for i in Interval] == [1440, 288, 96, 48, 24, 6, 1]
    assert Interval.H1.per_year == 8760


def test_a_moment_falls_into_the_bar_that_opened_before_it():
    moment = datetime(2024, 2, 29, 13, 47, 12, 5, tzinfo=UTC)
    assert Interval.M15.floor(moment) == datetime(2024, 2, 29, 13, 45, tzinfo=UTC)
    assert Interval.H4.floor(moment) == datetime(2024, 2, 29, 12, tzinfo=UTC)
    assert Interval.D1.floor(moment) == datetime(2024, 2, 29, tzinfo=UTC)


def test_the_newest_closed_bar_closes_exactly_now_or_earlier():
    on_the_hour = datetime(2024, 1, 1, 12, tzinfo=UTC)
    assert Interval.H1.last_open(on_the_hour) == datetime(2024, 1, 1, 11, tzinfo=UTC)
    just_before = on_the_hour - timedelta(microseconds=1)
    assert Interval.H1.last_open(just_before) == datetime(2024, 1, 1, 10, tzinfo=UTC)


def test_a_time_without_zone_is_refused():
    with pytest.raises(ValueError, match="no time zone"):
        Interval.H1.floor(datetime(2024, 1, 1))  # noqa: DTZ001 (the point of the test)


@settings(derandomize=True, deadline=None, max_examples=100)
@given(
    st.datetimes(datetime(1960, 1, 1), datetime(2100, 1, 1)).map(lambda t: t.replace(tzinfo=UTC)),  # noqa: DTZ001
    st.sampled_from(Interval),
)
def test_every_moment_lies_in_the_bar_that_floor_names(moment, interval):
    opened = interval.floor(moment)
    assert opened <= moment < opened + interval.duration
    assert interval.floor(opened) == opened
    assert opened.date() == moment.date()
