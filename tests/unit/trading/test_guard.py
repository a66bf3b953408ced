"""Which prices are traded on: one look after the other, a minute apart."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cappuccino.market.interval import Interval
from cappuccino.market.panel import BarPanel, as_datetime64
from cappuccino.market.quotes import Quote
from cappuccino.settings import TraderSettings
from cappuccino.trading.guard import Guard, Look, bar_trouble

START = datetime(2025, 3, 3, tzinfo=UTC)
SETTINGS = TraderSettings(frozen_polls=5)
A, B = "A/USD", "B/USD"
POLL_S = SETTINGS.poll_s


@dataclass
class Looks:
    """A guard and its clock; B moves with every look, so that nothing is frozen by accident."""

    closes: dict[str, float] = field(default_factory=lambda: {A: 100.0, B: 50.0})
    guard: Guard = field(default_factory=lambda: Guard(SETTINGS))
    now: datetime = START
    n: int = 0

    def __call__(self, *mids: float, after_s: float = POLL_S) -> Look:
        """Return the last of the looks at A's prices."""
        for mid in mids:
            self.n += 1
            quotes = {A: quote(mid, self.now), B: quote(50.0 + self.n * 1e-6, self.now, B)}
            found = self.guard.look((A, B), quotes, self.closes, self.now)
            self.now += timedelta(seconds=after_s)
        return found

    def raw(self, a: Quote | None) -> Look:
        """Return a look at any quote of A, none at all included."""
        self.n += 1
        quotes = {B: quote(50.0 + self.n * 1e-6, self.now, B)} | ({A: a} if a else {})
        return self.guard.look((A, B), quotes, self.closes, self.now)


def quote(mid: float, at: datetime, symbol: str = A) -> Quote:
    return Quote(symbol, mid, mid, at)


@pytest.fixture
def looks() -> Looks:
    found = Looks()
    assert not found(100.0, 101.0).troubles
    return found


BAD = {
    "nan bid": (Quote(A, math.nan, 101.0, START), "are no prices"),
    "nan ask": (Quote(A, 101.0, math.nan, START), "are no prices"),
    "infinite": (Quote(A, 101.0, math.inf, START), "are no prices"),
    "zero": (Quote(A, 0.0, 101.0, START), "are no prices"),
    "both zero": (Quote(A, 0.0, 0.0, START), "are no prices"),
    "negative": (Quote(A, -101.0, 101.0, START), "are no prices"),
    "huge": (Quote(A, 1e308, 1e308, START), "times the last price"),
    "tiny": (Quote(A, 1e-310, 1e-310, START), "times the last price"),
    "crossed": (Quote(A, 101.5, 101.0, START), "crossed"),
    "wide": (Quote(A, 95.0, 107.0, START), "the spread is 11.9%, at most 5.0%"),
    "old": (Quote(A, 101.0, 101.0, START - timedelta(seconds=400)), "s old, at most 300 s"),
    "future": (Quote(A, 101.0, 101.0, START + timedelta(hours=1)), "ahead of our clock"),
    "absent": (None, "there is no quote"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_quote_is_not_traded_on_and_the_last_sound_one_stays(looks: Looks, name: str) -> None:
    bad, why = BAD[name]
    found = looks.raw(bad)
    assert why in found.troubles[A]
    assert set(found.troubles) == {A}
    assert found.quotes[A].mid_usd == 101.0


@pytest.mark.parametrize("name", BAD)
def test_a_sound_quote_after_a_bad_one_is_traded_on_at_once(looks: Looks, name: str) -> None:
    looks.raw(BAD[name][0])
    assert not looks(101.5).troubles


def test_before_any_sound_quote_the_newest_close_stands_in() -> None:
    found = Looks().raw(None)
    assert (found.quotes[A].mid_usd, set(found.troubles)) == (100.0, {A})


def test_a_symbol_without_quote_and_bars_is_not_known() -> None:
    found = Looks(closes={B: 50.0}).raw(None)
    assert set(found.quotes) == {B}
    assert found.troubles == {A: "there is no quote"}


@pytest.mark.parametrize("factor", [100.0, 0.01, 4.0, 0.25])
def test_a_price_that_jumps_once_is_not_believed(looks: Looks, factor: float) -> None:
    found = looks(101.0 * factor)
    assert f"is {factor:.3g} times the last price 101" in found.troubles[A]
    assert found.quotes[A].mid_usd == 101.0
    assert not looks(102.0).troubles


@pytest.mark.parametrize("factor", [100.0, 0.01])
def test_a_hundredfold_price_that_stays_is_not_believed_without_bars(looks: Looks, factor: float) -> None:
    for _ in range(30):
        assert A in looks(101.0 * factor).troubles
    looks.closes[A] = 101.0 * factor
    found = looks(101.0 * factor)
    assert not found.troubles
    assert found.quotes[A].mid_usd == 101.0 * factor


def test_a_crash_that_stays_is_believed_at_the_third_poll(looks: Looks) -> None:
    assert A in looks(40.0).troubles
    assert A in looks(41.0).troubles
    assert not looks(39.5).troubles


def test_a_crash_is_not_confirmed_by_looks_between_two_polls(looks: Looks) -> None:
    """Orders under way are looked at every two seconds: a misprint may last longer than three such looks."""
    assert A in looks(*[40.0] * 14, after_s=2.0).troubles


def test_prices_that_jump_to_and_fro_confirm_nothing(looks: Looks) -> None:
    assert all(A in looks(price).troubles for price in (40.0, 20.0, 40.0, 20.0, 40.0, 20.0))


def test_a_fall_in_steps_is_believed_step_by_step(looks: Looks) -> None:
    assert not any(looks(price).troubles for price in (80.0, 60.0, 45.0, 30.0))


def test_a_feed_that_repeats_itself_counts_as_frozen_and_resumes(looks: Looks) -> None:
    found = [_still(looks) for _ in range(6)]
    assert [bool(one.troubles) for one in found] == [False] * 4 + [True] * 2
    assert set(found[4].troubles) == {A, B}
    assert found[4].troubles[A] == "no price of any symbol has moved in 5 looks"
    assert not looks(101.0).troubles


def test_looks_between_two_polls_do_not_freeze_a_feed(looks: Looks) -> None:
    assert not any(_still(looks, after_s=2.0).troubles for _ in range(60))


def test_a_bar_that_moves_unfreezes_a_feed(looks: Looks) -> None:
    for _ in range(8):
        _still(looks)
    looks.closes[B] = 50.1
    assert not _still(looks).troubles


def _still(looks: Looks, after_s: float = POLL_S) -> Look:
    quotes = {A: quote(101.0, looks.now), B: quote(50.0, looks.now, B)}
    found = looks.guard.look((A, B), quotes, looks.closes, looks.now)
    looks.now += timedelta(seconds=after_s)
    return found


def test_an_outage_of_quotes_is_not_a_frozen_feed(looks: Looks) -> None:
    for _ in range(10):
        found = looks.guard.look((A, B), {}, looks.closes, looks.now)
        looks.now += timedelta(seconds=POLL_S)
    assert found.troubles[A] == "there is no quote"
    assert not looks(101.0).troubles


def test_a_first_quote_far_from_the_bars_is_not_believed() -> None:
    found = Looks()(10_000.0)
    assert "is 100 times the last price 100" in found.troubles[A]
    assert found.quotes[A].mid_usd == 100.0


def test_a_first_quote_of_all_is_held_against_the_bars_that_come_later() -> None:
    looks = Looks(closes={})
    first = looks(10_000.0)
    assert not first.troubles
    assert first.unproven == {A, B}
    assert "beside the newest bar's 100" in bar_trouble(panel([100.0] * 4), 3, first, SETTINGS)
    looks.closes.update({A: 100.0, B: 50.0})
    second = looks(10_000.0)
    assert A in second.troubles
    assert second.quotes[A].mid_usd == 100.0
    third = looks(100.5)
    assert not third.troubles
    assert not third.unproven


@given(
    st.lists(
        st.tuples(
            st.floats(allow_nan=True, allow_infinity=True),
            st.floats(allow_nan=True, allow_infinity=True),
            st.integers(-1000, 1000),
        ),
        max_size=12,
    )
)
def test_whatever_comes_the_known_price_is_a_price_and_moves_no_further_than_allowed(
    rows: list[tuple[float, float, int]],
) -> None:
    looks = Looks()
    before = looks(100.0).quotes[A].mid_usd
    for bid, ask, age_s in rows:
        found = looks.raw(Quote(A, bid, ask, looks.now - timedelta(seconds=age_s)))
        looks.now += timedelta(seconds=POLL_S)
        mid = found.quotes[A].mid_usd
        assert math.isfinite(mid)
        assert mid > 0
        assert abs(math.log(mid / before)) <= math.log(5.0) + 1e-9
        before = mid


# Bars


def panel(
    closes: list[float], *, high: Mapping[int, float] | None = None, low: Mapping[int, float] | None = None
) -> BarPanel:
    close = np.array(closes, dtype=np.float64)[:, None]
    highs, lows = close.copy(), close.copy()
    for t, price in (high or {}).items():
        highs[t, 0] = price
    for t, price in (low or {}).items():
        lows[t, 0] = price
    opened_at = as_datetime64(START) + np.arange(len(close)) * np.timedelta64(Interval.H1.us, "us")
    filled = np.zeros(close.shape, dtype=bool)
    return BarPanel(Interval.H1, (A,), opened_at, close, highs, lows, close, close, filled)


def look_at(mid: float | None, *troubles: str, unproven: bool = False) -> Look:
    quotes = {} if mid is None else {A: quote(mid, START)}
    return Look(quotes, dict.fromkeys(troubles, "bad"), frozenset({A} if unproven else ()))


CALM = [100.0, 101.0, 99.0, 100.0, 102.0, 101.0]


def test_calm_bars_are_decided_on() -> None:
    assert bar_trouble(panel(CALM), 5, look_at(101.0), SETTINGS) == ""


@pytest.mark.parametrize("spike", [10_000.0, 1.0, 300.0])
def test_a_spike_in_the_window_is_said_with_symbol_and_time(spike: float) -> None:
    found = bar_trouble(panel([100.0, 101.0, spike, 100.0, 102.0]), 4, look_at(102.0), SETTINGS)
    assert found == f"the bar of A/USD that closed at 2025-03-03T03:00:00.000000 UTC says {spike:.10g} after 101"


def test_a_spike_before_the_window_does_not_matter() -> None:
    assert bar_trouble(panel([100.0, 10_000.0, 100.0, *CALM]), 5, look_at(101.0), SETTINGS) == ""


@pytest.mark.parametrize("level", [40.0, 250.0, 10_000.0])
def test_a_level_that_stays_is_believed(level: float) -> None:
    assert bar_trouble(panel([100.0, 101.0, level, level * 1.02, level]), 4, look_at(level), SETTINGS) == ""


def test_a_jump_in_the_newest_bar_needs_a_quote_that_agrees() -> None:
    bars = panel([*CALM, 40.0])
    assert bar_trouble(bars, 5, look_at(41.0), SETTINGS) == ""
    for look in (look_at(101.0), look_at(None), look_at(41.0, A)):
        assert "says 40 after 101" in bar_trouble(bars, 5, look, SETTINGS)


def test_an_absurd_newest_bar_is_not_decided_on_and_its_correction_is() -> None:
    assert "says 10100 after 101" in bar_trouble(panel([*CALM, 10_100.0]), 5, look_at(101.0), SETTINGS)
    assert bar_trouble(panel([*CALM, 101.0]), 5, look_at(101.0), SETTINGS) == ""


@pytest.mark.parametrize("bars", [panel(CALM, high={3: 10_000.0}), panel(CALM, low={3: 1.0})])
def test_trades_far_beyond_the_closes_are_misprints(bars: BarPanel) -> None:
    assert "A/USD that closed at 2025-03-03T04:00:00.000000 UTC spans" in bar_trouble(bars, 5, look_at(101.0), SETTINGS)


def test_a_wick_of_a_real_crash_is_believed() -> None:
    assert bar_trouble(panel(CALM, low={3: 45.0}), 5, look_at(101.0), SETTINGS) == ""


def test_a_window_longer_than_the_bars_looks_at_all_of_them() -> None:
    assert bar_trouble(panel([100.0]), 20, look_at(100.0), SETTINGS) == ""
    assert "says 9000" in bar_trouble(panel([100.0, 9_000.0, 100.0]), 20, look_at(100.0), SETTINGS)


def test_the_gap_is_a_setting() -> None:
    loose = replace_gap(5.0)
    assert bar_trouble(panel([100.0, 101.0, 300.0, 100.0, 102.0]), 4, look_at(102.0), loose) == ""


def replace_gap(max_gap_log: float) -> TraderSettings:
    return SETTINGS.model_copy(update={"max_gap_log": max_gap_log})
