"""Words of a replay's page: what its measures say, and what its result can and cannot show."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from cappuccino.watch.report.glossary import GLOSSARY

OUT_OF_SAMPLE: Final = (
    "At each moment the organisation knew only bars that had closed by then, and every model traded only bars that "
    "closed after it had been trained, tested and promoted: no value on this page comes from bars that anybody had "
    "learnt from.",
    "What a replay cannot undo is that people wrote its settings and code later than the history that it lives "
    "through, and each further replay of the same range with other settings makes its best result mean less.",
)

_BY_DAY = {
    "sharpe_annualized": "Average gain per day for each unit of fluctuation, per year. Above 1 is good; "
    "from a few weeks it says little.",
    "tail_loss_frac": "Average loss in the worst 5 % of days.",
    "max_drawdown_days": "The longest time below an earlier highest value, in days.",
    "alpha_frac": "Total return minus that of buying all symbols in equal parts and holding them, without costs.",
}
_ORDER = (
    "total_return_frac",
    "annualized_return_frac",
    "alpha_frac",
    "sharpe_annualized",
    "sortino_annualized",
    "calmar",
    "information_ratio_annualized",
    "max_drawdown_frac",
    "max_drawdown_days",
    "volatility_annualized",
    "tail_loss_frac",
    "win_rate_frac",
    "profit_factor",
    "turnover_per_day",
    "trades_per_month",
    "exposure_frac",
    "fees_usd",
    "slippage_usd",
)

MEASURES: Final = MappingProxyType({name: _BY_DAY[name] if name in _BY_DAY else GLOSSARY[name] for name in _ORDER})
"""Every measure of replay.measures, and what it says; they are computed from daily values."""


def counted(n: int, noun: str) -> str:
    """Return `1 model`, `2 models`."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"
