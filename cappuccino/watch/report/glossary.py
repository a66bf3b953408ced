"""What each measure says, in one plain sentence; every measure of lab.evaluations has one."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

GLOSSARY: Final = MappingProxyType(
    {
        "total_return_frac": "What the account gained or lost over the range, after fees and slippage.",
        "annualized_return_frac": "The same gain if it went on at that pace for a year of 365 days.",
        "alpha_frac": "Total return minus that of buying all symbols in equal parts and holding them.",
        "sharpe_annualized": "Average gain per bar for each unit of fluctuation, per year. Above 1 is good; "
        "from a few days of bars it says little.",
        "sharpe_daily_365": "The Sharpe ratio from daily instead of per-bar returns.",
        "sortino_annualized": "As Sharpe, but only losses count as fluctuation.",
        "calmar": "Yearly return for each unit of the deepest fall.",
        "information_ratio_annualized": "As Sharpe, for what was gained above buy-and-hold.",
        "max_drawdown_frac": "The deepest fall from a highest value.",
        "max_drawdown_bars": "The longest time below an earlier highest value, in bars.",
        "volatility_annualized": "How much the value fluctuates in a year; 0.4 is 40 %.",
        "tail_loss_frac": "Average loss in the worst 5 % of bars.",
        "win_rate_frac": "Share of closed trades that gained.",
        "profit_factor": "All gains of closed trades over all their losses; above 1 more was won than lost.",
        "turnover_per_day": "Value traded per day over the account's value.",
        "trades_per_month": "Fills per month of 365/12 days.",
        "exposure_frac": "Average share of the account that was not cash.",
        "fees_usd": "Fees paid.",
        "slippage_usd": "Money lost because fills were worse than the price that was seen.",
    }
)
