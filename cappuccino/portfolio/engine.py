"""THE step: wanted weights become orders, fills and the next accounts. Training and trading share it.

One bar: `observe` and `decide` at close[t] under the rules of `risk/`, `execute` at open[t+1], `mark` at close[t+1].
A trader that fills elsewhere executes in parts: `plan`, its own fills, `book`.
Everything is differentiable from target weights to values, smooth wherever no rule switches.

Shapes: N accounts, A assets. A price argument is (N, A), or (A,) when all accounts see the same bar; a time
argument is (N,) int64 or an int, in microseconds since 1970 UTC. `conditions` are those known when the step is decided
on; they may be left out when the rules do not need them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from cappuccino.errors import DataError
from cappuccino.portfolio.account import Accounts
from cappuccino.portfolio.clamp import unit_clamp
from cappuccino.portfolio.conditions import Conditions
from cappuccino.portfolio.costs import fee_usd, fill_price, impact_frac
from cappuccino.risk import limits, position
from cappuccino.risk.layers import Orders, fewer_buys, under_rules
from cappuccino.risk.rules import Rule, Rules, is_on

__all__ = [
    "Fills",
    "Orders",
    "Plan",
    "Step",
    "actions_to_targets",
    "book",
    "decide",
    "execute",
    "fills_of",
    "mark",
    "observe",
    "plan",
    "protect",
    "require_prices",
    "require_weights",
    "step",
]

_TINY_USD = 1e-12  # keeps a division by "nothing to buy" finite


@dataclass(frozen=True, slots=True)
class Fills:
    """What was traded; all (N, A), 0 where nothing was (price: the market's)."""

    units: Tensor
    """Signed base units."""
    price_usd: Tensor
    """Price paid or got, slippage included."""
    fee_usd: Tensor
    slippage_usd: Tensor
    """Distance from the market's price times units, not negative: slippage, half the spread, impact."""
    impact_usd: Tensor
    """The part of it that is impact."""
    realized_pnl_usd: Tensor
    """Of sales: proceeds less average entry, net of the fees of both sides."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What of the orders can be traded at a price of the market."""

    units: Tensor
    """(N, A) signed base units; 0 where nothing can be."""
    price_usd: Tensor
    """(N, A) expected price, slippage and impact included; the market's where nothing was ordered."""
    impact_frac: Tensor | None
    """(N, A) how far the orders move their prices; None without impact."""


@dataclass(frozen=True, slots=True)
class Step:
    """One bar of every account."""

    fills: Fills
    value_before_usd: Tensor
    """(N,) at the mark that was decided on."""
    value_after_usd: Tensor
    """(N,) at the next mark."""
    rules: Tensor
    """(N,) int64 sum of `Rule` flags."""


def step(
    accounts: Accounts,
    target_weights: Tensor,
    mark_usd: Tensor,
    fill_usd: Tensor,
    next_mark_usd: Tensor,
    decided_us: Tensor | int,
    filled_us: Tensor | int,
    rules: Rules,
    conditions: Conditions | None = None,
    agreement: Tensor | None = None,
    *,
    checked: bool = True,
) -> tuple[Accounts, Step]:
    """Decide at `mark_usd` (close[t]), fill at `fill_usd` (open[t+1]), mark at `next_mark_usd` (close[t+1]).

    Raises what `decide` raises, unless not `checked`: a training checks all prices before its first step and the
    rewards after its last, so that a device is never waited for in between.
    """
    if checked:
        require_prices(mark_usd)
        require_prices(fill_usd)
        require_prices(next_mark_usd)
        require_weights(target_weights)
    value_before = accounts.value(mark_usd)
    if rules.filter_buys:
        accounts = limits.observe(accounts, value_before, decided_us, rules)
    orders = _decided(accounts, target_weights, value_before, mark_usd, decided_us, rules, conditions, agreement)
    accounts, fills = _executed(accounts, orders, fill_usd, filled_us, rules, conditions)
    value_after = accounts.value(next_mark_usd)
    return _marked(accounts, value_after, next_mark_usd), Step(fills, value_before, value_after, orders.rules)


def actions_to_targets(actions: Tensor, max_weight: float, cash_reserve: Tensor | float = 0.0) -> Tensor:
    """Return target weights for actions in [-1, 1]; (N, A) -> (N, A) float64.

    A positive action is a share of `max_weight`, a negative one means none; together at most 1 -
    `cash_reserve` (a number or (N,)).
    """
    wanted = unit_clamp(actions.to(torch.float64)) * max_weight
    total = wanted.sum(-1).clamp(min=_TINY_USD)
    return wanted * ((1.0 - cash_reserve) / total).clamp(max=1.0).unsqueeze(-1)


def observe(accounts: Accounts, mark_usd: Tensor, now_us: Tensor | int, rules: Rules) -> Accounts:
    """Return the accounts when limits and conviction have noted what they are worth at `mark_usd`, at a decision.

    Whoever decides keeps the result: of decisions that were not observed nothing is remembered. Noting a moment twice
    changes nothing, and so does noting one under rules that remember nothing. Raises DataError when a price is not a
    positive number.
    """
    require_prices(mark_usd)
    return limits.observe(accounts, accounts.value(mark_usd), now_us, rules) if rules.filter_buys else accounts


def decide(
    accounts: Accounts,
    target_weights: Tensor,
    mark_usd: Tensor,
    now_us: Tensor | int,
    rules: Rules,
    conditions: Conditions | None = None,
    agreement: Tensor | None = None,
) -> Orders:
    """Return the orders that lead from present positions towards `target_weights` (N, A), under all layers.

    The same whether or not the accounts were observed before. `agreement` (N, A) is the share of an ensemble's votes
    that agree with what came of them; None where nobody votes. Raises DataError when a price is not a positive number
    or a weight not a number, ValueError on other shapes, and as `under_rules` and `fewer_buys` do.
    """
    require_weights(target_weights)
    accounts, value = observe(accounts, mark_usd, now_us, rules), accounts.value(mark_usd)
    return _decided(accounts, target_weights, value, mark_usd, now_us, rules, conditions, agreement)


def protect(
    accounts: Accounts,
    mark_usd: Tensor,
    now_us: Tensor | int,
    rules: Rules,
    conditions: Conditions | None = None,
) -> Orders:
    """Return only what the risk rules sell at `mark_usd`: the check between two decisions.

    Raises DataError when a price is not a positive number, and as `under_rules` does.
    """
    require_prices(mark_usd)
    nothing = torch.zeros_like(accounts.units)
    return under_rules(accounts, nothing, accounts.value(mark_usd), mark_usd, now_us, rules, conditions)


def _decided(
    accounts: Accounts,
    target_weights: Tensor,
    value: Tensor,
    mark_usd: Tensor,
    now_us: Tensor | int,
    rules: Rules,
    conditions: Conditions | None,
    agreement: Tensor | None,
) -> Orders:
    """Do what `decide` does with observed accounts, worth `value` (N,) at `mark_usd`."""
    if target_weights.shape != accounts.units.shape:
        raise ValueError(f"targets {tuple(target_weights.shape)}, accounts {tuple(accounts.units.shape)}")
    wanted = _towards(accounts, target_weights, value, mark_usd, rules)
    orders = under_rules(accounts, wanted, value, mark_usd, now_us, rules, conditions)
    if rules.max_weight_frac < 1.0:
        capped = (target_weights > rules.max_weight_frac).any(-1)
        orders = replace(orders, rules=orders.rules + capped * Rule.WEIGHT_CAP.value)
    if rules.filter_buys:
        orders = fewer_buys(accounts, orders, value, mark_usd, now_us, rules, conditions, agreement)
    return orders


def _towards(accounts: Accounts, targets: Tensor, value: Tensor, mark_usd: Tensor, rules: Rules) -> Tensor:
    """Return the agent's own trade in units, (N, A), capped and dampened."""
    units = accounts.units
    capped = position.cap(targets, rules.max_weight_frac)
    trade = position.dampen(capped * (value.unsqueeze(-1) / mark_usd) - units, rules.dampening)
    if rules.dampening < 1.0:
        # A dampened exit halves for ever; when what stays is too small to be sold alone, all of it goes.
        rest_usd = (units + trade) * mark_usd
        trade = torch.where((targets <= 0.0) & (rest_usd < rules.costs.smallest_order_usd), -units, trade)
    return trade


def execute(
    accounts: Accounts,
    orders: Orders,
    fill_usd: Tensor,
    now_us: Tensor | int,
    rules: Rules,
    conditions: Conditions | None = None,
) -> tuple[Accounts, Fills]:
    """Fill orders at `fill_usd` as the cost model says: `plan`, `fills_of`, `book`.

    Raises DataError when a price is not a positive number, ValueError when the rules need `conditions`.
    """
    require_prices(fill_usd)
    return _executed(accounts, orders, fill_usd, now_us, rules, conditions)


def _executed(
    accounts: Accounts,
    orders: Orders,
    fill_usd: Tensor,
    now_us: Tensor | int,
    rules: Rules,
    conditions: Conditions | None,
) -> tuple[Accounts, Fills]:
    """Do what `execute` does."""
    fills = fills_of(accounts, plan(accounts, orders, fill_usd, rules, conditions), fill_usd, rules)
    return book(accounts, fills, orders.rules, fill_usd, now_us, rules), fills


def plan(
    accounts: Accounts, orders: Orders, fill_usd: Tensor, rules: Rules, conditions: Conditions | None = None
) -> Plan:
    """Return what of `orders` can be traded at `fill_usd`: sells first, buys as far as cash with fee goes.

    Orders below the smallest size are left out, except those that protect or close a position. Impact is that of the
    whole order, also where cash buys less of it. Raises ValueError when impact needs `conditions`.
    """
    wanted = torch.maximum(orders.units, -accounts.units)
    impact = _impact((wanted * fill_usd).abs(), rules, conditions)
    price = fill_price(fill_usd, torch.sign(orders.units), rules.costs.slippage_frac, impact)
    return Plan(_affordable(accounts, orders, wanted, price, rules), price, impact)


def fills_of(accounts: Accounts, planned: Plan, fill_usd: Tensor, rules: Rules) -> Fills:
    """Return what the cost model says of `planned`: all of it filled at its price, when the market is at `fill_usd`."""
    fee, size, price = rules.costs.fee_frac, planned.units, planned.price_usd
    impact, sold = planned.impact_frac, (-size).clamp(min=0.0)
    return Fills(
        units=size,
        price_usd=price,
        fee_usd=fee_usd((size * price).abs(), fee),
        slippage_usd=(size * (price - fill_usd)).abs(),
        impact_usd=torch.zeros_like(size) if impact is None else (size * fill_usd).abs() * impact,
        realized_pnl_usd=sold * (price * (1.0 - fee) - accounts.average_entry_usd * (1.0 + fee)),
    )


def _impact(wanted_usd: Tensor, rules: Rules, conditions: Conditions | None) -> Tensor | None:
    """Return how far orders for `wanted_usd` (N, A) move their prices; None without impact."""
    if rules.costs.impact == 0:
        return None
    if conditions is None:
        raise ValueError("impact needs the market's conditions; use `conditions_of(panel)`")
    return impact_frac(wanted_usd, conditions, rules.costs.impact)


def _affordable(accounts: Accounts, orders: Orders, size: Tensor, price: Tensor, rules: Rules) -> Tensor:
    """Return what of `size` (N, A), which is no short sale, can be traded: no credit, nothing too small."""
    fee, smallest = rules.costs.fee_frac, rules.costs.smallest_order_usd
    gross = size * price
    closes = orders.protective | (size == -accounts.units)
    sells = torch.where((gross <= -smallest) | (closes & (gross < 0.0)), gross, 0.0)
    buys = gross.clamp(min=0.0)
    funds = accounts.cash_usd - sells.sum(-1) * (1.0 - fee)
    cost = buys.sum(-1) * (1.0 + fee)
    scale = (funds / cost.clamp(min=_TINY_USD)).clamp(0.0, 1.0).unsqueeze(-1)
    bought = torch.where(buys * scale >= smallest, size * scale, 0.0)
    return torch.where(sells < 0.0, size, bought)


def book(
    accounts: Accounts,
    fills: Fills,
    order_rules: Tensor,
    mark_usd: Tensor,
    now_us: Tensor | int,
    rules: Rules,
    counted: Tensor | None = None,
) -> Accounts:
    """Return the accounts after `fills` that happened, whoever filled them: cash, entries, peaks, cycles and counts.

    `order_rules` (N,) are `Orders.rules` of what was filled; `mark_usd` is the market's price, which peaks and the base
    of a new cycle are taken at. No fill sells more than is held. Of `fills` units, price, fee and realised profit are
    read; the price must be finite also where nothing was traded. A fee taken in coins is left out of the units and
    counts, in USD, as the fee. `counted` (N, A) bool tells which fills count as trades of their own, for limits on
    their number; all do where it is None, and of an order that fills in parts only one should.
    """
    size, price = fills.units, fills.price_usd
    cash = (accounts.cash_usd - (size * price + fills.fee_usd).sum(-1)).clamp(min=0.0)  # rounding may leave -1e-12
    units = accounts.units + size
    held = units > 0.0
    share_bought = size.clamp(min=0.0) / torch.where(held, units, 1.0)
    entry = accounts.average_entry_usd + (price - accounts.average_entry_usd) * share_bought
    exposed = held.any(-1)
    # Bases and peaks are only compared with, so no gradient needs to remember them.
    value = (cash + (units * mark_usd).sum(-1)).detach()
    took_profit, out_until = accounts.took_profit, accounts.out_until_us
    if is_on(rules.profit_take_frac):
        took_profit = (took_profit | (order_rules & Rule.PROFIT_TAKE.value).bool()) & exposed
    if is_on(rules.move_to_cash_frac):
        moved = (order_rules & Rule.MOVE_TO_CASH.value).bool()
        out_until = torch.where(moved, now_us + rules.cash_us, out_until)
    if rules.limits.are_on:
        trades = size if counted is None else size * counted
        accounts = limits.count(accounts, trades, fills.realized_pnl_usd, now_us, rules.limits)
    return replace(
        accounts,
        cash_usd=cash,
        units=units,
        average_entry_usd=entry * held,
        peak_price_usd=torch.maximum(accounts.peak_price_usd, mark_usd) * held,
        cycle_base_usd=torch.where(accounts.in_cycle, accounts.cycle_base_usd, value) * exposed,
        cycle_peak_usd=torch.where(accounts.in_cycle, accounts.cycle_peak_usd, value) * exposed,
        in_cycle=exposed,
        took_profit=took_profit,
        out_until_us=out_until,
    )


def mark(accounts: Accounts, close_usd: Tensor) -> Accounts:
    """Return the accounts after looking at `close_usd`: peaks rise, nothing else changes.

    Raises DataError when a price is not a positive number.
    """
    require_prices(close_usd)
    return _marked(accounts, accounts.value(close_usd), close_usd)


def _marked(accounts: Accounts, value: Tensor, close_usd: Tensor) -> Accounts:
    """Do what `mark` does, with the accounts' `value` (N,) at `close_usd`."""
    return replace(
        accounts,
        peak_price_usd=torch.maximum(accounts.peak_price_usd, close_usd) * (accounts.units > 0.0),
        cycle_peak_usd=torch.maximum(accounts.cycle_peak_usd, value.detach()) * accounts.in_cycle,
    )


def require_weights(target_weights: Tensor) -> None:
    """Raise DataError unless every weight is a finite number."""
    if not math.isfinite(target_weights.detach().sum().item()):
        raise DataError("a target weight is NaN or infinite; look at the policy's inputs and weights")


def require_prices(prices_usd: Tensor) -> None:
    """Raise DataError naming the place unless every price is a positive, finite number."""
    low, high = torch.aminmax(prices_usd)  # NaN passes through both
    if low.item() > 0.0 and high.item() < math.inf:
        return
    bad = (~((prices_usd > 0.0) & torch.isfinite(prices_usd))).nonzero()[0]
    raise DataError(
        f"price {prices_usd[tuple(bad)].item()} of asset {int(bad[-1])} (index {bad.tolist()}) is not"
        " a positive number; nothing was traded. Sync that bar again"
    )
