"""Both risk layers over the agent's wish: what becomes an order.

The strongest first: portfolio protection, position risk, pre-trade limits, conviction, the wish. A rule only ever
lowers an order (a sale is larger, a buy smaller), so none blocks what lowers risk; limits and conviction look at buys
alone. A rule that is off costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from cappuccino.portfolio.account import Accounts
from cappuccino.portfolio.conditions import Conditions
from cappuccino.portfolio.costs import ROUNDING_USD
from cappuccino.risk import limits, position, protection
from cappuccino.risk.conviction import Scores, scores_of
from cappuccino.risk.rules import Limits, Rule, Rules, Threshold, is_on


@dataclass(frozen=True, slots=True)
class Orders:
    """What is wanted of each account, decided at one moment."""

    units: Tensor
    """(N, A) signed base units: + buys, - sells."""
    protective: Tensor
    """(N, A) bool: a risk rule sells; no filter may drop it."""
    rules: Tensor
    """(N,) int64 sum of `Rule` flags that changed the orders."""
    conviction: Scores | None = None
    """What spoke for each wanted buy; None where nobody wanted one, or conviction is off."""


def under_rules(
    accounts: Accounts,
    wanted: Tensor,
    value_usd: Tensor,
    mark_usd: Tensor,
    now_us: Tensor | int,
    rules: Rules,
    conditions: Conditions | None = None,
) -> Orders:
    """Return `wanted` (N, A units) after both layers, given the accounts' value (N,) at `mark_usd`.

    Raises ValueError when the rules need `conditions`, or places for their thresholds by symbol.
    """
    rules.require(conditions)
    units = accounts.units
    everything, half, flags = _portfolio_layer(accounts, value_usd, mark_usd, rules, conditions)
    stops, stop_flags = _position_layer(accounts, mark_usd, rules, conditions)
    flags = flags + stop_flags
    if is_on(rules.move_to_cash_frac):
        out = protection.kept_out(accounts, now_us)
        flags = flags + (out & (wanted > 0).any(-1)) * Rule.KEPT_OUT.value
        wanted = torch.where(out.unsqueeze(-1), wanted.clamp(max=0.0), wanted)
    protective = stops | everything.unsqueeze(-1)
    trade = torch.where(protective, -units, wanted)
    if is_on(rules.profit_take_frac):
        takes = half.unsqueeze(-1)
        protective = protective | takes
        trade = torch.where(takes, torch.minimum(trade, units * -0.5), trade)  # also: no buys in this step
    return Orders(trade, protective & (units > 0), flags)


def fewer_buys(
    accounts: Accounts,
    orders: Orders,
    value_usd: Tensor,
    mark_usd: Tensor,
    now_us: Tensor | int,
    rules: Rules,
    conditions: Conditions | None,
    agreement: Tensor | None,
) -> Orders:
    """Return `orders` less the buys that limits or conviction drop, and with those cut that are too large.

    Limits that stop everything speak first, so conviction judges what may be bought at all; those that cut speak last.
    `accounts`, worth `value_usd` (N,) at `mark_usd`, have been observed at `now_us`. Raises ValueError when a rule
    needs `conditions` and there are none.
    """
    rules.require_for_buys(conditions)
    orders_usd = orders.units * mark_usd
    # The crumbs that rounding leaves of "hold exactly what you have" are no buys, and never sent.
    is_buy = orders_usd > ROUNDING_USD
    if not is_buy.any():
        return orders
    is_left = is_buy
    for rule, is_stopped in _stops(accounts, now_us, rules.limits).items():
        orders = _without(orders, is_stopped.unsqueeze(1) & is_buy, rule)
        is_left = is_left & ~is_stopped.unsqueeze(1)
    if rules.min_conviction > 0 and conditions is not None:
        scores = scores_of(accounts, orders_usd, value_usd, conditions, agreement, rules)
        is_strong = scores.score >= rules.min_conviction
        orders = _without(replace(orders, conviction=scores), is_left & ~is_strong, Rule.CONVICTION)
        is_left = is_left & is_strong
    return _cut(accounts, orders, value_usd, mark_usd, rules, conditions) if is_left.any() else orders


def _without(orders: Orders, dropped: Tensor, rule: Rule) -> Orders:
    """Return `orders` without those that `rule` dropped, (N, A) bool."""
    if not dropped.any():
        return orders
    flags = orders.rules + dropped.any(1) * rule.value
    return replace(orders, units=torch.where(dropped, 0.0, orders.units), rules=flags)


def _stops(accounts: Accounts, now_us: Tensor | int, numbers: Limits) -> dict[Rule, Tensor]:
    """Return who must not buy at all, (N,) bool, by each limit that is on."""
    stops = {}
    if numbers.daily_loss_frac > 0:
        stops[Rule.DAILY_LOSS] = limits.daily_loss(accounts)
    if numbers.drawdown_frac > 0:
        stops[Rule.DRAWDOWN_BREAKER] = limits.drawdown_breaker(accounts)
    if numbers.losing_trades > 0:
        stops[Rule.LOSING_STREAK] = limits.losing_streak(accounts, now_us)
    return {rule: is_stopped for rule, is_stopped in stops.items() if is_stopped.any()}


def _cut(
    accounts: Accounts,
    orders: Orders,
    value_usd: Tensor,
    mark_usd: Tensor,
    rules: Rules,
    conditions: Conditions | None,
) -> Orders:
    """Return `orders` with no larger and no more buys than the limits on single buys allow."""
    numbers = rules.limits
    if rules.limit_order_size:
        largest_usd = limits.largest_order_usd(value_usd, numbers)
        is_large = orders.units * mark_usd > largest_usd + ROUNDING_USD
        orders = _with_buys(orders, is_large, largest_usd / mark_usd, Rule.ORDER_SIZE)
    if numbers.max_buys_per_day > 0:
        is_late = limits.order_rate(accounts, orders.units * mark_usd, numbers.max_buys_per_day)
        orders = _without(orders, is_late, Rule.ORDER_RATE)
    if numbers.max_correlated_frac > 0 and conditions is not None:
        share = limits.correlated_exposure(accounts, orders.units, value_usd, mark_usd, conditions, numbers)
        is_cut = (share < 1.0) & (orders.units > 0.0)
        orders = _with_buys(orders, is_cut, orders.units * share, Rule.CORRELATED_EXPOSURE)
    return orders


def _with_buys(orders: Orders, is_cut: Tensor, units: Tensor, rule: Rule) -> Orders:
    """Return `orders` with `units` (N, A) where `rule` cut them, (N, A) bool."""
    if not is_cut.any():
        return orders
    return replace(
        orders,
        units=torch.where(is_cut, units, orders.units),
        rules=orders.rules + is_cut.any(1) * rule.value,
    )


def _portfolio_layer(
    accounts: Accounts, value_usd: Tensor, mark_usd: Tensor, rules: Rules, conditions: Conditions | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return where to sell everything and where to sell half, (N,) bool, and the flags (N,)."""
    unit = _portfolio_unit(accounts, mark_usd, rules, conditions)
    everything = half = torch.zeros_like(accounts.in_cycle)
    flags = torch.zeros_like(accounts.out_until_us)
    if is_on(rules.portfolio_trailing_stop_frac):
        everything = protection.trailing_stop(accounts, value_usd, rules.portfolio_trailing_stop_frac * unit)
        flags = everything * Rule.TRAILING_STOP.value
    if is_on(rules.move_to_cash_frac):
        fires = protection.move_to_cash(accounts, value_usd, rules.move_to_cash_frac * unit) & ~everything
        flags = flags + fires * Rule.MOVE_TO_CASH.value
        everything = everything | fires
    if is_on(rules.profit_take_frac):
        half = protection.profit_take(accounts, value_usd, rules.profit_take_frac * unit) & ~everything
        flags = flags + half * Rule.PROFIT_TAKE.value
    return everything, half, flags


def _portfolio_unit(accounts: Accounts, mark_usd: Tensor, rules: Rules, conditions: Conditions | None) -> Threshold:
    """Return what a threshold of the portfolio is measured in: 1, or the volatility of a day of its holdings, (N,).

    As if all symbols moved together: nearly true of crypto, and an upper bound.
    """
    if rules.protection_scaled is False or conditions is None:
        return 1.0
    volatility = (accounts.weights(mark_usd) * conditions.daily_volatility_frac).sum(-1)
    return _where_scaled(volatility, rules.protection_scaled)


def _where_scaled(volatility: Tensor, is_scaled: bool | Tensor) -> Tensor:
    return torch.where(is_scaled, volatility, 1.0) if isinstance(is_scaled, Tensor) else volatility


def _position_layer(
    accounts: Accounts, mark_usd: Tensor, rules: Rules, conditions: Conditions | None
) -> tuple[Tensor, Tensor]:
    """Return which positions to sell, (N, A) bool, and the flags (N,)."""
    unit: Threshold = 1.0
    if conditions is not None and rules.position_scaled is not False:
        unit = _where_scaled(conditions.daily_volatility_frac, rules.position_scaled)
    sold = torch.zeros_like(accounts.units, dtype=torch.bool)
    flags = torch.zeros_like(accounts.out_until_us)
    if is_on(rules.stop_loss_frac):
        sold = position.stop_loss(accounts, mark_usd, rules.stop_loss_frac * unit)
        flags = sold.any(-1) * Rule.STOP_LOSS.value
    if is_on(rules.position_trailing_stop_frac):
        stops = position.trailing_stop(accounts, mark_usd, rules.position_trailing_stop_frac * unit)
        flags = flags + stops.any(-1) * Rule.POSITION_TRAILING_STOP.value
        sold = sold | stops
    return sold, flags
