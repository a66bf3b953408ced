"""How deep, how restless and how alike markets have lately been: what impact, scaled thresholds, the limit on
correlated symbols and conviction are measured in.

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
_LEAST_SHARE = 1e-9
"""Share of variance in the mean square that is no more than rounding: of prices that grow at an even pace."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """Trailing figures of A symbols: (A,) of one moment, (N, A) where accounts differ in it, (T, A) of a history."""

    daily_volume_usd: Tensor
    """Mean traded value a day; 0 where nothing was traded."""
    daily_volatility_frac: Tensor
    """Root of the mean squared log return, scaled to a day; 0 where no price moved, and on a history's first bar."""
    restlessness: Tensor
    """Volatility of the last day alone, over that; 1 where no price moved."""
    market_correlation: Tensor
    """Correlation of the log returns with their mean over all symbols of the panel, in [-1, 1]; 0 where no price moved,
    and on a history's first two bars."""

    def at(self, rows: Tensor | int | slice) -> Conditions:
        """Return the conditions of `rows` of a history."""
        return Conditions(*(getattr(self, field.name)[rows] for field in fields(self)))

    def rows(self) -> list[Conditions]:
        """Return the conditions of each row of a history: what `at` gives, for all at once."""
        columns = (getattr(self, field.name).unbind() for field in fields(self))
        return [Conditions(*row) for row in zip(*columns, strict=True)]

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
    returns = torch.diff(log_close, dim=0, prepend=log_close[:1])
    n_returns = (n_bars - 1.0).clamp(min=1.0)  # n bars have n - 1 returns
    volatility = _daily_volatility(returns, n_returns, window, interval)
    today = _daily_volatility(returns, n_returns, interval.per_day, interval)
    return Conditions(
        daily_volume_usd=traded_usd * interval.per_day,
        daily_volatility_frac=volatility,
        restlessness=torch.where(volatility > 0.0, today / volatility, 1.0),
        market_correlation=_market_correlation(returns, n_returns, window),
    )


def _daily_volatility(returns: Tensor, n_returns: Tensor, window: int, interval: Interval) -> Tensor:
    """Return the root mean square of `returns` (T, A) over `window` bars, of which there are `n_returns` (T, 1)."""
    variance = trailing_sums(returns.square(), window) / n_returns.clamp(max=window)
    return torch.sqrt(variance * interval.per_day)


def _market_correlation(returns: Tensor, n_returns: Tensor, window: int) -> Tensor:
    """Return the correlation of each column of `returns` (T, A) with their mean, over `window` bars; (T, A).

    corr = cov(r, m) / sqrt(var(r) var(m)),   cov(x, y) = E[x y] - E[x] E[y]
    """
    # One symbol after the other: torch's own sum may round a row by how many there are.
    market = (sum(returns.unbind(1), torch.zeros_like(returns[:, 0])) / returns.shape[1]).unsqueeze(1)

    def mean(values: Tensor) -> Tensor:
        return trailing_sums(values, window) / n_returns.clamp(max=window)

    mean_r, mean_m, square_r, square_m = mean(returns), mean(market), mean(returns.square()), mean(market.square())
    variance_r, variance_m = square_r - mean_r.square(), square_m - mean_m.square()
    has_moved = (variance_r > _LEAST_SHARE * square_r) & (variance_m > _LEAST_SHARE * square_m)
    covariance = mean(returns * market) - mean_r * mean_m
    deviations = torch.where(has_moved, variance_r * variance_m, 1.0).sqrt()
    return torch.where(has_moved, covariance / deviations, 0.0).clamp(-1.0, 1.0)


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
