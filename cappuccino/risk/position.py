"""Position risk, the second layer: one rule per function over (N, A) positions; none fires where its threshold is 0."""

from __future__ import annotations

from torch import Tensor

from cappuccino.portfolio.account import Accounts
from cappuccino.risk.rules import Threshold, where_on


def stop_loss(accounts: Accounts, price_usd: Tensor, frac: Threshold) -> Tensor:
    """Return where the price fell to `frac` below the average entry: sell the position; (N, A) bool."""
    return where_on(price_usd <= accounts.average_entry_usd * (1.0 - frac), frac)  # entry 0 (flat) is below every price


def trailing_stop(accounts: Accounts, price_usd: Tensor, frac: Threshold) -> Tensor:
    """Return where the price fell to `frac` below the position's peak: sell the position; (N, A) bool."""
    return where_on(price_usd <= accounts.peak_price_usd * (1.0 - frac), frac)


def cap(target_weights: Tensor, max_weight_frac: float) -> Tensor:
    """Return wanted weights in [0, `max_weight_frac`].

    The cap is on what is wanted: a position that outgrew it shrinks when the agent wants it this large, and
    an agent that never asks never sells.
    """
    return target_weights.clamp(0.0, max_weight_frac)


def dampen(wanted_units: Tensor, dampening: float) -> Tensor:
    """Return the share of a wanted trade that one bar does."""
    return wanted_units if dampening == 1.0 else wanted_units * dampening
