"""Write what empyrical, ffn, quantstats and vectorbt say about `inputs.py` to tests/golden/oracles.json.

Run `make peers`, then `benchmarks/.peers/oracles/bin/python benchmarks/peers/oracles/make_golden.py`. Figures are in
each library's own definition; tests/unit/portfolio/test_measures_oracles.py converts where it is not ours.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import empyrical
import ffn
import inputs
import numpy as np
import pandas as pd
import quantstats.stats as qs
import vectorbt as vbt

DAYS_PER_YEAR = 365
GOLDEN = Path(__file__).resolve().parents[3] / "tests/golden/oracles.json"
LIBRARIES = ("empyrical-reloaded", "ffn", "quantstats", "vectorbt", "numpy", "pandas")


def main() -> None:
    golden = {
        "made_by": "benchmarks/peers/oracles/make_golden.py",
        "versions": {name: version(name) for name in LIBRARIES},
        "seed": inputs.SEED,
        "runs": {interval: run(interval) for interval in inputs.BARS_PER_DAY},
        "trades": trades(),
        "study": study(),
    }
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text(json.dumps(golden, indent=1) + "\n")
    print(GOLDEN)


def run(interval: str) -> dict[str, Any]:
    """Return the measures of one run of per-bar returns."""
    account, benchmark = inputs.returns_of(interval)
    per_day = inputs.BARS_PER_DAY[interval]
    index = pd.date_range("2024-01-01", periods=len(account), freq=f"{24 // per_day}h")
    series = pd.Series(account, index), pd.Series(benchmark, index)
    return {
        "sha256": inputs.digest(account, benchmark),
        "empyrical": of_empyrical(*series, per_day),
        "ffn": of_ffn(*series, per_day),
        "quantstats": of_quantstats(*series, per_day),
        "vectorbt": of_vectorbt(*series, per_day),
    }


def of_empyrical(account: pd.Series, benchmark: pd.Series, per_day: int) -> dict[str, float]:
    per_year = per_day * DAYS_PER_YEAR
    return figures(
        total_return=empyrical.cum_returns_final(account),
        benchmark_total_return=empyrical.cum_returns_final(benchmark),
        annual_return=empyrical.annual_return(account, annualization=per_year),
        sharpe=empyrical.sharpe_ratio(account, annualization=per_year),
        sharpe_daily=empyrical.sharpe_ratio(by_day(account), annualization=DAYS_PER_YEAR),
        sortino=empyrical.sortino_ratio(account, annualization=per_year),
        calmar=empyrical.calmar_ratio(account, annualization=per_year),
        information_ratio_per_bar=empyrical.excess_sharpe(account, benchmark),
        max_drawdown=empyrical.max_drawdown(account),
        volatility=empyrical.annual_volatility(account, annualization=per_year),
        tail_return=empyrical.conditional_value_at_risk(account, cutoff=0.05),
    )


def of_ffn(account: pd.Series, benchmark: pd.Series, per_day: int) -> dict[str, float]:
    per_year = per_day * DAYS_PER_YEAR
    worth = equity(account)
    return figures(
        total_return=ffn.calc_total_return(worth),
        benchmark_total_return=ffn.calc_total_return(equity(benchmark)),
        cagr=ffn.calc_cagr(worth),
        years=ffn.core.year_frac(worth.index[0], worth.index[-1]),
        sharpe=ffn.calc_sharpe(account, nperiods=per_year),
        sharpe_daily=ffn.calc_sharpe(by_day(account), nperiods=DAYS_PER_YEAR),
        sortino=ffn.calc_sortino_ratio(account, nperiods=per_year),
        information_ratio_per_bar=ffn.calc_information_ratio(account, benchmark),
        max_drawdown=ffn.calc_max_drawdown(worth),
    )


def of_quantstats(account: pd.Series, benchmark: pd.Series, per_day: int) -> dict[str, float]:
    per_year = per_day * DAYS_PER_YEAR
    return figures(
        total_return=qs.comp(account),
        benchmark_total_return=qs.comp(benchmark),
        cagr=qs.cagr(account, periods=per_year),
        sharpe=qs.sharpe(account, periods=per_year),
        sharpe_daily=qs.sharpe(by_day(account), periods=DAYS_PER_YEAR),
        sortino=qs.sortino(account, periods=per_year),
        calmar=qs.calmar(account, periods=per_year),
        information_ratio_per_bar=qs.information_ratio(account, benchmark),
        max_drawdown=qs.max_drawdown(account),
        volatility=qs.volatility(account, periods=per_year),
        tail_return=qs.cvar(account, method="historical"),
    )


def of_vectorbt(account: pd.Series, benchmark: pd.Series, per_day: int) -> dict[str, float]:
    step = f"{24 // per_day}h"
    asked = account.vbt.returns(freq=step, year_freq=f"{DAYS_PER_YEAR}D")
    drawdowns = equity(account).vbt(freq=step).drawdowns
    return figures(
        total_return=asked.total(),
        benchmark_total_return=benchmark.vbt.returns(freq=step).total(),
        annual_return=asked.annualized(),
        sharpe=asked.sharpe_ratio(),
        sharpe_daily=by_day(account).vbt.returns(freq="1D", year_freq=f"{DAYS_PER_YEAR}D").sharpe_ratio(),
        sortino=asked.sortino_ratio(),
        calmar=asked.calmar_ratio(),
        information_ratio_per_bar=asked.information_ratio(benchmark),
        max_drawdown=asked.max_drawdown(),
        max_drawdown_bars=drawdowns.duration.max(),
        volatility=asked.annualized_volatility(),
        tail_return=asked.cond_value_at_risk(),
    )


def trades() -> dict[str, Any]:
    """Return the profits of buying and selling one unit in turn, and what vectorbt says about them."""
    closes = pd.Series(inputs.closes_usd())
    size = np.where(np.arange(len(closes)) % 2 == 0, 1.0, -1.0)
    found = vbt.Portfolio.from_orders(closes, size=size, fees=0.001, init_cash=10_000.0).trades
    return {
        "sha256": inputs.digest(inputs.closes_usd()),
        "pnls_usd": [float(pnl) for pnl in found.pnl.values],
        "vectorbt": figures(
            win_rate=found.win_rate(), profit_factor=found.profit_factor(), fees_usd=found.entry_fees.sum()
        ),
    }


def study() -> dict[str, Any]:
    """Return ffn's figures of overfitting; it cuts a study into 8 blocks here."""
    returns = pd.DataFrame(inputs.study())
    overfitting = ffn.calc_prob_backtest_overfitting(returns, n_blocks=8, full_output=True)
    sharpes = returns.mean() / returns.std(ddof=1)
    best = returns[sharpes.idxmax()]
    return {
        "sha256": inputs.digest(inputs.study()),
        "ffn": figures(
            expected_max_sharpe=ffn.calc_expected_max_sharpe(len(sharpes), sharpes.std(ddof=1)),
            deflated_sharpe=ffn.calc_deflated_sharpe_ratio(best, sharpes, nperiods=365, annualized_trials=False),
            skewness=best.skew(),
            kurtosis=best.kurt() + 3,
            pbo=overfitting["pbo"],
            mean_rank=overfitting["mean_oos_rank"],
        ),
        "ffn_logits": [float(logit) for logit in overfitting["logits"]],
    }


def equity(returns: pd.Series) -> pd.Series:
    """Return what 1.0 became, the start included."""
    step = returns.index[1] - returns.index[0]
    return pd.concat([pd.Series([1.0], [returns.index[0] - step]), (1 + returns).cumprod()])


def by_day(returns: pd.Series) -> pd.Series:
    return (1 + returns).resample("1D").prod() - 1


def figures(**found: float) -> dict[str, float]:
    return {name: float(figure) for name, figure in found.items()}


if __name__ == "__main__":
    main()
