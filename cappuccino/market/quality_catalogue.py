"""The checks of bars: what each one means, how bad a failure is, and the columns of what they find.

    check            severity  a bar is bad when
    missing_symbols  error     (the symbol) it has no bar at all
    gaps             warn*     it is absent between the symbol's first and last one, and the exchange was not halted
    halts            warn      it is absent while the exchange was halted: all listed symbols stood still, a day at most
    longest_hole     error     it is absent in a hole of the source, halts apart, of more than `max_hole_hours`
    duplicates       error     it repeats its symbol's time, or is not on the interval's grid
    ohlc_order       error     not low <= open, close <= high
    non_positive     error     a price is not above zero, volume is below, or a number is missing or infinite
    zero_volume      warn      nothing was traded in it
    jumps            warn      |ln(close / previous close)| is above `max_jump_log`; never across a gap
    stale            error     (the symbol) the newest complete one opened too long ago
    filled_share     error     (the symbol) too many are absent between first and last, or marked as filled

* error under gap_policy "refuse".

A symbol is listed from its first to its last bar. DAILY checks judge each symbol's day by itself, RECORD checks the
whole record.
"""

from __future__ import annotations

from typing import Literal

import polars as pl

from cappuccino.settings import MarketSettings

Severity = Literal["warn", "error"]

SEVERITIES: dict[str, Severity] = {
    "missing_symbols": "error",
    "gaps": "warn",
    "halts": "warn",
    "longest_hole": "error",
    "duplicates": "error",
    "ohlc_order": "error",
    "non_positive": "error",
    "zero_volume": "warn",
    "jumps": "warn",
    "stale": "error",
    "filled_share": "error",
}
"""Of each check under the default settings; `severities` has those of any."""

MEANINGS: dict[str, str] = {
    "missing_symbols": "Every configured symbol has bars.",
    "gaps": "No source lost a bar; under `market.gap_policy` refuse that is an error.",
    "halts": "The exchange never stood still: no bar is absent for every symbol at once.",
    "longest_hole": "No hole of the source is longer than `market.max_hole_hours`.",
    "duplicates": "Each time comes once, and on the interval's grid.",
    "ohlc_order": "low <= open, close <= high.",
    "non_positive": "Prices are above zero, volume is not below, and all are numbers.",
    "zero_volume": "Something was traded in every bar.",
    "jumps": "No close is further from the one before than `market.max_jump_log`.",
    "stale": "The newest complete bar is no older than two intervals and the grace time.",
    "filled_share": "No more bars are absent or filled than `market.max_filled_frac`.",
}

RECORD = ("missing_symbols", "stale", "filled_share")
DAILY = tuple(name for name in SEVERITIES if name not in RECORD)
SIZED = ("longest_hole", "jumps")
"""Checks whose figure is a size that a setting limits; the figure of the others is the share of bad bars."""

RESULT_SCHEMA: dict[str, pl.DataType] = {
    "check": pl.String(),
    "symbol": pl.String(),
    "severity": pl.String(),
    "passed": pl.Boolean(),
    "n_bad": pl.Int64(),
    "n_checked": pl.Int64(),
    "figure": pl.Float64(),
    "detail": pl.String(),
}
DAY_SCHEMA: dict[str, pl.DataType] = {"day": pl.Date(), **RESULT_SCHEMA}
"""`day` is that of the bars' opens, in UTC."""


def severities(settings: MarketSettings) -> dict[str, Severity]:
    """Return the severity of each check under `settings`: a refused gap is an error."""
    return {**SEVERITIES, "gaps": "error" if settings.gap_policy == "refuse" else "warn"}


def can_block(name: str) -> bool:
    """Return whether a failure of the check is an error under some settings."""
    return name == "gaps" or SEVERITIES[name] == "error"


def size_limit(name: str, settings: MarketSettings) -> float:
    """Return the limit of the figure of a check in SIZED: hours of a hole, or a log move."""
    return settings.max_hole_hours if name == "longest_hole" else settings.max_jump_log
