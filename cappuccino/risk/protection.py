"""Portfolio protection, the first layer: one rule per function, each tells which of N accounts it fires for.

A rule fires inside a cycle only, and where its threshold is above 0. Liquidation ends the cycle, so no stop fires
twice on the same peak.
"""

from __future__ import annotations

from torch import Tensor

from cappuccino.portfolio.account import Accounts
from cappuccino.risk.rules import Threshold, where_on


def trailing_stop(accounts: Accounts, value_usd: Tensor, frac: Threshold) -> Tensor:
    """Return where value (N,) fell to `frac` below the cycle's peak: sell everything; (N,) bool."""
    return where_on(accounts.in_cycle & (value_usd <= accounts.cycle_peak_usd * (1.0 - frac)), frac)


def move_to_cash(accounts: Accounts, value_usd: Tensor, frac: Threshold) -> Tensor:
    """Return where value (N,) rose to `frac` above the cycle's base: sell everything, stay out; (N,) bool."""
    return where_on(accounts.in_cycle & (value_usd >= accounts.cycle_base_usd * (1.0 + frac)), frac)


def profit_take(accounts: Accounts, value_usd: Tensor, frac: Threshold) -> Tensor:
    """Return where value (N,) first rose to `frac` above the cycle's base: sell half of each; (N,) bool."""
    has_risen = value_usd >= accounts.cycle_base_usd * (1.0 + frac)
    return where_on(accounts.in_cycle & ~accounts.took_profit & has_risen, frac)


def kept_out(accounts: Accounts, now_us: Tensor | int) -> Tensor:
    """Return where move-to-cash still forbids buys at `now_us`; (N,) bool."""
    return accounts.out_until_us > now_us
