"""Words of a backtest: how much of it the subject had seen, and what its tests say."""

from __future__ import annotations

from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

SIGNIFICANT = 0.05
_A_DAY = "%Y-%m-%d"

WAYS: Final = MappingProxyType(
    {
        "random_timing": "the same positions at another time, all symbols together",
        "entry_permutation": "each symbol's holds and gaps in another order",
        "symbol_permutation": "the same trades in other symbols",
    }
)
FACTORS: Final = MappingProxyType(
    {
        "market": "What always being exposed as much as on average would have earned.",
        "timing": "Being exposed more than on average before the market rose, less before it fell.",
        "selection": "Holding other symbols than the market, the mean of all.",
        "delay": "From the close that was decided on to the open that was filled at.",
        "slippage": "Fills against that open, half the spread included.",
        "impact": "The part of the fills' prices that our own orders caused.",
        "fees": "Fees of the venue.",
    }
)


def sample_sentence(run: dict[str, Any]) -> str:
    """Return how much of the range the subject was trained on; `run` is a row of lab.backtests."""
    if run["trained_until_utc"] is None:
        return "A baseline learns nothing: there is nothing that it could have seen before."
    trained = f"{_day(run['trained_from_utc'])} to {_day(run['trained_until_utc'])}"
    share = run["in_sample_frac"]
    if share == 0:
        return f"The model was trained on {trained}, and on none of the bars of this range."
    return (
        f"In-sample: the model was trained on {trained}, which is {share:.0%} of this range. What it earned there it "
        "may have learnt by heart; it is no evidence."
    )


def timing_sentence(way: str, p_return: float, p_sharpe: float, n_others: int) -> str:
    """Return what one test of lab.backtest_timing says."""
    if n_others == 0:
        return f"{_words(way)} ({WAYS[way]}): there is no other order to compare with."
    told = "more than luck" if max(p_return, p_sharpe) < SIGNIFICANT else "not told from luck"
    return (
        f"{_words(way)} ({WAYS[way]}): {told}; of {n_others:,} such accounts and itself a share of {p_return:.3f} had "
        f"at least its return, {p_sharpe:.3f} at least its Sharpe ratio."
    )


def market_sentence(run: dict[str, Any]) -> str:
    """Return what the regression on the market says; `run` is a row of lab.backtests."""
    if not run["r_squared"] and not run["beta"]:
        return "The regression on the market says nothing: too few days, or nothing moved."
    return (
        f"Beta {run['beta']:.2f} to equal-weight buy-and-hold, which explains {run['r_squared']:.0%} of the daily "
        f"returns; beyond it {run['alpha_per_day_frac'] * 1e4:+.1f} basis points a day (t = {run['alpha_t']:.1f}), and "
        f"a timing coefficient of {run['timing_gamma']:.2f} (t = {run['timing_t']:.1f}), over {run['n_days']:,} days."
    )


def _day(moment: datetime) -> str:
    return f"{moment:{_A_DAY}}"


def _words(name: str) -> str:
    return name.replace("_", " ").capitalize()
