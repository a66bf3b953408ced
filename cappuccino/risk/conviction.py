"""The conviction filter, the fourth layer: how much speaks for a buy.

score = 0.30 size + 0.20 momentum + 0.20 agreement + 0.15 calm + 0.15 room

Each factor is in [0, 1], so the score is. A buy below the smallest score is dropped; a sale is never looked at.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cappuccino.portfolio.account import Accounts
from cappuccino.portfolio.conditions import Conditions
from cappuccino.risk.rules import Rules

WEIGHTS = {"size": 0.30, "momentum": 0.20, "agreement": 0.20, "calm": 0.15, "room": 0.15}
"""What each factor counts in the score."""
DEEP_DRAWDOWN_FRAC = 0.15
"""Fall below the peak that leaves no room."""
_TINY = 1e-300  # keeps a Sharpe ratio of returns that are all 0 finite


@dataclass(frozen=True, slots=True)
class Scores:
    """What spoke for each order, in [0, 1]; meaningful where it was a buy. Factors broadcast to (N, A)."""

    score: Tensor
    """(N, A)."""
    size: Tensor
    """(N, A)."""
    momentum: Tensor
    """(N, 1)."""
    agreement: Tensor
    """(N, A), or (1, 1) where nobody votes."""
    calm: Tensor
    """(A,) or (N, A)."""
    room: Tensor
    """(N, 1)."""


def scores_of(
    accounts: Accounts,
    orders_usd: Tensor,
    value_usd: Tensor,
    conditions: Conditions,
    agreement: Tensor | None,
    rules: Rules,
) -> Scores:
    """Return what speaks for the buys among `orders_usd` (N, A, signed) of accounts worth `value_usd` (N,).

    `agreement` (N, A) is None where nobody votes.
    """
    factors = {
        "size": size(orders_usd, value_usd, rules.max_weight_frac),
        "momentum": momentum(accounts, rules.sharpe_bars).unsqueeze(1),
        "agreement": value_usd.new_ones(1, 1) if agreement is None else agreement,
        "calm": calm(conditions),
        "room": room(accounts, orders_usd, value_usd).unsqueeze(1),
    }
    score = factors["size"] * WEIGHTS["size"]
    for name in ("momentum", "agreement", "calm", "room"):
        score = score.add(factors[name], alpha=WEIGHTS[name])
    return Scores(score.clamp(max=1.0), **factors)


def size(orders_usd: Tensor, value_usd: Tensor, max_weight_frac: float) -> Tensor:
    """Return buy / (largest weight * value), (N, A), at most 1: a small change of mind is not worth its costs."""
    return (orders_usd / (value_usd * max_weight_frac).clamp(min=_TINY).unsqueeze(1)).clamp(0.0, 1.0)


def momentum(accounts: Accounts, sharpe_bars: int) -> Tensor:
    """Return 1 / (1 + exp(-z)), z = sqrt(span) * E[r] / sqrt(E[r^2]), (N,); 0.5 without a history.

    E weighs returns exponentially, with a span of `sharpe_bars`: z is about the Sharpe ratio of these bars in standard
    errors. An account in cash comes back to 0.5.
    """
    sharpe = accounts.mean_return_frac / accounts.mean_square_return.clamp(min=_TINY).sqrt()
    return torch.sigmoid(sharpe * sharpe_bars**0.5)


def calm(conditions: Conditions) -> Tensor:
    """Return volatility of 14 days / volatility of the last day, (A,) or (N, A), at most 1: what it is when calm."""
    return conditions.restlessness.reciprocal().clamp(max=1.0)


def room(accounts: Accounts, orders_usd: Tensor, value_usd: Tensor) -> Tensor:
    """Return the mean of cash / value and of 1 - drawdown / 15 %, which is not below 0; (N,).

    Cash is what is there once the sales of the same decision are done, the drawdown is that from the account's peak.
    """
    cash_usd = accounts.cash_usd - orders_usd.clamp(max=0.0).sum(1)
    cash_share = (cash_usd / value_usd.clamp(min=_TINY)).clamp(max=1.0)
    drawdown = (value_usd / accounts.peak_usd.clamp(min=_TINY) - 1.0) / -DEEP_DRAWDOWN_FRAC
    return 0.5 * (cash_share + (1.0 - drawdown).clamp(min=0.0))
