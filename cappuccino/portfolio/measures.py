"""How good a run of returns was; every name carries its basis.

Annualised means a market that never closes: 365 days of `Interval.per_day` bars. What cannot be measured (no
bars, no variance, no downside, no drawdown, no trades) is 0.0, never NaN or infinite, so that every figure
can be stored and compared.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import empyrical
import numpy as np

from cappuccino.market.interval import Interval
from cappuccino.market.panel import FloatArray

DAYS_PER_YEAR = 365
DAYS_PER_MONTH = DAYS_PER_YEAR / 12
TAIL_FRAC = 0.05
MAX_PROFIT_FACTOR = 1_000.0  # gains without a loss would be infinite
_MAX_LOG_GROWTH = 700.0  # exp of more overflows: a few lucky bars, annualised


def _no_trades() -> FloatArray:
    return np.empty(0)


@dataclass(frozen=True)
class Activity:
    """What an account did to earn its T returns; the default is nothing."""

    trade_pnls_usd: FloatArray = field(default_factory=_no_trades)
    """One per sale, net of fees."""
    n_fills: int = 0
    turnover_frac: float = 0.0
    """Sum over the bars of traded notional over account value."""
    exposure_frac: float = 0.0
    """Mean share of the account that was invested."""
    fees_usd: float = 0.0
    slippage_usd: float = 0.0


@dataclass(frozen=True)
class Measures:
    """All figures of one account over T bars."""

    n_bars: int
    total_return_frac: float
    annualized_return_frac: float
    alpha_frac: float
    """Total return minus the benchmark's over the same bars."""
    sharpe_annualized: float
    """From per-bar returns."""
    sharpe_daily_365: float
    """From returns of whole days, counted from the first bar; 0 with fewer than two."""
    sortino_annualized: float
    calmar: float
    """Annualised return over the largest drawdown."""
    information_ratio_annualized: float
    max_drawdown_frac: float
    """Largest fall from a peak, not negative."""
    max_drawdown_bars: int
    """Longest time below a former peak."""
    volatility_annualized: float
    tail_loss_frac: float
    """Mean loss of the worst 5 % of bars; negative when even those gained."""
    win_rate_frac: float
    """Share of sales that gained."""
    profit_factor: float
    """Gains over losses of sales, at most 1,000."""
    turnover_per_day: float
    trades_per_month: float
    exposure_frac: float
    fees_usd: float
    slippage_usd: float


def measure(
    returns: FloatArray, benchmark_returns: FloatArray, interval: Interval, activity: Activity | None = None
) -> Measures:
    """Return the measures of per-bar net returns (T,) beside a benchmark's (T,) over the same bars.

    Raises ValueError when the shapes differ or a return is NaN.
    """
    if returns.ndim != 1 or returns.shape != benchmark_returns.shape:
        raise ValueError(f"returns {returns.shape}, benchmark {benchmark_returns.shape}; both must be (T,)")
    if not (np.isfinite(returns).all() and np.isfinite(benchmark_returns).all()):
        raise ValueError("a return is NaN or infinite")
    activity = activity or Activity()
    per_year, days = interval.per_year, len(returns) / interval.per_day
    total = total_return(returns)
    annualized = annualized_return(total, days)
    drawdown = max_drawdown(returns)
    return Measures(
        n_bars=len(returns),
        total_return_frac=total,
        annualized_return_frac=annualized,
        alpha_frac=total - total_return(benchmark_returns),
        sharpe_annualized=sharpe(returns, per_year),
        sharpe_daily_365=sharpe(daily_returns(returns, interval), DAYS_PER_YEAR),
        sortino_annualized=_finite(empyrical.sortino_ratio(returns, annualization=per_year)),
        calmar=annualized / drawdown if drawdown > 0 else 0.0,
        information_ratio_annualized=information_ratio(returns, benchmark_returns, per_year),
        max_drawdown_frac=drawdown,
        max_drawdown_bars=max_drawdown_bars(returns),
        volatility_annualized=_finite(empyrical.annual_volatility(returns, annualization=per_year)),
        tail_loss_frac=-_finite(empyrical.conditional_value_at_risk(returns, cutoff=TAIL_FRAC)),
        win_rate_frac=win_rate(activity.trade_pnls_usd),
        profit_factor=profit_factor(activity.trade_pnls_usd),
        turnover_per_day=activity.turnover_frac / days if days else 0.0,
        trades_per_month=activity.n_fills / days * DAYS_PER_MONTH if days else 0.0,
        exposure_frac=activity.exposure_frac,
        fees_usd=activity.fees_usd,
        slippage_usd=activity.slippage_usd,
    )


def total_return(returns: FloatArray) -> float:
    """Return the compounded return of (T,) per-bar returns."""
    return float(np.prod(1.0 + returns)) - 1.0


def annualized_return(total_return_frac: float, days: float) -> float:
    """Return the yearly growth that compounds to `total_return_frac` in `days`."""
    if days == 0:
        return 0.0
    if total_return_frac <= -1.0:
        return -1.0
    return math.expm1(min(math.log1p(total_return_frac) * DAYS_PER_YEAR / days, _MAX_LOG_GROWTH))


def sharpe(returns: FloatArray, periods_per_year: int) -> float:
    """Return mean over standard deviation (n - 1) times the root of `periods_per_year`."""
    return _finite(empyrical.sharpe_ratio(returns, annualization=periods_per_year))


def information_ratio(returns: FloatArray, benchmark_returns: FloatArray, periods_per_year: int) -> float:
    """Return the Sharpe ratio of the difference to the benchmark."""
    return _finite(empyrical.excess_sharpe(returns, benchmark_returns)) * math.sqrt(periods_per_year)


def daily_returns(returns: FloatArray, interval: Interval) -> FloatArray:
    """Return compounded returns of whole days from the first bar on; a last part of a day is left out."""
    n_days = len(returns) // interval.per_day
    days = returns[: n_days * interval.per_day].reshape(n_days, interval.per_day)
    daily: FloatArray = np.prod(1.0 + days, axis=1) - 1.0
    return daily


def max_drawdown(returns: FloatArray) -> float:
    """Return the largest fall of the equity curve from its peak so far, in [0, 1]."""
    return abs(_finite(empyrical.max_drawdown(returns)))


def max_drawdown_bars(returns: FloatArray) -> int:
    """Return the most bars that the equity curve stayed below its peak so far."""
    equity = np.concatenate(([1.0], np.cumprod(1.0 + returns)))
    bar = np.arange(len(equity))
    at_peak = equity >= np.maximum.accumulate(equity)
    return int((bar - np.maximum.accumulate(np.where(at_peak, bar, 0))).max())


def win_rate(trade_pnls_usd: FloatArray) -> float:
    """Return the share of trades that gained."""
    return float((trade_pnls_usd > 0).mean()) if len(trade_pnls_usd) else 0.0


def profit_factor(trade_pnls_usd: FloatArray) -> float:
    """Return the sum of gains over the sum of losses."""
    gains = float(trade_pnls_usd[trade_pnls_usd > 0].sum())
    losses = -float(trade_pnls_usd[trade_pnls_usd < 0].sum())
    if gains == 0.0:
        return 0.0
    return min(gains / losses, MAX_PROFIT_FACTOR) if losses > 0.0 else MAX_PROFIT_FACTOR


def _finite(figure: float) -> float:
    """Return `figure`, or 0.0 where it is undefined."""
    return float(figure) if math.isfinite(figure) else 0.0
