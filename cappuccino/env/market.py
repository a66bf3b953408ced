"""The market as the environment sees it: arrays of bars and scaled features, looked up by bar position."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cappuccino.errors import DataError
from cappuccino.market.interval import Interval
from cappuccino.market.panel import BarPanel
from cappuccino.portfolio.conditions import Conditions, trailing_conditions
from cappuccino.portfolio.engine import require_prices

_EPOCH = np.datetime64(0, "us")


@dataclass(frozen=True)
class MarketArrays:
    """T bars of A symbols; row t of every array is the same bar."""

    interval: Interval
    features: Tensor
    """(T, A, F) float32, scaled; NaN where history is too short for an indicator."""
    open_usd: Tensor
    """(T, A) float64."""
    close_usd: Tensor
    """(T, A) float64."""
    opened_us: Tensor
    """(T,) int64 microseconds since 1970 UTC."""
    volume: Tensor | None = None
    """(T, A) float64 base units; needed under rules that need conditions."""
    symbols: tuple[str, ...] = ()
    """Names of the A symbols; needed under rules with thresholds by symbol."""

    def __len__(self) -> int:
        return len(self.opened_us)

    @property
    def n_assets(self) -> int:
        return self.features.shape[1]

    @property
    def n_features(self) -> int:
        return self.features.shape[2]

    def windows(self, bars: Tensor, lookback: int) -> Tensor:
        """Return rows t - lookback + 1 .. t of each bar t; (B,) -> (B, A, lookback, F), oldest first.

        Raises DataError naming the bar when a window begins before the first row or contains NaN.
        """
        if int(bars.min()) < lookback - 1:
            raise DataError(f"bar {int(bars.min())} has fewer than {lookback} bars up to it; start later")
        if int(bars.max()) >= len(self):
            raise DataError(f"bar {int(bars.max())} is past the last of {len(self)} bars")
        n_incomplete = self._n_incomplete_before[bars + 1] - self._n_incomplete_before[bars + 1 - lookback]
        if bool(n_incomplete.any()):
            bar = int(bars[n_incomplete > 0][0])
            raise DataError(
                f"the {lookback} bars up to bar {bar} have features without a value; start later, "
                "or load a longer history"
            )
        # A view of every window (T - L + 1, A, L, F); only the chosen ones are copied.
        return self.features.unfold(0, lookback, 1).permute(0, 1, 3, 2)[bars + 1 - lookback]

    def n_complete(self, bar: int, most: int) -> int:
        """Return how many rows in a row, from `bar` on and at most `most`, have all features."""
        bad = self._n_incomplete_before[bar : bar + most + 1]
        return int((bad[1:] == bad[0]).sum())

    def require_prices(self, start: int, stop: int) -> None:
        """Raise DataError naming bar and asset unless all prices of bars [start, stop) are positive numbers."""
        for prices in (self.open_usd, self.close_usd):
            require_prices(prices[start:stop])

    @cached_property
    def _n_incomplete_before(self) -> Tensor:
        """(T + 1,) rows before each position that have a feature without a value."""
        bad = ~torch.isfinite(self.features).all(dim=2).all(dim=1)
        return torch.cat([torch.zeros_like(self.opened_us[:1]), bad.cumsum(0)])

    @cached_property
    def conditions(self) -> Conditions:
        """The conditions after each bar, (T, A); raises DataError without volumes."""
        if self.volume is None:
            raise DataError("impact and scaled thresholds need volumes, and this market has none; give it `volume`")
        return trailing_conditions(self.close_usd, self.volume, self.interval)

    def to(self, device: torch.device | str) -> MarketArrays:
        """Return the same market on `device`."""
        arrays: dict[str, Any] = {
            field.name: value.to(device)
            for field in fields(self)
            if isinstance(value := getattr(self, field.name), Tensor)
        }
        return replace(self, **arrays)


def market_arrays(panel: BarPanel, scaled_features: npt.NDArray[np.float32]) -> MarketArrays:
    """Return the arrays of `panel` with its scaled features (T, A, F); raises DataError when rows differ."""
    if scaled_features.shape[:2] != panel.close.shape:
        raise DataError(
            f"features of {scaled_features.shape[:2]} bars and symbols, a panel of {panel.close.shape}; "
            "compute features from this very panel"
        )
    opened_us = (panel.opened_at - _EPOCH) // np.timedelta64(1, "us")
    # Copies: memory-mapped files are read-only, which torch does not support.
    return MarketArrays(
        panel.interval,
        torch.tensor(scaled_features, dtype=torch.float32),
        torch.tensor(panel.open, dtype=torch.float64),
        torch.tensor(panel.close, dtype=torch.float64),
        torch.tensor(opened_us, dtype=torch.int64),
        torch.tensor(panel.volume, dtype=torch.float64),
        panel.symbols,
    )
