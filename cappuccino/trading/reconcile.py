"""Our book beside what the venue says. Pure: (ours, theirs) -> what to take over, and what is wrong.

- A difference as small as fees round to is taken over in silence. Fees are shares of what is traded, so money is
  measured by the whole account.
- What a purchase cost beyond our money was somebody else's.
- More money than ours is somebody else's, however little; more coins than ours are too, but only at an account's
  opening. Where a person lets the venue's figures count, money is ours that missing coins may have been sold for.
- Everything else stops purchases until a person has looked. Sales go on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from cappuccino.brokers.broker import Holdings
from cappuccino.portfolio.account import Accounts
from cappuccino.settings import TraderSettings
from cappuccino.trading.desk_account import CASH, DeskAccount

_NOTHING = Decimal(0)


@dataclass(frozen=True)
class Difference:
    """One symbol, or money, of which book and venue say different things."""

    symbol: str
    ours: float
    theirs: float
    """Less what is not ours."""
    usd: float
    """What the difference is worth, unsigned."""
    is_small: bool
    """As fees round to."""

    @property
    def is_surplus(self) -> bool:
        """More money than ours."""
        return self.symbol == CASH and self.theirs > self.ours

    def __str__(self) -> str:
        return f"{self.symbol}: our book has {self.ours:.10g}, the venue {self.theirs:.10g} ({self.usd:,.2f} USD apart)"


def differences(
    account: DeskAccount, holdings: Holdings, prices_usd: Mapping[str, float], settings: TraderSettings
) -> tuple[Difference, ...]:
    """Return where the account's book and the venue differ at all, coins first."""
    found, cash_usd = [], float(account.state.cash_usd[0])
    worth_usd = cash_usd
    for symbol in account.symbols:
        ours = account.units_of(symbol)
        theirs = float(holdings.units.get(symbol, _NOTHING) - account.foreign.get(symbol, _NOTHING))
        worth_usd += ours * prices_usd[symbol]
        most_usd = max(ours, theirs) * prices_usd[symbol]
        found.append(_difference(symbol, ours, theirs, prices_usd[symbol], most_usd, settings))
    theirs = float(holdings.cash_usd - account.foreign.get(CASH, _NOTHING))
    found.append(_difference(CASH, cash_usd, theirs, 1.0, worth_usd, settings))
    return tuple(one for one in found if one.ours != one.theirs)


def mismatch(found: tuple[Difference, ...]) -> str:
    """Return what is wrong, in words; empty when nothing is. More money than ours is no mismatch."""
    wrong = [one for one in found if not one.is_small and not one.is_surplus]
    return "; ".join(str(one) for one in wrong)


def taken_over(
    account: DeskAccount, found: tuple[Difference, ...], prices_usd: Mapping[str, float], *, all_of_them: bool = False
) -> DeskAccount:
    """Return the account with the venue's figures where the difference is small, or everywhere.

    Additional coins enter at their present price. More money than ours becomes somebody else's, but for the present
    value of coins that are gone when all is taken over: what nobody traded here is no profit or loss to the rules then.
    """
    state, foreign = account.state.copy(), dict(account.foreign)
    prices = account.prices(prices_usd)
    before_usd = float(state.value(prices)[0])
    for one in found:
        if one.is_surplus:
            ours_usd = min(one.theirs - one.ours, _missing_usd(found, prices_usd) if all_of_them else 0.0)
            state.cash_usd[0] += ours_usd
            foreign_usd = Decimal(str(one.theirs)) - Decimal(str(float(state.cash_usd[0])))
            foreign[CASH] = foreign.get(CASH, _NOTHING) + foreign_usd
            continue
        if not (one.is_small or all_of_them):
            continue
        if one.symbol == CASH:
            state.cash_usd[0] = max(one.theirs, 0.0)
            foreign[CASH] = foreign.get(CASH, _NOTHING) + Decimal(str(min(one.theirs, 0.0)))
            continue
        a = account.symbols.index(one.symbol)
        units = max(one.theirs, 0.0)
        if units > one.ours and all_of_them:
            entry_usd, price_usd = float(state.average_entry_usd[0, a]), prices_usd[one.symbol]
            state.average_entry_usd[0, a] = (entry_usd * one.ours + price_usd * (units - one.ours)) / units
            state.peak_price_usd[0, a] = max(float(state.peak_price_usd[0, a]), price_usd)
        state.units[0, a] = units
        if units == 0.0:
            state.average_entry_usd[0, a] = state.peak_price_usd[0, a] = 0.0
    exposed = bool((state.units > 0).any())
    value = float(state.value(prices)[0])
    if all_of_them:
        state = rebased(state, before_usd, value)
    began = exposed and not bool(state.in_cycle[0])
    if began:
        state.cycle_base_usd[0] = state.cycle_peak_usd[0] = value
    if not exposed:
        state.cycle_base_usd[0] = state.cycle_peak_usd[0] = 0.0
        state.took_profit[0] = False
    state.in_cycle[0] = exposed
    return replace(account, state=state, foreign=foreign)


def rebased(state: Accounts, before_usd: float, after_usd: float) -> Accounts:
    """Return an account whose value was changed from outside, with all values that rules remember changed likewise.

    Drawdowns, gains and returns are shares of these values: they stay what they were.
    """
    if before_usd <= 0.0 or after_usd == before_usd:
        return state
    remembered = ("cycle_base_usd", "cycle_peak_usd", "peak_usd", "day_start_usd", "observed_usd")
    return replace(state, **{name: getattr(state, name) * (after_usd / before_usd) for name in remembered})


def without_dust(account: DeskAccount, prices_usd: Mapping[str, float], least_usd: Mapping[str, float]) -> DeskAccount:
    """Return the account without positions that are worth less than `least_usd` of their symbol, too little to be sold.

    They stay at the venue as somebody else's: what rounding leaves of a position does not keep it open for ever.
    """
    dust = {
        symbol: units
        for symbol in account.symbols
        if (units := account.units_of(symbol)) > 0.0 and units * prices_usd[symbol] < least_usd[symbol]
    }
    if not dust:
        return account
    foreign = dict(account.foreign)
    for symbol, units in dust.items():
        foreign[symbol] = foreign.get(symbol, _NOTHING) + Decimal(str(units))
    gone = tuple(Difference(symbol, units, 0.0, 0.0, True) for symbol, units in dust.items())
    return replace(taken_over(account, gone, prices_usd), foreign=foreign)


def _missing_usd(found: tuple[Difference, ...], prices_usd: Mapping[str, float]) -> float:
    """Return what the coins that are gone are worth, less those that came."""
    gone_usd = sum((one.ours - one.theirs) * prices_usd[one.symbol] for one in found if one.symbol != CASH)
    return max(gone_usd, 0.0)


def _difference(
    symbol: str, ours: float, theirs: float, price_usd: float, measure_usd: float, settings: TraderSettings
) -> Difference:
    usd = abs(theirs - ours) * price_usd
    allowed = max(settings.mismatch_usd, settings.mismatch_frac * measure_usd)
    return Difference(symbol, ours, theirs, usd, usd <= allowed)
