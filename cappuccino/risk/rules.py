"""The numbers of every rule that stands between a wish and an order, and the names of the rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import IntFlag
from typing import Any

import torch
from torch import Tensor

from cappuccino.portfolio.conditions import Conditions
from cappuccino.portfolio.costs import Costs
from cappuccino.settings import CostSettings, RiskSettings

US_PER_HOUR = 3_600_000_000
Threshold = float | Tensor
"""One number for all, or a tensor: see `Rules`."""
BySymbol = tuple[tuple[str, float], ...]


class Rule(IntFlag):
    """Which rules changed an order; `Orders.rules` and `Step.rules` are sums of these."""

    TRAILING_STOP = 1
    """Portfolio fell below its cycle's peak: everything sold."""
    MOVE_TO_CASH = 2
    """Portfolio gained enough: everything sold, out for a while."""
    PROFIT_TAKE = 4
    """Portfolio gained enough: half of each position sold, once a cycle."""
    KEPT_OUT = 8
    """No buys, because move-to-cash still stays out."""
    STOP_LOSS = 16
    """A position fell below its average entry: sold."""
    POSITION_TRAILING_STOP = 32
    """A position fell below its peak price: sold."""
    WEIGHT_CAP = 64
    """A wanted weight was above the largest allowed."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Risk thresholds and costs of one run; a threshold of 0 switches its rule off.

    A threshold of the portfolio may be (N,), one for each account; one of positions (A,), (N, 1) or (N, A). Tensors
    are float64, and 0 in one switches the rule off there. Scaled thresholds are multiples of the volatility of a day,
    as `Conditions` know it: a position's of its symbol, the portfolio's as if all that it holds moved together.
    """

    costs: Costs
    portfolio_trailing_stop_frac: Threshold
    profit_take_frac: Threshold
    move_to_cash_frac: Threshold
    cash_us: int
    """How long move-to-cash stays out, in microseconds."""
    stop_loss_frac: Threshold
    position_trailing_stop_frac: Threshold
    max_weight_frac: float
    dampening: float
    protection_scaled: bool | Tensor = False
    """Whether the thresholds of the portfolio are multiples of volatility; or (N,) bool."""
    position_scaled: bool | Tensor = False
    """Whether those of positions are; or (N, 1) bool."""
    stop_loss_by_symbol: BySymbol = ()
    """Exceptions that `on` puts into the place of `stop_loss_frac`."""
    position_trailing_stop_by_symbol: BySymbol = ()

    @classmethod
    def of(cls, risk: RiskSettings, costs: CostSettings) -> Rules:
        protection, position = risk.protection, risk.position
        return cls(
            costs=Costs.of(costs),
            portfolio_trailing_stop_frac=protection.trailing_stop_frac,
            profit_take_frac=protection.profit_take_frac,
            move_to_cash_frac=protection.move_to_cash_frac,
            cash_us=round(protection.cash_hours * US_PER_HOUR),
            stop_loss_frac=position.stop_loss_frac,
            position_trailing_stop_frac=position.trailing_stop_frac,
            max_weight_frac=position.max_weight_frac,
            dampening=position.dampening,
            protection_scaled=protection.volatility_scaled,
            position_scaled=position.volatility_scaled,
            stop_loss_by_symbol=tuple(position.stop_loss_by_symbol.items()),
            position_trailing_stop_by_symbol=tuple(position.trailing_stop_by_symbol.items()),
        )

    @property
    def need_conditions(self) -> bool:
        """Whether a step under these rules has to know the market's volume and volatility."""
        return self.costs.impact > 0 or self.are_scaled

    @property
    def are_scaled(self) -> bool:
        """Whether a threshold is a multiple of volatility for anybody."""
        return self.protection_scaled is not False or self.position_scaled is not False

    def require(self, conditions: Conditions | None) -> None:
        """Raise ValueError unless it can be said what the rules sell under `conditions`."""
        if self.stop_loss_by_symbol or self.position_trailing_stop_by_symbol:
            raise ValueError("thresholds by symbol have no places yet; use `rules.on(symbols)`")
        if conditions is None and self.are_scaled:
            raise ValueError("scaled thresholds need the market's conditions; use `conditions_of(panel)`")

    def on(self, symbols: tuple[str, ...], device: torch.device | str = "cpu") -> Rules:
        """Return the rules for accounts in `symbols` on `device`: thresholds by symbol find their places, (A,).

        Exceptions for other symbols are left out: a model may trade fewer than there are.
        """
        placed = replace(
            self,
            stop_loss_frac=_placed(self.stop_loss_frac, self.stop_loss_by_symbol, symbols),
            position_trailing_stop_frac=_placed(
                self.position_trailing_stop_frac, self.position_trailing_stop_by_symbol, symbols
            ),
            stop_loss_by_symbol=(),
            position_trailing_stop_by_symbol=(),
        )
        tensors: dict[str, Any] = {
            field.name: value.to(device)
            for field in fields(placed)
            if isinstance(value := getattr(placed, field.name), Tensor)
        }
        return replace(placed, **tensors)

    def without_protection(self) -> Rules:
        """Return the same costs with every risk rule off: what a benchmark trades under."""
        return replace(
            self,
            portfolio_trailing_stop_frac=0.0,
            profit_take_frac=0.0,
            move_to_cash_frac=0.0,
            cash_us=0,
            stop_loss_frac=0.0,
            position_trailing_stop_frac=0.0,
            max_weight_frac=1.0,
            dampening=1.0,
            protection_scaled=False,
            position_scaled=False,
            stop_loss_by_symbol=(),
            position_trailing_stop_by_symbol=(),
        )


def is_on(threshold: Threshold) -> bool:
    """Return whether a rule may fire for anybody."""
    return isinstance(threshold, Tensor) or threshold > 0


def where_on(fires: Tensor, threshold: Threshold) -> Tensor:
    """Return `fires` less the places where `threshold` is 0."""
    return fires & (threshold > 0) if isinstance(threshold, Tensor) else fires


def _placed(threshold: Threshold, by_symbol: BySymbol, symbols: tuple[str, ...]) -> Threshold:
    """Return `threshold` with the exceptions `by_symbol` in their columns."""
    exceptions: Mapping[int, float] = {symbols.index(name): value for name, value in by_symbol if name in symbols}
    if not exceptions:
        return threshold
    # An account's own (N, 1) becomes (N, A), one number (A,).
    usual = torch.as_tensor(threshold, dtype=torch.float64)
    placed = usual.expand(*usual.shape[:-1], len(symbols)).clone()
    for column, value in exceptions.items():
        placed[..., column] = value
    return placed
