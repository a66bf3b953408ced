"""Capital steps: which one is confirmed, and when the next one may be. All sums are worked by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cappuccino.registry.capital import Confirmation, Value, capital_usd, reasons_against, standing
from cappuccino.registry.identity import ModelId
from cappuccino.settings import LiveSettings

LIVE = datetime(2026, 11, 1, tzinfo=UTC)
DAY = timedelta(days=1)
A, B = ModelId("s", 1), ModelId("s", 2)
SETTINGS = LiveSettings()
FIRST = Confirmation("coinbase", "account-1", 1, 100.0, A, "mine", LIVE + DAY)
SECOND = replace(FIRST, step=2, capital_usd=1_000.0, confirmed_at=LIVE + 9 * DAY)
REVOKED = replace(FIRST, step=0, capital_usd=0.0, confirmed_at=LIVE + 10 * DAY)
NOW = FIRST.confirmed_at + 7 * DAY


def held(*confirmations: Confirmation, model: ModelId = A, account: str = "account-1") -> Confirmation | None:
    return standing(confirmations, model, "coinbase", account, LIVE)


def worth(*usd: float, start: datetime = FIRST.confirmed_at) -> list[Value]:
    """Return one value a day."""
    return [Value(start + n * DAY, value) for n, value in enumerate(usd, start=1)]


EARNED = worth(99, 98, 100, 101, 100, 101, 102)


def test_the_newest_confirmation_holds() -> None:
    assert held() is None
    assert held(FIRST) == FIRST
    assert held(FIRST, SECOND) == SECOND


def test_a_confirmation_is_of_one_account_and_one_model() -> None:
    assert held(FIRST, account="account-2") is None
    assert held(FIRST, model=B) is None
    assert held(FIRST, replace(SECOND, model=B)) is None
    assert held(FIRST, replace(SECOND, account_id="account-2")) == FIRST
    assert standing([FIRST], A, "alpaca", "account-1", LIVE) is None


def test_a_confirmation_ends_with_the_stay_in_live_and_with_a_revocation() -> None:
    assert standing([FIRST], A, "coinbase", "account-1", FIRST.confirmed_at + timedelta(seconds=1)) is None
    assert held(FIRST, SECOND, REVOKED) is None
    assert held(REVOKED, FIRST) == FIRST
    assert held(FIRST, replace(REVOKED, confirmed_at=LIVE - 99 * DAY)) is None, "a wrong clock takes nothing back"


def test_steps_are_those_of_the_settings() -> None:
    assert [capital_usd(step, SETTINGS) for step in range(-1, 6)] == [None, None, 100, 1_000, 2_000, 3_000, None]


def test_the_first_step_needs_nothing_and_the_others_the_one_before() -> None:
    assert reasons_against(1, None, [], NOW, SETTINGS) == []
    assert reasons_against(2, None, [], NOW, SETTINGS) == ["step: step 2 comes after step 1, and confirmed is none"]
    assert reasons_against(3, FIRST, EARNED, NOW, SETTINGS) == ["step: step 3 comes after step 2, and confirmed is 1"]
    assert reasons_against(1, FIRST, EARNED, NOW, SETTINGS) == ["step: step 1 is confirmed already"]
    assert reasons_against(5, SECOND, EARNED, NOW, SETTINGS) == [
        "step: there is no step 5, live.capital_steps_usd has 4"
    ]


def test_going_down_needs_no_profit() -> None:
    assert reasons_against(1, SECOND, [], NOW, SETTINGS) == []


def test_a_step_that_was_profitable_for_its_whole_time_opens_the_next() -> None:
    assert reasons_against(2, FIRST, EARNED, NOW, SETTINGS) == []


def test_a_step_that_lost_or_gained_nothing_does_not() -> None:
    lost = worth(99, 98, 100, 101, 100, 101, 100)
    assert reasons_against(2, FIRST, lost, NOW, SETTINGS) == [
        "profit: 100.00 USD at 2026-11-09 00:00 UTC is not above the 100.00 USD that step 1 began with"
    ]


def test_an_account_that_began_with_more_has_to_end_with_more() -> None:
    richer = worth(120, 119, 118, 117, 116, 115, 114)
    (reason,) = reasons_against(2, FIRST, richer, NOW, SETTINGS)
    assert "114.00 USD at" in reason
    assert "not above the 120.00 USD" in reason


def test_money_that_was_added_for_the_step_is_no_profit() -> None:
    """The first bar may close before the trader knows of the larger capital."""
    moved = worth(101, 1_000, 999, 998, 997, 996, 995, start=SECOND.confirmed_at)
    (reason,) = reasons_against(3, SECOND, moved, SECOND.confirmed_at + 7 * DAY, SETTINGS)
    assert reason.startswith("profit: 995.00 USD")


def test_a_step_takes_its_time() -> None:
    early = FIRST.confirmed_at + 6 * DAY
    assert reasons_against(2, FIRST, EARNED[:6], early, SETTINGS) == ["time: 6.00 days of step 1, 7 are needed"]
    assert reasons_against(2, FIRST, EARNED[:6], early, LiveSettings(step_days=6)) == []


def test_time_that_nobody_watched_does_not_count() -> None:
    for values, now in ((EARNED[:1] + EARNED[4:], NOW), (EARNED, NOW + 3 * DAY), (EARNED[3:], NOW)):
        (reason,) = reasons_against(2, FIRST, values, now, SETTINGS)
        assert reason.startswith("watch: ")
        assert "days without a value of the account, at most 2 are accepted" in reason
    assert reasons_against(2, FIRST, [], NOW, SETTINGS) == [
        "profit: the account has no value since step 1 was confirmed"
    ]


@pytest.mark.parametrize("place", [0, 3, 6])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_value_that_is_no_number_opens_nothing(place: int, value: float) -> None:
    values = [replace(each, usd=value) if n == place else each for n, each in enumerate(EARNED)]
    assert "values: 1 of 7 values are no number" in reasons_against(2, FIRST, values, NOW, SETTINGS)


def test_a_capital_that_is_no_number_opens_nothing() -> None:
    broken = replace(FIRST, capital_usd=float("nan"))
    assert reasons_against(2, broken, EARNED, NOW, SETTINGS) != []


@given(
    st.lists(st.floats(1, 1e6) | st.just(float("nan")), min_size=1, max_size=30),
    st.integers(2, 4),
    st.integers(0, 20),
)
def test_no_step_upwards_without_a_profit_over_the_whole_time(usd: list[float], step: int, days_later: int) -> None:
    before = replace(FIRST, step=step - 1, capital_usd=float(SETTINGS.capital_steps_usd[step - 2]))
    values = worth(*usd)
    now = values[-1].at + days_later * DAY
    if not reasons_against(step, before, values, now, SETTINGS):
        assert usd[-1] > max(usd[0], before.capital_usd)
        assert len(usd) >= SETTINGS.step_days
        assert days_later <= 2


@pytest.mark.parametrize("steps", [(), (0.0, 1.0), (100.0, 100.0), (1_000.0, 100.0), (float("nan"),), (-1.0,)])
def test_steps_that_do_not_rise_are_refused(steps: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="capital_steps_usd"):
        LiveSettings(capital_steps_usd=steps)
