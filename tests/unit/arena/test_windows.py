from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cappuccino.arena.windows import draw_windows, mostly_traded
from cappuccino.errors import DataError
from cappuccino.market.interval import Interval
from cappuccino.market.panel import BarPanel

START = datetime(2025, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def panel_with_fills(filled: set[int], n_bars: int = 240) -> BarPanel:
    """Hourly bars of one symbol from START on; those at `filled` are filled."""
    prices = np.ones((n_bars, 1))
    is_filled = np.array([[t in filled] for t in range(n_bars)])
    opened_at = np.datetime64("2025-06-01", "us") + np.arange(n_bars) * np.timedelta64(1, "h")
    return BarPanel(Interval.H1, ("BTC/USD",), opened_at, prices, prices, prices, prices, prices, is_filled)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**63 - 1),
    n=st.integers(1, 7),
    days=st.sampled_from([0.5, 1, 4]),
    room=st.floats(1, 60),
    offset_minutes=st.integers(0, 1440),
    interval=st.sampled_from([Interval.M15, Interval.H1, Interval.H4]),
)
def test_windows_lie_on_the_grid_inside_the_range_and_repeat_for_a_seed(
    seed: int, n: int, days: float, room: float, offset_minutes: int, interval: Interval
) -> None:
    start = START + timedelta(minutes=offset_minutes)
    stop = start + days * DAY + room * DAY
    windows = draw_windows(seed, start, stop, n, days, interval)
    assert windows == draw_windows(seed, start, stop, n, days, interval)
    assert len(windows) == n
    assert windows == sorted(windows)
    for first, last in windows:
        assert start <= first < last <= stop
        assert last - first == days * DAY
        assert interval.floor(first) == first
    if n * days <= days + room - 1:  # a day covers what the grid cuts off at both ends
        assert all(before[1] <= after[0] for before, after in pairwise(windows))


def test_windows_that_fill_the_range_exactly_touch() -> None:
    windows = draw_windows(1, START, START + 20 * DAY, 5, 4, Interval.H1)
    assert windows == [(START + 4 * i * DAY, START + 4 * (i + 1) * DAY) for i in range(5)]


def test_windows_overlap_where_the_range_is_too_short_for_them_side_by_side() -> None:
    windows = draw_windows(1, START, START + 10 * DAY, 5, 4, Interval.H1)
    assert len(set(windows)) == 5
    assert any(before[1] > after[0] for before, after in pairwise(windows))


def test_another_seed_draws_other_windows() -> None:
    drawn = {tuple(draw_windows(seed, START, START + 60 * DAY, 5, 4, Interval.H1)) for seed in range(10)}
    assert len(drawn) == 10


def test_every_part_of_the_range_is_drawn_from() -> None:
    drawn = [w for seed in range(200) for w in draw_windows(seed, START, START + 9 * DAY, 2, 1, Interval.D1)]
    assert {(start - START) // DAY for start, _ in drawn} == set(range(9))


def test_a_range_shorter_than_a_window_is_refused() -> None:
    with pytest.raises(DataError, match=r"no acceptable window of 4 days \(96 bars of 1h\)"):
        draw_windows(1, START, START + 3.9 * DAY, 5, 4, Interval.H1)
    with pytest.raises(DataError, match="no acceptable window"):
        draw_windows(1, START, START - DAY, 5, 4, Interval.H1)


def test_windows_avoid_filled_bars() -> None:
    panel = panel_with_fills({100, 101, 102})
    accepts = mostly_traded([panel], 0.01)
    for seed in range(20):
        for start, stop in draw_windows(seed, START, START + 10 * DAY, 5, 1, Interval.H1, accepts):
            assert not panel.between(start, stop).is_filled.any()


def test_windows_settle_for_overlap_when_filled_bars_leave_no_other_way() -> None:
    # Ten days hold five windows of two days in one way only, and that one has the filled bars inside.
    accepts = mostly_traded([panel_with_fills({100, 101, 102})], 0.01)
    windows = draw_windows(1, START, START + 10 * DAY, 5, 2, Interval.H1, accepts)
    assert len(windows) == 5
    assert all(accepts(*w) for w in windows)


def test_a_range_full_of_filled_bars_is_refused() -> None:
    accepts = mostly_traded([panel_with_fills(set(range(0, 240, 10)))], 0.01)
    with pytest.raises(DataError, match=r"market\.max_filled_frac"):
        draw_windows(1, START, START + 10 * DAY, 5, 2, Interval.H1, accepts)


def test_a_share_of_filled_bars_up_to_the_limit_is_accepted() -> None:
    accepts = mostly_traded([panel_with_fills({5})], 1 / 24)
    assert accepts(START, START + DAY)
    assert not mostly_traded([panel_with_fills({5})], 1 / 25)(START, START + DAY)


def test_a_window_that_reaches_out_of_the_bars_is_not_accepted() -> None:
    accepts = mostly_traded([panel_with_fills(set())], 0.01)
    assert accepts(START + 9 * DAY, START + 10 * DAY)
    assert not accepts(START + 9.5 * DAY, START + 10.5 * DAY)
    assert not accepts(START - DAY, START)
