"""Hand-worked sums of the measures."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from cappuccino.market.interval import Interval
from cappuccino.portfolio import measures
from cappuccino.portfolio.measures import Activity, Measures, measure


def measured(returns, benchmark=None, interval=Interval.D1, activity=None) -> Measures:
    returns = np.array(returns, dtype=float)
    benchmark = np.zeros_like(returns) if benchmark is None else np.array(benchmark, dtype=float)
    return measure(returns, benchmark, interval, activity)


def test_returns_compound():
    assert measured([0.1, -0.5, 0.2]).total_return_frac == pytest.approx(1.1 * 0.5 * 1.2 - 1)


def test_alpha_is_the_difference_of_compounded_returns():
    figures = measured([0.1, 0.1], [0.2, -0.1])
    assert figures.alpha_frac == pytest.approx((1.21 - 1) - (1.2 * 0.9 - 1))


def test_a_return_is_annualised_over_365_days_of_24_hours():
    # One per cent in a day of four-hour bars.
    figures = measured([0.01, 0, 0, 0, 0, 0], interval=Interval.H4)
    assert figures.annualized_return_frac == pytest.approx(1.01**365 - 1)


def test_sharpe_is_mean_over_sample_deviation_times_the_root_of_bars_a_year():
    # mean 0.01, deviations -0.01, 0, 0.01: sample variance 0.0001.
    figures = measured([0.0, 0.01, 0.02], interval=Interval.H1)
    assert figures.sharpe_annualized == pytest.approx(0.01 / 0.01 * math.sqrt(365 * 24))
    assert figures.volatility_annualized == pytest.approx(0.01 * math.sqrt(365 * 24))


def test_daily_sharpe_is_of_whole_days():
    half_days = np.array([0.1, 0.0, 0.0, 0.2, 0.3, 0.0, 0.9])  # three bars each; the last has no other half
    days = measures.daily_returns(np.repeat(half_days, 3), Interval.H4)
    assert days.tolist() == pytest.approx([1.1**3 - 1, 1.2**3 - 1, 1.3**3 - 1])
    figures = measured(np.repeat(half_days, 3), interval=Interval.H4)
    assert figures.sharpe_daily_365 == pytest.approx(days.mean() / days.std(ddof=1) * math.sqrt(365))


def test_sortino_counts_deviations_below_zero_over_all_bars():
    # Downside: sqrt((0 + 0.02^2 + 0 + 0) / 4) = 0.01; mean 0.01.
    figures = measured([0.03, -0.02, 0.02, 0.01])
    assert figures.sortino_annualized == pytest.approx(0.01 / 0.01 * math.sqrt(365))


def test_drawdown_has_a_depth_and_a_length():
    # Equity 1, 1.1, 0.88, 0.968, 1.21, 1.089: falls 20 % from 1.1, is back after 3 bars; then 10 %.
    figures = measured([0.1, -0.2, 0.1, 0.25, -0.1])
    assert figures.max_drawdown_frac == pytest.approx(0.2)
    assert figures.max_drawdown_bars == 2
    assert figures.calmar == pytest.approx(figures.annualized_return_frac / 0.2)


def test_a_fall_from_the_first_bar_on_is_a_drawdown():
    figures = measured([-0.1, 0.0, 0.0])
    assert figures.max_drawdown_frac == pytest.approx(0.1)
    assert figures.max_drawdown_bars == 3


def test_the_information_ratio_is_the_sharpe_of_the_difference():
    figures = measured([0.0, 0.01, 0.02], [-0.01, -0.01, -0.01])
    assert figures.information_ratio_annualized == pytest.approx(0.02 / 0.01 * math.sqrt(365))


def test_the_tail_loss_is_the_mean_of_the_worst_bars():
    returns = np.full(41, 0.01)
    returns[[3, 7, 9]] = [-0.05, -0.03, -0.01]  # the worst 5 % of 41 are 3 bars
    assert measured(returns).tail_loss_frac == pytest.approx(0.03)


def test_trades_are_counted_by_their_profits():
    activity = Activity(trade_pnls_usd=np.array([30.0, -10.0, 0.0, -5.0]))
    figures = measured([0.0], activity=activity)
    assert figures.win_rate_frac == 0.25
    assert figures.profit_factor == pytest.approx(2.0)


def test_gains_without_a_loss_have_the_largest_profit_factor():
    activity = Activity(trade_pnls_usd=np.array([30.0]))
    assert measured([0.0], activity=activity).profit_factor == measures.MAX_PROFIT_FACTOR


def test_activity_is_told_per_day_and_per_month():
    activity = Activity(n_fills=6, turnover_frac=3.0, exposure_frac=0.4, fees_usd=7.0, slippage_usd=2.0)
    figures = measured(np.zeros(48), interval=Interval.H1, activity=activity)
    assert figures.turnover_per_day == pytest.approx(1.5)
    assert figures.trades_per_month == pytest.approx(3 * 365 / 12)
    assert (figures.exposure_frac, figures.fees_usd, figures.slippage_usd) == (0.4, 7.0, 2.0)


@pytest.mark.parametrize(
    "returns", [[], [0.0], [0.0] * 50, [0.001] * 50, [-1.0, 0.0, 0.0], [9.0] * 5, [1e-300, -1e-300]]
)
def test_every_figure_is_a_finite_number(returns):
    for name, figure in dataclasses.asdict(measured(returns)).items():
        assert math.isfinite(figure), name


def test_without_variance_the_ratios_are_zero():
    figures = measured([0.001] * 50)
    assert (figures.sharpe_annualized, figures.sortino_annualized, figures.calmar) == (0.0, 0.0, 0.0)


def test_losing_everything_is_a_loss_of_one_a_year():
    figures = measured([0.1, -1.0])
    assert (figures.total_return_frac, figures.annualized_return_frac) == (-1.0, -1.0)
    assert figures.max_drawdown_frac == pytest.approx(1.0)


def test_returns_and_benchmark_must_be_of_the_same_bars():
    with pytest.raises(ValueError, match="benchmark"):
        measure(np.zeros(3), np.zeros(2), Interval.H1)


def test_a_return_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="NaN"):
        measured([0.1, math.nan])
