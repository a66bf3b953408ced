"""How deep and how restless each market has lately been: what impact and scaled thresholds are measured in.

Row t knows the bars up to t, which have closed when row t is decided on. The same bars give the same bits wherever
the rows before the window begin.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from cappuccino.market.interval import Interval
from cappuccino.market.panel import BarPanel

WINDOW_DAYS = 14
"""Days that conditions look back: two weekends, and returns enough at 1d bars. Less where the bars begin later."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """Trailing figures of A symbols: (A,) of one moment, (N, A) where accounts differ in it, (T, A) of a history."""

    daily_volume_usd: Tensor
    """Mean traded value a day; 0 where nothing was traded."""
    daily_volatility_frac: Tensor
    """Root of the mean squared log return, scaled to a day; 0 where no price moved, and on a history's first bar."""

    def at(self, rows: Tensor | int) -> Conditions:
        """Return the conditions of `rows` of a history."""
        return Conditions(*(getattr(self, field.name)[rows] for field in fields(self)))

    def to(self, device: torch.device | str) -> Conditions:
        """Return the same numbers on `device`."""
        return Conditions(*(getattr(self, field.name).to(device) for field in fields(self)))


def conditions_of(panel: BarPanel) -> Conditions:
    """Return the conditions after each bar of `panel`, (T, A)."""
    return trailing_conditions(torch.tensor(panel.close), torch.tensor(panel.volume), panel.interval)


def trailing_conditions(close_usd: Tensor, volume: Tensor, interval: Interval) -> Conditions:
    """Return the conditions after each bar, (T, A), from closes and volumes in base units, (T, A) float64."""
    window = WINDOW_DAYS * interval.per_day
    n_bars = torch.arange(1, len(close_usd) + 1, dtype=torch.float64, device=close_usd.device).unsqueeze(1)
    traded_usd = trailing_sums(close_usd * volume, window) / n_bars.clamp(max=window)
    log_close = torch.log(close_usd)
    squares = torch.diff(log_close, dim=0, prepend=log_close[:1]).square()
    variance = trailing_sums(squares, window) / (n_bars - 1.0).clamp(1.0, window)  # n bars have n - 1 returns
    return Conditions(traded_usd * interval.per_day, torch.sqrt(variance * interval.per_day))


def trailing_sums(values: Tensor, window: int) -> Tensor:
    """Return the sum of each row of (T, A) and the `window` - 1 before it, rows before the first counting as 0.

    Sums of 1, 2, 4, ... rows are put together to those of `window`: a cumulative sum would be rounded by all history.
    """
    total, n_summed = torch.zeros_like(values), 0
    power, length = values, 1
    while length <= window:
        if window & length:
            total = total + _moved(power, n_summed)
            n_summed += length
        power, length = power + _moved(power, length), 2 * length
    return total


def _moved(values: Tensor, n_rows: int) -> Tensor:
    """Return (T, A) moved down by `n_rows`, zeros above."""
    moved = torch.zeros_like(values)
    if n_rows < len(values):
        moved[n_rows:] = values[: len(values) - n_rows]
    return moved
