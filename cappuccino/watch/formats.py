"""How a value of a table is shown to a person; the ending of a column's name says what it is.

*_frac -> 12.34 %     *_usd -> 1,234.50     *_utc -> 2025-06-30 12:00     n_* -> 1,234
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

NO_VALUE = "–"
_ENDINGS = ("_frac", "_usd", "_at_utc", "_utc", "_annualized", "_365")
_SIGNED = ("return", "alpha", "pnl", "information_ratio")
_RATIOS = (
    "sharpe",
    "sortino",
    "calmar",
    "information_ratio",
    "profit_factor",
    "volatility",
    "turnover",
    "score",
    "beta",
    "pbo",
    "decay",
    "probability",
)


def heading(column: str) -> str:
    """Return a column's name in words: `max_drawdown_frac` -> `max drawdown`."""
    words = column.removeprefix("n_").removeprefix("is_")
    for ending in _ENDINGS:
        words = words.removesuffix(ending)
    unit = " (USD)" if column.endswith("_usd") else ""
    return words.replace("_", " ") + unit


def is_signed(column: str) -> bool:
    """Return whether a plus or minus matters in `column`: returns, alpha and gains; not their p- and t-values."""
    return any(word in column for word in _SIGNED) and not column.startswith("p_") and not column.endswith("_t")


def tone(column: str, value: Any) -> str:
    """Return `up` for a gain, `down` for a loss, nothing where neither is meant."""
    if not is_signed(column) or not isinstance(value, int | float) or isinstance(value, bool):
        return ""
    return "up" if value > 0 else "down" if value < 0 else ""


def text(column: str, value: Any) -> str:
    """Return `value` of `column` for a person; None and NaN are a dash."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return NO_VALUE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    if isinstance(value, timedelta):
        return age(value)
    if isinstance(value, int | float):
        return number(column, value)
    if isinstance(value, Iterable) and not isinstance(value, str):
        return ", ".join(text(column, each) for each in value)
    return str(value)


def number(column: str, value: float) -> str:
    """Return a number with the decimals and the unit that its column's name asks for."""
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    sign = "+" if is_signed(column) else ""
    if column.endswith("_frac"):
        return f"{value:{sign}.2%}".replace("%", "\N{NO-BREAK SPACE}%")
    if column.endswith("_usd"):
        return f"{value:{sign},.2f}"
    if isinstance(value, int):
        return f"{value:,}"
    if column.startswith("p_"):
        return f"{value:.3f}"
    if column.endswith("_t"):
        return f"{value:+.2f}"
    if any(word in column for word in _RATIOS):
        return f"{value:{sign}.2f}"
    if column.endswith(("_s", "_minutes")) or "_per_" in column:
        return f"{value:,.1f}"
    return f"{value:,.4g}"


def age(length: timedelta) -> str:
    """Return a length of time in its largest unit: `3.5 days`, `12 minutes`."""
    seconds = length.total_seconds()
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if abs(seconds) >= size * (2 if unit == "hours" else 1):
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} seconds"
