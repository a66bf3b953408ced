"""Each pre-trade limit, and conviction, on candles drawn as text: see `candles`."""

from __future__ import annotations

import pytest

from cappuccino.risk.rules import Limits
from tests.unit.risk.candles import HOUR_US, check


def test_a_lost_day_stops_buys_until_it_ends_and_never_a_sale():
    # 1000 at 05:00, 975 at 10:00: lost, although 15:00 sees 1000 again. The buy at 25:00 is one of the next day.
    check(
        """
        open | close | want | units | cash | rule
        100  | 100   | 0.5  | 0     | 1000 | -
        100  | 95    | 1    | 5     | 500  | -
        95   | 100   | 1    | 5     | 500  | DAILY_LOSS
        100  | 100   | 0.4  | 5     | 500  | DAILY_LOSS
        100  | 100   | 1    | 4     | 600  | -
        100  | 100   | 1    | 10    | 0    | -
        """,
        hours=5,
        limits=Limits(daily_loss_frac=0.02),
    )


def test_a_day_is_measured_from_its_own_start():
    # 990 at midnight: 971 at noon is less than 2 % below it, and more than 2 % below 1000.
    check(
        """
        open | close | want   | units   | cash | rule
        100  | 100   | 0.5    | 0       | 1000 | -
        100  | 98    | 0.4949 | 5       | 500  | -
        98   | 94.2  | 1      | 5       | 500  | -
        94.2 | 94.2  | 1      | 10.3079 | 0    | -
        """,
        hours=12,
        limits=Limits(daily_loss_frac=0.02),
    )


def test_the_drawdown_breaker_stops_buys_for_ever():
    check(
        """
        open | close | want | units | cash | rule
        100  | 100   | 1    | 0     | 1000 | -
        100  | 85    | 0.5  | 10    | 0    | -
        85   | 85    | 1    | 5     | 425  | -
        85   | 200   | 1    | 5     | 425  | DRAWDOWN_BREAKER
        200  | 200   | 0    | 5     | 425  | DRAWDOWN_BREAKER
        200  | 200   | 1    | 0     | 1425 | -
        200  | 200   | 1    | 0     | 1425 | DRAWDOWN_BREAKER
        """,
        limits=Limits(drawdown_frac=0.15),
    )


def test_losing_sales_in_a_row_pause_buys_for_a_while():
    # The second is filled at hour 3; the pause of two hours is over at hour 5.
    check(
        """
        open | close | want | units | cash | rule
        100  | 100   | 1    | 0     | 1000 | -
        100  | 90    | 0.5  | 10    | 0    | -
        90   | 90    | 0.25 | 5     | 450  | -
        90   | 90    | 1    | 2.5   | 675  | -
        90   | 90    | 1    | 2.5   | 675  | LOSING_STREAK
        90   | 90    | 1    | 10    | 0    | -
        """,
        limits=Limits(losing_trades=2, pause_us=2 * HOUR_US),
    )


def test_a_gain_ends_a_streak_of_losses():
    check(
        """
        open | close | want | units | cash | rule
        100  | 100   | 1    | 0     | 1000 | -
        100  | 90    | 0.5  | 10    | 0    | -
        90   | 110   | 0.25 | 5     | 450  | -
        110  | 90    | 0.1  | 2.2727 | 750 | -
        90   | 90    | 1    | 1.0606 | 859.09 | -
        90   | 90    | 1    | 10.6061 | 0 | -
        """,
        limits=Limits(losing_trades=2, pause_us=2 * HOUR_US),
    )


@pytest.mark.parametrize("limits", [Limits(max_order_frac=0.25), Limits(max_order_usd=250.0)])
def test_a_large_buy_is_cut_and_a_large_sale_is_not(limits):
    check(
        """
        open | close | want | units | cash | rule
        100  | 100   | 0.4  | 0     | 1000 | -
        100  | 100   | 0.4  | 2.5   | 750  | ORDER_SIZE
        100  | 100   | 0    | 4     | 600  | -
        100  | 100   | 0    | 0     | 1000 | -
        """,
        limits=limits,
    )


def test_a_day_has_so_many_buys_in_the_order_of_symbols():
    check(
        """
        open        | close       | want        | units | cash | rule
        100 100 100 | 100 100 100 | 0.2 0.2 0.2 | 0 0 0 | 1000 | -
        100 100 100 | 100 100 100 | 0.2 0.2 0.2 | 2 2 0 | 600  | ORDER_RATE
        100 100 100 | 100 100 100 | 0.2 0.1 0.2 | 2 2 0 | 600  | ORDER_RATE
        100 100 100 | 100 100 100 | 0.2 0.1 0.2 | 2 1 0 | 700  | ORDER_RATE
        100 100 100 | 100 100 100 | 0   0   0   | 2 1 2 | 500  | -
        """,
        hours=6,
        limits=Limits(max_buys_per_day=2),
    )


def test_symbols_that_move_with_the_market_share_a_limit():
    # Half of the portfolio for the first two: 0.4 and 0.4 become 0.25 each. A sale makes room for a buy.
    check(
        """
        open        | close       | want        | units       | cash | rule
        100 100 100 | 100 100 100 | 0.4 0.4 0.2 | 0   0   0   | 1000 | -
        100 100 100 | 100 100 100 | 0.1 0.4 0.2 | 2.5 2.5 2   | 300  | CORRELATED_EXPOSURE
        100 100 100 | 100 100 100 | 0.2 0.4 0.4 | 1   4   2   | 300  | -
        100 100 100 | 100 100 100 | 0   0   0   | 1   4   4   | 100  | CORRELATED_EXPOSURE
        """,
        correlation=(0.9, 0.8, 0.79),
        limits=Limits(correlated_from=0.8, max_correlated_frac=0.5),
    )


def test_a_small_buy_in_a_restless_market_is_dropped_and_a_small_sale_is_not():
    # 0.3 size + 0.2 * 0.5 + 0.2 + 0.15 / 4 + 0.15 = 0.4875 + 0.3 size: enough from a size of 0.375 on.
    check(
        """
        open | close | want | units | cash | rule
        100  | 100   | 0.37 | 0     | 1000 | -
        100  | 100   | 0.38 | 0     | 1000 | CONVICTION
        100  | 100   | 0.36 | 3.8   | 620  | -
        100  | 100   | 0.36 | 3.6   | 640  | -
        """,
        restlessness=(4.0,),
        min_conviction=0.6,
    )


def test_protection_sells_what_no_limit_would_let_back_in():
    # The stop-loss of the first symbol comes with the loss of the day; the second may be sold, and not be bought.
    check(
        """
        open    | close   | want    | units | cash | rule
        100 100 | 100 100 | 0.5 0.2 | 0 0   | 1000 | -
        100 100 | 90  100 | 0.5 0.4 | 5 2   | 300  | -
        90  100 | 90  100 | 0   0.1 | 0 2   | 750  | STOP_LOSS DAILY_LOSS
        90  100 | 90  100 | 0   0   | 0 0.95 | 855 | -
        """,
        stop_loss_frac=0.1,
        limits=Limits(daily_loss_frac=0.02),
    )


def test_a_liquidation_at_a_loss_is_a_streak_of_its_own():
    check(
        """
        open    | close   | want    | units | cash | rule
        100 100 | 100 100 | 0.5 0.5 | 0 0   | 1000 | -
        100 100 | 97  97  | 0.5 0.5 | 5 5   | 0    | -
        97  97  | 97  97  | 0.5 0.5 | 0 0   | 970  | TRAILING_STOP
        97  97  | 97  97  | 0.5 0.5 | 0 0   | 970  | LOSING_STREAK
        """,
        portfolio_trailing_stop_frac=0.015,
        limits=Limits(losing_trades=2, pause_us=24 * HOUR_US),
    )


def test_limits_that_look_at_the_market_are_refused_without_its_conditions():
    table = "open | close | want | units | cash | rule\n100|100|0|0|1000|-\n100|100|0|0|1000|-"
    for numbers in ({"limits": Limits(max_correlated_frac=0.9)}, {"min_conviction": 0.6}):
        with pytest.raises(ValueError, match="need the market's conditions"):
            check(table, **numbers)
