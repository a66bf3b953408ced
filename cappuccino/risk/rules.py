"""The numbers of every rule that stands between a wish and an order, and the names of the rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import IntFlag
from typing import Any

import torch
from torch import Tensor

from cappuccino.market.interval import Interval
from cappuccino.portfolio.conditions import WINDOW_DAYS, Conditions
from cappuccino.portfolio.costs import Costs
from cappuccino.settings import CostSettings, LimitSettings, RiskSettings

US_PER_HOUR = 3_600_000_000
US_PER_DAY = 24 * US_PER_HOUR
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
    DAILY_LOSS = 128
    """No buys, because the day has lost as much as a day may."""
    DRAWDOWN_BREAKER = 256
    """No buys, because value fell too far below its highest; until the operator resumes."""
    LOSING_STREAK = 512
    """No buys for a while, because too many sales in a row lost."""
    ORDER_SIZE = 1024
    """A buy was cut to the largest order."""
    ORDER_RATE = 2048
    """A buy was dropped, because the day has had all its buys."""
    CORRELATED_EXPOSURE = 4096
    """Buys of symbols that move with the market were scaled down together."""
    CONVICTION = 8192
    """A buy was dropped, because too little spoke for it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Pre-trade limits, which only ever lower buys; a number of 0 switches its limit off."""

    daily_loss_frac: float = 0.0
    drawdown_frac: float = 0.0
    losing_trades: int = 0
    pause_us: int = 0
    """How long losing trades pause buys, in microseconds."""
    max_order_frac: float = 0.0
    """Of account value."""
    max_order_usd: float = 0.0
    max_buys_per_day: int = 0
    correlated_from: float = 0.0
    """Correlation with the market from which on a symbol counts as correlated."""
    max_correlated_frac: float = 0.0
    """Of account value, in all correlated symbols together."""

    @classmethod
    def of(cls, settings: LimitSettings) -> Limits:
        return cls(
            daily_loss_frac=settings.daily_loss_frac,
            drawdown_frac=settings.drawdown_frac,
            losing_trades=settings.losing_trades,
            pause_us=round(settings.pause_hours * US_PER_HOUR),
            max_order_frac=settings.max_order_frac,
            max_order_usd=settings.max_order_usd,
            max_buys_per_day=settings.max_buys_per_day,
            correlated_from=settings.correlated_from,
            max_correlated_frac=settings.max_correlated_frac,
        )

    @property
    def are_on(self) -> bool:
        return any(
            (
                self.daily_loss_frac,
                self.drawdown_frac,
                self.losing_trades,
                self.max_order_frac,
                self.max_order_usd,
                self.max_buys_per_day,
                self.max_correlated_frac,
            )
        )


NO_LIMITS = Limits()


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
    limits: Limits = NO_LIMITS
    min_conviction: float = 0.0
    """Score below which a buy is dropped."""
    sharpe_bars: int = 100
    """Span, in decisions, of the Sharpe ratio that counts in the score."""

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
            limits=Limits.of(risk.limits),
            min_conviction=risk.conviction.min_score,
            sharpe_bars=risk.conviction.sharpe_bars,
        )

    @property
    def need_conditions(self) -> bool:
        """Whether a step under these rules has to know the market's conditions."""
        return self.costs.impact > 0 or self.are_scaled or self.judge_by_conditions

    def history_bars(self, interval: Interval) -> int:
        """Return how many bars before a decision its conditions come from; 0 where no rule needs them.

        With fewer, the same decision may be another one when the bars begin elsewhere.
        """
        return WINDOW_DAYS * interval.per_day + 1 if self.need_conditions else 0

    @property
    def judge_by_conditions(self) -> bool:
        """Whether limits or conviction have to know the market's conditions."""
        return self.limits.max_correlated_frac > 0 or self.min_conviction > 0

    @property
    def limit_order_size(self) -> bool:
        """Whether a buy can be larger than the largest order: no wish is above the largest weight."""
        return self.limits.max_order_usd > 0 or 0 < self.limits.max_order_frac < self.max_weight_frac

    @property
    def filter_buys(self) -> bool:
        """Whether limits or conviction are on: a step then remembers how the account fared."""
        return self.min_conviction > 0 or self.limits.are_on

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

    def require_for_buys(self, conditions: Conditions | None) -> None:
        """Raise ValueError unless limits and conviction can judge buys under `conditions`."""
        if conditions is None and self.judge_by_conditions:
            raise ValueError("limits and conviction need the market's conditions; use `conditions_of(panel)`")

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
            limits=NO_LIMITS,
            min_conviction=0.0,
            sharpe_bars=100,
        )

    def for_training(self) -> Rules:
        """Return the same rules without limits and conviction: what an agent learns under.

        These judge an account by days and weeks, an episode has few of them; and a learner that is not allowed to buy
        learns nothing.
        """
        return replace(self, limits=NO_LIMITS, min_conviction=0.0)


def rule_names(flags: int) -> tuple[str, ...]:
    """Return the names of the `Rule` flags in `flags`, in words."""
    return tuple(str(rule.name).lower().replace("_", " ") for rule in Rule if flags & rule)


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
