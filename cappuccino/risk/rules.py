"""The numbers of every rule that stands between a wish and an order, and the names of the rules."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntFlag

from cappuccino.portfolio.costs import Costs
from cappuccino.settings import CostSettings, RiskSettings

US_PER_HOUR = 3_600_000_000


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
    """Risk thresholds and costs of one run; a threshold of 0 switches its rule off."""

    costs: Costs
    portfolio_trailing_stop_frac: float
    profit_take_frac: float
    move_to_cash_frac: float
    cash_us: int
    """How long move-to-cash stays out, in microseconds."""
    stop_loss_frac: float
    position_trailing_stop_frac: float
    max_weight_frac: float
    dampening: float

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
        )

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
        )
