"""Many accounts at once: cash, positions and what the risk rules remember of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

DTYPES = {
    "in_cycle": torch.bool,
    "took_profit": torch.bool,
    "out_until_us": torch.int64,
    "observed_us": torch.int64,
    "lost_day": torch.bool,
    "is_broken": torch.bool,
    "n_buys_today": torch.int64,
    "n_losses": torch.int64,
    "paused_until_us": torch.int64,
}
NEVER_US = -1
FRESH: dict[str, float | bool | int] = {
    "observed_us": NEVER_US,
    "observed_usd": 0.0,
    "day_start_usd": 0.0,
    "lost_day": False,
    "peak_usd": 0.0,
    "is_broken": False,
    "n_buys_today": 0,
    "n_losses": 0,
    "paused_until_us": 0,
    "mean_return_frac": 0.0,
    "mean_square_return": 0.0,
}
"""What limits and conviction remember of an account that they have never seen."""


@dataclass(frozen=True, slots=True)
class Accounts:
    """N accounts in A assets; float64 unless said otherwise, and never NaN.

    `average_entry_usd` is the mean price paid, slippage included and fee left out; it and `peak_price_usd`
    are 0 where nothing is held. A cycle lasts from the first exposure until the account is flat again;
    outside it base and peak are 0.
    """

    cash_usd: Tensor
    """(N,) not negative."""
    units: Tensor
    """(N, A) base units held, not negative."""
    average_entry_usd: Tensor
    """(N, A) per unit."""
    peak_price_usd: Tensor
    """(N, A) highest price seen since the position was opened."""
    cycle_base_usd: Tensor
    """(N,) account value when the cycle began."""
    cycle_peak_usd: Tensor
    """(N,) highest account value of the cycle."""
    in_cycle: Tensor
    """(N,) bool."""
    took_profit: Tensor
    """(N,) bool: profit was taken in this cycle."""
    out_until_us: Tensor
    """(N,) int64: no buys before this moment, in microseconds since 1970 UTC; 0 = free."""
    observed_us: Tensor
    """(N,) int64: moment of the newest decision that limits and conviction know of; -1 = none yet, and then all that
    they remember is 0 or false."""
    observed_usd: Tensor
    """(N,) account value then."""
    day_start_usd: Tensor
    """(N,) account value at the first decision of that UTC day."""
    lost_day: Tensor
    """(N,) bool: that day has lost as much as a day may."""
    peak_usd: Tensor
    """(N,) highest account value at any decision, or since the breaker was reset."""
    is_broken: Tensor
    """(N,) bool: the drawdown breaker has fired, and nobody has reset it."""
    n_buys_today: Tensor
    """(N,) int64 buys that were filled on that day."""
    n_losses: Tensor
    """(N,) int64 losing sales in a row, since the last pause."""
    paused_until_us: Tensor
    """(N,) int64: no buys before this moment, after too many losing sales; 0 = free."""
    mean_return_frac: Tensor
    """(N,) exponentially weighted mean of the returns from decision to decision."""
    mean_square_return: Tensor
    """(N,) the same of their squares."""

    def __len__(self) -> int:
        return self.cash_usd.shape[0]

    @property
    def n_assets(self) -> int:
        return self.units.shape[1]

    @property
    def device(self) -> torch.device:
        return self.cash_usd.device

    def value(self, prices_usd: Tensor) -> Tensor:
        """Return cash plus positions, (N,) USD; `prices_usd` is (N, A), or (A,) when all see the same bar."""
        return self.cash_usd + (self.units * prices_usd).sum(-1)

    def weights(self, prices_usd: Tensor) -> Tensor:
        """Return each position's share of its account's value, (N, A); 0 in an account worth nothing."""
        positions = self.units * prices_usd
        value = self.cash_usd + positions.sum(-1)
        return positions / torch.where(value > 0, value, 1.0).unsqueeze(-1)

    def select(self, index: Tensor | slice | Sequence[int]) -> Accounts:
        """Return the accounts at `index`, in its order: positions, a boolean mask or a slice."""
        return Accounts(*(getattr(self, field.name)[index] for field in fields(self)))

    def where(self, mask: Tensor, other: Accounts) -> Accounts:
        """Return these accounts where `mask` (N,) is true, and those of `other` elsewhere."""
        wide = mask.unsqueeze(-1)
        pairs = ((getattr(self, field.name), getattr(other, field.name)) for field in fields(self))
        return Accounts(*(torch.where(wide if a.dim() == 2 else mask, a, b) for a, b in pairs))

    def detach(self) -> Accounts:
        """Return the same numbers without the history that gradients flow through."""
        return Accounts(*(getattr(self, field.name).detach() for field in fields(self)))

    def copy(self) -> Accounts:
        """Return the same numbers in memory of their own."""
        return Accounts(*(getattr(self, field.name).clone() for field in fields(self)))

    def to_rows(self) -> list[dict[str, Any]]:
        """Return one dict of plain numbers and lists per account; survives JSON bit for bit."""
        columns = {field.name: getattr(self, field.name).tolist() for field in fields(self)}
        return [{name: column[n] for name, column in columns.items()} for n in range(len(self))]

    @classmethod
    def from_rows(cls, rows: Sequence[dict[str, Any]], device: torch.device | str = "cpu") -> Accounts:
        """Return the accounts that `to_rows` gave; raises KeyError when a field is missing.

        Rows from before there were limits lack what these remember: such accounts are as new to them (`FRESH`).
        """
        return cls(
            *(
                torch.tensor(
                    [(FRESH | row)[field.name] for row in rows],
                    dtype=DTYPES.get(field.name, torch.float64),
                    device=device,
                )
                for field in fields(cls)
            )
        )


def open_accounts(n: int, n_assets: int, cash_usd: float | Tensor, device: torch.device | str = "cpu") -> Accounts:
    """Return `n` flat accounts with `cash_usd` each (a number, or (n,))."""

    def zeros(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
        return torch.zeros(shape, dtype=dtype, device=device)

    return Accounts(
        cash_usd=zeros(n) + cash_usd,
        units=zeros(n, n_assets),
        average_entry_usd=zeros(n, n_assets),
        peak_price_usd=zeros(n, n_assets),
        cycle_base_usd=zeros(n),
        cycle_peak_usd=zeros(n),
        in_cycle=zeros(n, dtype=torch.bool),
        took_profit=zeros(n, dtype=torch.bool),
        out_until_us=zeros(n, dtype=torch.int64),
        **{
            name: torch.full((n,), value, dtype=DTYPES.get(name, torch.float64), device=device)
            for name, value in FRESH.items()
        },
    )
