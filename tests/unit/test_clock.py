from datetime import UTC, datetime, timedelta, timezone

import pytest

from cappuccino.clock import CappedClock, FixedClock, SystemClock, require_utc

NOON = datetime(2025, 6, 1, 12, tzinfo=UTC)
BERLIN = timezone(timedelta(hours=2))


def test_the_wall_clock_tells_the_present_in_utc() -> None:
    before = datetime.now(UTC)
    told = SystemClock().now()
    assert before <= told <= datetime.now(UTC)
    assert told.tzinfo is UTC


def test_a_fixed_clock_stands_still() -> None:
    clock = FixedClock(NOON)
    assert clock.now() == clock.now() == NOON


def test_a_capped_clock_runs_until_the_end_of_the_record_and_stops_there() -> None:
    assert CappedClock(FixedClock(NOON), NOON + timedelta(hours=1)).now() == NOON
    assert CappedClock(FixedClock(NOON), NOON - timedelta(hours=1)).now() == NOON - timedelta(hours=1)


@pytest.mark.parametrize(
    "clock",
    [
        FixedClock(NOON.astimezone(BERLIN)),
        CappedClock(FixedClock(NOON.replace(year=2026)), NOON.astimezone(BERLIN)),
    ],
)
def test_clocks_speak_utc_whatever_zone_they_were_set_in(clock: FixedClock | CappedClock) -> None:
    assert clock.now() == NOON
    assert clock.now().tzinfo is UTC


def test_moments_without_a_zone_are_refused() -> None:
    naive = NOON.replace(tzinfo=None)
    with pytest.raises(ValueError, match="has no time zone"):
        FixedClock(naive)
    with pytest.raises(ValueError, match="has no time zone"):
        CappedClock(FixedClock(NOON), naive).now()
    assert require_utc(NOON.astimezone(BERLIN)).tzinfo is UTC
