"""The account at a venue: opened on what is there, handed from model to model, compared with the venue each time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

import torch

from cappuccino.arena.candidate import Candidate
from cappuccino.brokers.broker import Holdings, Instrument
from cappuccino.portfolio.account import Accounts, open_accounts
from cappuccino.settings import TraderSettings
from cappuccino.trading.desk_account import CASH, DeskAccount
from cappuccino.trading.reconcile import differences, mismatch, rebased, taken_over, without_dust

LOOKS_BEFORE_MISMATCH = 2
"""Looks in a row that book and venue have to differ: reads lag behind."""
CENT_USD = 0.01
"""Differences below it are not worth a word, nor a second look."""
DUST_USD, MAX_DUST_USD = 1.0, 20.0
"""Positions worth less are no positions: no venue sells them. The larger figure bounds what a venue may call small."""


def open_venue_account(
    broker: str,
    market: str,
    stage: str,
    candidate: Candidate,
    holdings: Holdings,
    capital_usd: float | None,
    now: datetime,
    venue_account: str = "",
) -> DeskAccount:
    """Return a new account that owns the venue's free cash, at most `capital_usd`, and none of the coins there."""
    free = float(holdings.free_cash_usd)
    cash = free if capital_usd is None else min(free, capital_usd)
    foreign = {name: units for name, units in holdings.units.items() if name in candidate.symbols and units}
    foreign[CASH] = holdings.cash_usd - Decimal(str(cash))
    return DeskAccount(
        key=broker,
        broker=broker,
        market=market,
        stage=stage,
        model=candidate.manifest.model,
        symbols=candidate.symbols,
        interval=candidate.interval,
        opened_at=now,
        cash_usd=cash,
        state=open_accounts(1, len(candidate.symbols), cash),
        foreign=foreign,
        venue_account=venue_account,
    )


def handed_over(
    account: DeskAccount, candidate: Candidate, stage: str, holdings: Holdings | None = None
) -> DeskAccount | None:
    """Return the account in the hands of another model, which finds cash and positions as they are.

    What was decided on stays decided: it begins with the next close. Coins in `holdings` that the account does not
    trade now are somebody else's. None when something is held that the model does not trade: that has to be sold
    first.
    """
    held = {symbol for symbol in account.symbols if account.units_of(symbol) > 0}
    if not held <= set(candidate.symbols):
        return None
    there, new = (holdings.units if holdings else {}), set(candidate.symbols) - set(account.symbols)
    kept = {symbol: units for symbol, units in account.foreign.items() if symbol not in new}
    return replace(
        account,
        stage=stage,
        model=candidate.manifest.model,
        symbols=candidate.symbols,
        interval=candidate.interval,
        state=_reordered(account.state, account.symbols, candidate.symbols),
        marked_at=None,
        opening_closes=None,
        foreign=kept | {symbol: units for symbol, units in there.items() if symbol in new},
    )


def with_capital(
    account: DeskAccount, capital_usd: float, holdings: Holdings, prices_usd: Mapping[str, float]
) -> DeskAccount:
    """Return the account with another capital step: the difference comes out of what was not ours, or goes there.

    Of a smaller step, what is invested stays until it is sold. To the rules a step is no profit and no loss.
    """
    more, cash = capital_usd - account.cash_usd, float(account.state.cash_usd[0])
    spare = float(min(account.foreign.get(CASH, Decimal(0)), holdings.free_cash_usd))
    added = max(min(more, spare), 0.0) if more > 0 else max(more, -cash)
    if not added:
        return account
    before_usd = float(account.state.value(account.prices(prices_usd))[0])
    state = rebased(account.state, before_usd, before_usd + added)
    state = replace(state, cash_usd=state.cash_usd + added)
    foreign = {**account.foreign, CASH: account.foreign.get(CASH, Decimal(0)) - Decimal(str(added))}
    return replace(account, state=state, foreign=foreign, cash_usd=account.cash_usd + added)


@dataclass(frozen=True)
class Compared:
    """An account after a look at the venue, and what the look found."""

    account: DeskAccount
    mismatch: str
    """What is wrong, in words; empty when nothing is."""
    notes: tuple[str, ...]
    """Small differences that were taken over."""
    n_surplus: int = 0
    """Looks in a row, with this one, at which there was more money than ours, and nothing wrong."""


def compared(
    account: DeskAccount,
    holdings: Holdings,
    prices_usd: Mapping[str, float],
    settings: TraderSettings,
    instruments: Mapping[str, Instrument],
    n_surplus: int = 0,
) -> Compared:
    """Return the account with small differences taken over, without dust, and whatever is wrong beyond that.

    Nothing is taken over from a look that finds something wrong: reads lag behind, and what somebody sold by hand is
    coins that are missing and money that is too much. For the same reason more money than ours becomes somebody
    else's after some looks in a row only; `n_surplus` is their number before this one.
    """
    found = differences(account, holdings, prices_usd, settings)
    wrong = mismatch(found)
    if wrong:
        return Compared(account, wrong, ())
    is_worth_a_look = any(one.is_surplus and one.usd >= CENT_USD for one in found)
    n_surplus = n_surplus + 1 if is_worth_a_look else 0
    waits = is_worth_a_look and n_surplus < LOOKS_BEFORE_MISMATCH
    believed = tuple(one for one in found if not (one.is_surplus and waits))
    least_usd = {symbol: _least_usd(instruments.get(symbol), prices_usd[symbol]) for symbol in account.symbols}
    after = without_dust(taken_over(account, believed, prices_usd), prices_usd, least_usd)
    notes = tuple(str(one) for one in found if not one.is_surplus and one.usd >= CENT_USD)
    return Compared(after, "", notes, n_surplus)


def _least_usd(instrument: Instrument | None, price_usd: float) -> float:
    """Return the value below which a position cannot be sold."""
    if instrument is None:
        return DUST_USD
    least = max(float(instrument.min_units) * price_usd, float(instrument.min_sell_usd), DUST_USD)
    return min(least, MAX_DUST_USD)


def _reordered(state: Accounts, before: tuple[str, ...], after: tuple[str, ...]) -> Accounts:
    """Return the account's row with its columns in the order of other symbols; those that are new hold nothing."""
    if before == after:
        return state
    columns = [before.index(symbol) if symbol in before else -1 for symbol in after]

    def moved(values: torch.Tensor) -> torch.Tensor:
        padded = torch.cat([values, torch.zeros_like(values[:, :1])], dim=1)
        return padded[:, columns]

    return replace(
        state,
        units=moved(state.units),
        average_entry_usd=moved(state.average_entry_usd),
        peak_price_usd=moved(state.peak_price_usd),
    )
