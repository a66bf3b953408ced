"""Which points a study of thresholds tries: today's first, nothing twice, and no number in a wrong unit."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cappuccino.errors import ConfigError
from cappuccino.risk.rules import Rules
from cappuccino.settings import CostSettings, RiskSettings
from cappuccino.validation.threshold_grid import USUAL_FIXED, USUAL_SCALED, Unit, candidates

RULES = Rules.of(RiskSettings(), CostSettings())
SYMBOLS = ("A/USD", "B/USD")
STOP, TAKE = "portfolio_trailing_stop_frac", "profit_take_frac"


def tried(values=None, unit=None, by_symbol=False, rules=RULES):
    return candidates(rules, SYMBOLS, values or {}, unit, by_symbol)


def test_the_usual_grid_has_both_units_with_everything_off_once():
    found = tried()
    assert found.points[0] == {}
    assert len(found) == 47  # 4 x 3 x 2 of each unit; all off means the same in both; today's are among the fixed
    assert all(found.in_grid)
    assert set(found.symbols) == {None}
    assert tried(unit=Unit.BOTH) == found
    assert len(tried(unit=Unit.FIXED)) == 24
    assert len(tried(unit=Unit.SCALED)) == 25  # today's beside them


def test_all_rules_off_are_among_the_usual_points():
    off = dict.fromkeys(USUAL_FIXED, 0.0)
    assert any(off.items() <= point.items() for point in tried(unit=Unit.FIXED).points)
    assert all(0.0 in values for usual in (USUAL_FIXED, USUAL_SCALED) for values in usual.values())


def test_given_numbers_are_varied_and_all_else_stays_as_today():
    found = tried({STOP: (0.0, 0.02)})
    assert found.points == ({}, {STOP: 0.0}, {STOP: 0.02})
    assert found.in_grid == (False, True, True)
    assert tried({STOP: (0.015, 0.02)}).points == ({}, {STOP: 0.02})  # 0.015 are today's
    assert tried({STOP: (0.015, 0.02)}).in_grid == (True, True)


def test_what_would_change_its_unit_unasked_is_off():
    (point,) = tried({STOP: (1.0,)}, Unit.SCALED).points[1:]
    assert point == {STOP: 1.0, TAKE: 0.0, "move_to_cash_frac": 0.0, "protection_scaled": True}
    rules = replace(RULES, stop_loss_by_symbol=(("A/USD", 0.05),))
    (point,) = tried({"position_trailing_stop_frac": (2.0,)}, Unit.SCALED, rules=rules).points[1:]
    assert point["stop_loss_frac"] == 0.0
    assert point["stop_loss_by_symbol"] == ()
    scaled = replace(RULES, protection_scaled=True)
    (point,) = tried({STOP: (1.0,)}, Unit.SCALED, rules=scaled).points[1:]
    assert point == {STOP: 1.0, "protection_scaled": True}


def test_each_symbol_has_its_own_stop_losses_beside_the_common_ones():
    found = tried({"stop_loss_frac": (0.05, 0.1)}, by_symbol=True)
    assert found.points == (
        {},
        {"stop_loss_frac": 0.05},
        {"stop_loss_by_symbol": (("A/USD", 0.05),)},
        {"stop_loss_by_symbol": (("B/USD", 0.05),)},
    )
    assert found.symbols == (None, None, "A/USD", "B/USD")
    assert found.in_grid == (True, True, False, False)


def test_a_symbols_stop_loss_takes_the_place_of_its_exception_and_leaves_the_others():
    rules = replace(RULES, stop_loss_by_symbol=(("A/USD", 0.02), ("B/USD", 0.03)))
    found = tried({"stop_loss_frac": (0.04,)}, by_symbol=True, rules=rules)
    assert found.points[-1] == {"stop_loss_by_symbol": (("A/USD", 0.02), ("B/USD", 0.04))}


def test_the_only_symbol_without_an_exception_is_still_told_apart_from_all():
    rules = replace(RULES, stop_loss_by_symbol=(("A/USD", 0.02),))
    found = tried({"stop_loss_frac": (0.04,)}, by_symbol=True, rules=rules)
    assert found.symbols == (None, None, "A/USD", "B/USD")


@given(
    st.lists(st.sampled_from((0.0, 0.015, 0.03, 0.5)), min_size=1, max_size=4),
    st.lists(st.sampled_from((0.0, 0.03, 0.2)), min_size=1, max_size=3),
    st.sampled_from((None, Unit.FIXED, Unit.SCALED)),
)
def test_no_point_is_tried_twice_and_todays_is_the_first(stops, takes, unit):
    found = tried({STOP: stops, TAKE: takes}, unit)
    assert found.points[0] == {}
    meanings = [str(replace(RULES, **point)) for point in found.points]
    assert len(set(meanings)) == len(found) == len(found.in_grid) == len(found.symbols)
    assert len(found) <= 1 + len(set(stops)) * len(set(takes))


@pytest.mark.parametrize(
    ("values", "unit", "by_symbol", "said"),
    [
        ({STOP: (1.5,)}, None, False, "--trailing-stop 1.5 is more than all"),
        ({STOP: (-0.1,)}, None, False, "--trailing-stop -0.1 is no threshold"),
        ({TAKE: (float("nan"),)}, Unit.SCALED, False, "--profit-take nan is no threshold"),
        ({STOP: (0.1,)}, Unit.BOTH, False, "choose --fixed or --scaled"),
        ({"stop_loss_frac": (1.0,)}, Unit.SCALED, True, "whose stop-losses are fixed; use --fixed"),
        ({STOP: [i / 10_000 for i in range(2_001)]}, None, False, "2,000 are the most"),
    ],
)
def test_numbers_that_cannot_be_meant_are_refused(values, unit, by_symbol, said):
    with pytest.raises(ConfigError, match=said):
        tried(values, unit, by_symbol)


def test_a_gain_may_be_more_than_all():
    assert tried({TAKE: (1.5,)}).points[1] == {TAKE: 1.5}
