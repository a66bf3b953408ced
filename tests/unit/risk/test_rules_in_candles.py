"""Each rule of both layers on candles drawn as text: see `candles`."""

from __future__ import annotations

import pytest

from tests.unit.risk.candles import HOUR_US, check, each


def test_the_portfolio_trailing_stop_sells_everything_and_starts_anew():
    # Peak 1100; the stop is at 1083.50. After it, the new cycle's peak is 1080, its stop 1063.80.
    check(
        """
        open  | close | want | units | cash | rule
        100   | 100   | 1    | 0     | 1000 | -
        100   | 110   | 1    | 10    | 0    | -
        110   | 108.4 | 1    | 10    | 0    | -
        108.4 | 108.3 | 1    | 10    | 0    | -
        108   | 108   | 1    | 0     | 1080 | TRAILING_STOP
        108   | 107   | 1    | 10    | 0    | -
        107   | 106.3 | 1    | 10    | 0    | -
        106   | 106   | 0    | 0     | 1060 | TRAILING_STOP
        """,
        portfolio_trailing_stop_frac=0.015,
    )


def test_the_portfolio_trailing_stop_sells_winners_too():
    check(
        """
        open    | close   | want    | units | cash | rule
        100 100 | 100 100 | 0.5 0.3 | 0 0   | 1000 | -
        100 100 | 101 90  | 0.5 0.3 | 5 3   | 200  | -
        101 90  | 101 90  | 0.5 0.3 | 0 0   | 975  | TRAILING_STOP
        """,
        portfolio_trailing_stop_frac=0.015,
    )


def test_profit_is_taken_once_a_cycle_and_nothing_is_bought_with_it():
    # Base 1000. At 1030 half goes; the agent, who wants all of it back, gets it in the step after, and no
    # second take follows although the gain grows.
    check(
        """
        open | close | want | units  | cash | rule
        100  | 100   | 1    | 0      | 1000 | -
        100  | 102.9 | 1    | 10     | 0    | -
        103  | 103   | 1    | 10     | 0    | -
        103  | 103   | 0.5  | 5      | 515  | PROFIT_TAKE
        103  | 110   | 1    | 5      | 515  | -
        110  | 120   | 1    | 9.6818 | 0    | -
        120  | 120   | 0    | 9.6818 | 0    | -
        """,
        profit_take_frac=0.03,
    )


def test_taking_profit_does_not_keep_an_agent_from_selling_more():
    check(
        """
        open  | close  | want | units | cash | rule
        100 9 | 100 9  | 1 0  | 0 0   | 1000 | -
        100 9 | 104 9  | 0 1  | 10 0  | 0    | -
        104 9 | 104 9  | 0 1  | 0 0   | 1040 | PROFIT_TAKE
        """,
        profit_take_frac=0.03,
    )


def test_a_new_cycle_may_take_profit_again():
    check(
        """
        open | close | want | units | cash   | rule
        100  | 100   | 1    | 0     | 1000   | -
        100  | 104   | 1    | 10    | 0      | -
        104  | 104   | 0    | 5     | 520    | PROFIT_TAKE
        104  | 104   | 1    | 0     | 1040   | -
        104  | 110   | 1    | 10    | 0      | -
        110  | 110   | 0    | 5     | 550    | PROFIT_TAKE
        """,
        profit_take_frac=0.03,
    )


def test_move_to_cash_sells_everything_and_stays_out_for_its_hours():
    # Sold at hour 2 for three hours: the wish of hour 5 is the first to be heard.
    check(
        """
        open | close | want | units | cash | rule
        100  | 100   | 1    | 0     | 1000 | -
        100  | 105   | 1    | 10    | 0    | -
        105  | 105   | 1    | 0     | 1050 | MOVE_TO_CASH
        105  | 105   | 1    | 0     | 1050 | KEPT_OUT
        105  | 105   | 1    | 0     | 1050 | KEPT_OUT
        105  | 105   | 1    | 10    | 0    | -
        """,
        move_to_cash_frac=0.05,
        cash_us=3 * HOUR_US,
    )


def test_moving_to_cash_is_stronger_than_taking_profit():
    check(
        """
        open | close | want | units | cash | rule
        100  | 100   | 1    | 0     | 1000 | -
        100  | 106   | 1    | 10    | 0    | -
        106  | 106   | 0    | 0     | 1060 | MOVE_TO_CASH
        """,
        move_to_cash_frac=0.05,
        cash_us=HOUR_US,
        profit_take_frac=0.03,
    )


def test_a_stop_loss_sells_only_the_position_that_fell_below_its_entry():
    # At 90 the first symbol has lost 10 %; the agent's wish for the second goes on.
    check(
        """
        open   | close  | want          | units | cash | rule
        100 50 | 100 50 | 0.5 0.1       | 0 0   | 1000 | -
        100 50 | 91 50  | 0.4764 0.1047 | 5 2   | 400  | -
        91 50  | 90 50  | 0.5 0.5       | 5 2   | 400  | -
        90 50  | 90 50  | 0 0           | 0 9.5 | 475  | STOP_LOSS
        """,
        stop_loss_frac=0.10,
    )


def test_a_position_trailing_stop_follows_the_peak_price():
    check(
        """
        open | close | want | units | cash | rule
        100  | 100   | 1    | 0     | 1000 | -
        100  | 120   | 1    | 10    | 0    | -
        120  | 115   | 1    | 10    | 0    | -
        115  | 114   | 1    | 10    | 0    | -
        113  | 113   | 0    | 0     | 1130 | POSITION_TRAILING_STOP
        """,
        position_trailing_stop_frac=0.05,
    )


def test_each_symbol_may_have_a_stop_loss_of_its_own():
    check(
        """
        open    | close   | want    | units | cash | rule
        100 100 | 100 100 | 0.5 0.5 | 0 0   | 1000 | -
        100 100 | 94 94   | 0.5 0.5 | 5 5   | 0    | -
        94 94   | 89 94   | 0 0     | 5 0   | 470  | STOP_LOSS
        89 94   | 89 94   | 0 0     | 0 0   | 915  | STOP_LOSS
        """,
        stop_loss_frac=each(0.10, 0.05),
    )


def test_a_symbol_whose_stops_are_at_zero_has_none():
    check(
        """
        open    | close   | want          | units | cash | rule
        100 100 | 100 100 | 0.5 0.5       | 0 0   | 1000 | -
        100 100 | 94 40   | 0.7015 0.2985 | 5 5   | 0    | -
        94 40   | 89 40   | 0.69 0.31     | 5 5   | 0    | -
        89 40   | 89 40   | 0 0           | 0 5   | 445  | STOP_LOSS POSITION_TRAILING_STOP
        """,
        stop_loss_frac=each(0.10, 0.0),
        position_trailing_stop_frac=each(0.11, 0.0),
    )


def test_scaled_stops_of_positions_are_multiples_of_their_symbol_s_volatility():
    check(
        """
        open  | close | want | units | cash | rule
        100   | 100   | 1    | 0     | 1000 | -
        100   | 120   | 1    | 10    | 0    | -
        120   | 114.1 | 1    | 10    | 0    | -
        114.1 | 114   | 1    | 10    | 0    | -
        113   | 113   | 0    | 0     | 1130 | POSITION_TRAILING_STOP
        """,
        sigma=(0.025,),
        position_trailing_stop_frac=2.0,
        position_scaled=True,
    )


def test_where_nothing_moves_there_is_no_scaled_stop():
    check(
        """
        open    | close   | want          | units | cash | rule
        100 100 | 100 100 | 0.5 0.5       | 0 0   | 1000 | -
        100 100 | 96 40   | 0.7059 0.2941 | 5 5   | 0    | -
        96 40   | 94.9 40 | 0.7035 0.2965 | 5 5   | 0    | -
        95 40   | 95 40   | 0 0           | 0 5   | 475  | STOP_LOSS
        """,
        sigma=(0.05, 0.0),
        stop_loss_frac=1.0,
        position_scaled=True,
    )


def test_the_scaled_stop_of_the_portfolio_measures_what_is_held():
    # Half of each: 2 % a day; the stop is at 3 % below 1000.
    check(
        """
        open    | close   | want          | units | cash  | rule
        100 100 | 100 100 | 0.5 0.5       | 0 0   | 1000  | -
        100 100 | 98 97   | 0.5026 0.4974 | 5 5   | 0     | -
        98 97   | 96.9 97 | 0.5 0.5       | 5 5   | 0     | -
        96.9 97 | 96.9 97 | 0 0           | 0 0   | 969.5 | TRAILING_STOP
        """,
        sigma=(0.01, 0.03),
        portfolio_trailing_stop_frac=1.5,
        protection_scaled=True,
    )


def test_the_same_fall_of_a_wilder_portfolio_is_no_reason_to_stop():
    check(
        """
        open    | close   | want          | units | cash  | rule
        100 100 | 100 100 | 0.5 0.5       | 0 0   | 1000  | -
        100 100 | 98 97   | 0.5026 0.4974 | 5 5   | 0     | -
        98 97   | 96.9 97 | 0.5 0.5       | 5 5   | 0     | -
        96.9 97 | 96.9 97 | 0 0           | 5 5   | 0     | -
        """,
        sigma=(0.01, 0.04),
        portfolio_trailing_stop_frac=1.5,
        protection_scaled=True,
    )


def test_profit_is_taken_at_a_multiple_of_volatility():
    check(
        """
        open | close | want | units | cash | rule
        100  | 100   | 1    | 0     | 1000 | -
        100  | 101.9 | 1    | 10    | 0    | -
        102  | 102.1 | 1    | 10    | 0    | -
        102  | 102   | 0    | 5     | 510  | PROFIT_TAKE
        """,
        sigma=(0.02,),
        profit_take_frac=1.0,
        protection_scaled=True,
    )


def test_scaled_stops_without_a_market_s_conditions_are_refused():
    with pytest.raises(ValueError, match="need the market's conditions"):
        check("open | close | want | units | cash | rule\n100|100|1|0|1000|-\n100|100|1|0|1000|-", position_scaled=True)


def test_the_weight_cap_limits_wishes():
    check(
        """
        open | close | want | units | cash | rule
        100  | 100   | 0.9  | 0     | 1000 | -
        100  | 100   | 0.3  | 3     | 700  | WEIGHT_CAP
        """,
        max_weight_frac=0.3,
    )


def test_protective_sales_pass_dampening_and_the_smallest_order():
    # 15 USD bought (half of the 30 wanted); after the fall the position is worth 9, too little for an order.
    check(
        """
        open | close | want | units | cash | rule
        100  | 100   | 0.03 | 0     | 1000 | -
        100  | 80    | 0.5  | 0.15  | 985  | -
        60   | 60    | 0    | 0     | 994  | STOP_LOSS
        """,
        stop_loss_frac=0.1,
        dampening=0.5,
    )


def test_a_rule_at_zero_is_off():
    check(
        """
        open | close | want | units | cash | rule
        100  | 100   | 1    | 0     | 1000 | -
        100  | 10    | 1    | 10    | 0    | -
        10   | 900   | 1    | 10    | 0    | -
        900  | 900   | 1    | 10    | 0    | -
        """
    )
