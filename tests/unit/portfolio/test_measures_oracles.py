"""Our measures against empyrical, ffn, quantstats and vectorbt on the same returns; their definitions are converted.

The figures lie in tests/golden/oracles.json, made by benchmarks/peers/oracles/make_golden.py in an environment of its
own; the returns are made again here from their seed.
"""

from __future__ import annotations

import math

import empyrical
import numpy as np
import pytest

from cappuccino.market.interval import Interval
from cappuccino.portfolio.measures import Activity, Measures, measure
from tests.golden.oracles import golden, inputs

SAME = pytest.approx
LIBRARIES = ("empyrical", "ffn", "quantstats", "vectorbt")
PER_YEAR = {"1h": 8_760, "4h": 2_190, "1d": 365}


def ours(interval: str) -> Measures:
    account, benchmark = inputs().returns_of(interval)
    return measure(account, benchmark, Interval(interval))


def in_their_words(found: Measures, said: dict[str, float], per_year: int) -> dict[str, float]:
    """Return our measures as the libraries define them."""
    return {
        "total_return": found.total_return_frac,
        "annual_return": found.annualized_return_frac,
        # ffn counts years of 365.25 days; quantstats those of the periods it is told, as we do.
        "cagr": (1 + found.total_return_frac) ** (1 / said.get("years", found.n_bars / per_year)) - 1,
        "sharpe": found.sharpe_annualized,
        "sharpe_daily": found.sharpe_daily_365,
        "sortino": found.sortino_annualized,
        "calmar": found.calmar,
        # None of them annualises the information ratio.
        "information_ratio_per_bar": found.information_ratio_annualized / math.sqrt(per_year),
        # Falls and losses are negative there.
        "max_drawdown": -found.max_drawdown_frac,
        "max_drawdown_bars": found.max_drawdown_bars,
        "volatility": found.volatility_annualized,
        "tail_return": -found.tail_loss_frac,
    }


@pytest.mark.parametrize("interval", list(PER_YEAR))
def test_the_oracles_were_asked_about_these_returns(interval):
    assert inputs().digest(*inputs().returns_of(interval)) == golden()["runs"][interval]["sha256"]


@pytest.mark.parametrize("interval", list(PER_YEAR))
@pytest.mark.parametrize("library", LIBRARIES)
def test_every_measure_that_an_oracle_knows_is_the_same(library, interval):
    said = golden()["runs"][interval][library]
    found = in_their_words(ours(interval), said, PER_YEAR[interval])
    compared = said.keys() & found.keys()
    assert len(compared) >= 7
    assert {name: said[name] for name in compared} == {name: SAME(found[name], rel=1e-9) for name in compared}


@pytest.mark.parametrize("interval", list(PER_YEAR))
@pytest.mark.parametrize("library", LIBRARIES)
def test_alpha_is_the_difference_of_their_total_returns(library, interval):
    said = golden()["runs"][interval][library]
    assert ours(interval).alpha_frac == SAME(said["total_return"] - said["benchmark_total_return"], rel=1e-9)


@pytest.mark.parametrize("interval", list(PER_YEAR))
def test_the_empyrical_installed_here_says_what_its_golden_figures_say(interval):
    account, benchmark = inputs().returns_of(interval)
    said = golden()["runs"][interval]["empyrical"]
    assert empyrical.sharpe_ratio(account, annualization=PER_YEAR[interval]) == SAME(said["sharpe"])
    assert empyrical.sortino_ratio(account, annualization=PER_YEAR[interval]) == SAME(said["sortino"])
    assert empyrical.calmar_ratio(account, annualization=PER_YEAR[interval]) == SAME(said["calmar"])
    assert empyrical.excess_sharpe(account, benchmark) == SAME(said["information_ratio_per_bar"])


def test_trades_win_and_pay_as_vectorbt_says():
    said = golden()["trades"]
    assert inputs().digest(inputs().closes_usd()) == said["sha256"]
    activity = Activity(trade_pnls_usd=np.array(said["pnls_usd"]))
    found = measure(np.zeros(2), np.zeros(2), Interval.D1, activity)
    assert found.win_rate_frac == SAME(said["vectorbt"]["win_rate"])
    assert found.profit_factor == SAME(said["vectorbt"]["profit_factor"])


def test_the_trades_profits_are_price_differences_less_both_fees():
    closes, said = inputs().closes_usd(), golden()["trades"]
    bought, sold = closes[::2], closes[1::2]
    assert said["pnls_usd"] == SAME(sold - bought - 0.001 * (sold + bought))
    assert said["vectorbt"]["fees_usd"] == SAME(0.001 * bought.sum())
