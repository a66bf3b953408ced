"""What an agent knows of its own account, scaled to about one; the same for training and trading."""

from __future__ import annotations

import torch
from torch import Tensor

from cappuccino.portfolio.account import Accounts

N_SYMBOL = 2
"""Per symbol: weight, profit of the position."""
N_GLOBAL = 6
"""Per account: cash weight, gain and fall of the cycle, and the flags in cycle, took profit, kept out."""
POSITION_GAIN_UNIT = 0.05
CYCLE_GAIN_UNIT = 0.03
CYCLE_FALL_UNIT = 0.015
LARGEST = 5.0


def account_features(accounts: Accounts, mark_usd: Tensor, now_us: Tensor | int) -> Tensor:
    """Return (N, A * N_SYMBOL + N_GLOBAL) float32, the symbols' first; prices (N, A) or (A,).

    Gains are log returns over the units above, clipped to +-LARGEST, and 0 without a position or a cycle.
    """
    held = accounts.units > 0
    value = accounts.value(mark_usd)
    weights = accounts.weights(mark_usd)
    entry = torch.where(held, accounts.average_entry_usd, mark_usd)
    profit = torch.log(mark_usd / entry) / POSITION_GAIN_UNIT
    in_cycle = accounts.in_cycle
    base = torch.where(in_cycle, accounts.cycle_base_usd, value)
    peak = torch.where(in_cycle, accounts.cycle_peak_usd, value)
    per_symbol = torch.stack([weights, profit], dim=2).flatten(start_dim=1)
    per_account = torch.stack(
        [
            1.0 - weights.sum(dim=1),
            torch.log(value / base) / CYCLE_GAIN_UNIT,
            torch.log(value / peak) / CYCLE_FALL_UNIT,
            in_cycle.to(value.dtype),
            accounts.took_profit.to(value.dtype),
            (accounts.out_until_us > now_us).to(value.dtype),
        ],
        dim=1,
    )
    return torch.cat([per_symbol, per_account], dim=1).clamp(-LARGEST, LARGEST).to(torch.float32)
