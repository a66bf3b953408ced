"""From what a venue says was filled to the account that the engine goes on with. Pure.

What is new is the difference between two cumulative reports, so that a report may come late, twice or not at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import reduce
from operator import or_

import torch
from torch import Tensor

from cappuccino.brokers.broker import Side
from cappuccino.portfolio import engine
from cappuccino.portfolio.account import Accounts
from cappuccino.risk.rules import Rules
from cappuccino.trading.desk_account import DeskAccount
from cappuccino.trading.ledger import Entry, to_us
from cappuccino.trading.orders import Order


@dataclass(frozen=True)
class Change:
    """An order before and after a report."""

    before: Order
    after: Order

    @property
    def units(self) -> float:
        """Newly filled, without sign."""
        return float(self.after.filled_units - self.before.filled_units)

    @property
    def is_news(self) -> bool:
        """Whether something was filled, or the fee of a fill came after it."""
        fees = (self.after.fee_usd, self.after.fee_units) != (self.before.fee_usd, self.before.fee_units)
        return self.units > 0 or (fees and self.after.filled_units > 0)

    @property
    def price_usd(self) -> float:
        """Mean price of what is newly filled; of all fills where only their fee is new."""
        if self.units == 0:
            return float(self.after.filled_usd / self.after.filled_units)
        return float(
            (self.after.filled_usd - self.before.filled_usd) / (self.after.filled_units - self.before.filled_units)
        )

    @property
    def fee_units(self) -> float:
        """Newly taken in the coin."""
        return float(self.after.fee_units - self.before.fee_units)

    @property
    def fee_usd(self) -> float:
        """Newly taken, coins at the price of the fill."""
        return float(self.after.fee_usd - self.before.fee_usd) + self.fee_units * self.price_usd

    @property
    def credited(self) -> float:
        """Signed units that the account gained or lost."""
        return self.after.side * self.units - self.fee_units


@dataclass(frozen=True)
class Booked:
    """One account after fills, and a row of the ledger for each of them."""

    account: DeskAccount
    fills: tuple[Fill, ...]


@dataclass(frozen=True)
class Fill:
    """One fill; see the columns of `fills` in the ledger."""

    change: Change
    realized_pnl_usd: float

    @property
    def slippage_usd(self) -> float:
        """Distance from the market's price when the order was made, in money; a gain is below 0."""
        order = self.change.after
        return order.side * (self.change.price_usd - order.market_usd) * self.change.units

    @property
    def shortfall_usd(self) -> float:
        """Implementation shortfall: what it cost against the price decided on, fees included (Perold 1988)."""
        order = self.change.after
        return order.side * (self.change.price_usd - order.decision_usd) * self.change.units + self.change.fee_usd


def book(account: DeskAccount, changes: Sequence[Change], mark_usd: Tensor, now: datetime, rules: Rules) -> Booked:
    """Return the account after `changes`, valued at the market's prices `mark_usd` (A,).

    All are booked at once, as the engine does with a bar's fills: a hand-over from one coin to another ends no cycle.
    Where one symbol was bought and sold, sales come first.
    """
    filled = [change for change in changes if change.is_news]
    rows = tuple(Fill(change, _realized(account, change, rules)) for change in filled)
    both = {c.after.symbol for c in filled if c.after.side is Side.BUY} & {
        c.after.symbol for c in filled if c.after.side is Side.SELL
    }
    groups = [filled] if not both else [[c for c in filled if c.after.side is side] for side in (Side.SELL, Side.BUY)]
    state = account.state
    for group in groups:
        if group:
            state = _booked(state, account.symbols, group, mark_usd, now, rules)
    return Booked(replace(account, state=state), rows)


def _booked(
    state: Accounts, symbols: tuple[str, ...], changes: Sequence[Change], mark_usd: Tensor, now: datetime, rules: Rules
) -> Accounts:
    """Book changes of which no two of one symbol have different sides."""
    units, price, fee = (
        torch.zeros_like(state.units),
        mark_usd.expand_as(state.units).clone(),
        torch.zeros_like(state.units),
    )
    counted = torch.zeros_like(state.units, dtype=torch.bool)
    for a, symbol in enumerate(symbols):
        own = [change for change in changes if change.after.symbol == symbol]
        if not own:
            continue
        credited = sum(change.credited for change in own)
        # What leaves by rounding is no short sale.
        units[0, a] = max(credited, -float(state.units[0, a]))
        is_single = len(own) == 1 or credited == 0.0
        price[0, a] = own[0].price_usd if is_single else sum(c.credited * c.price_usd for c in own) / credited
        fee[0, a] = sum(change.fee_usd for change in own)
        counted[0, a] = any(change.before.filled_units == 0 for change in own)
    nothing = torch.zeros_like(units)
    fills = engine.Fills(units, price, fee, nothing, nothing, _realized_of(state, units, price, fee, rules))
    flags = torch.tensor([reduce(or_, (change.after.rules for change in changes), 0)])
    return engine.book(state, fills, flags, mark_usd, to_us(now), rules, counted)


def _realized_of(state: Accounts, units: Tensor, price: Tensor, fee: Tensor, rules: Rules) -> Tensor:
    """Return the gain of sales (1, A) over the average entry, net of the fees of both sides."""
    sold = (-units).clamp(min=0.0)
    gain = sold * (price - state.average_entry_usd * (1.0 + rules.costs.fee_frac)) - fee
    return torch.where(sold > 0.0, gain, 0.0)


def _realized(account: DeskAccount, change: Change, rules: Rules) -> float:
    if change.after.side is Side.BUY:
        return 0.0
    entry_usd = float(account.state.average_entry_usd[0, account.symbols.index(change.after.symbol)])
    return change.units * (change.price_usd - entry_usd * (1.0 + rules.costs.fee_frac)) - change.fee_usd


def store_fill(entry: Entry, fill: Fill, account: DeskAccount, now: datetime) -> None:
    """Add the fill's row; its key is what the order has filled in all, so that none is there twice."""
    change, order = fill.change, fill.change.after
    late_fee = "" if change.units > 0 else f":{order.fee_usd + order.fee_units}"
    entry.insert(
        "fills",
        fill=f"{order.client_id}:{order.filled_units}{late_fee}",
        client_id=order.client_id,
        account=account.key,
        study=account.model.study,
        trial=account.model.trial,
        symbol=order.symbol,
        units=order.side * change.units,
        price_usd=change.price_usd,
        fee_usd=change.fee_usd,
        fee_units=change.fee_units,
        slippage_usd=fill.slippage_usd,
        shortfall_usd=fill.shortfall_usd,
        realized_pnl_usd=fill.realized_pnl_usd,
        is_maker=None if order.is_maker is None else int(order.is_maker),
        filled_us=to_us(now),
    )
