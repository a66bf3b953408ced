"""Whether prices can be traded on: stale, missing, crossed, absurd or frozen ones cannot.

A price that jumps too far is not believed at once, and believed when it stays: a crash of the market is a price like
any other a few looks later, and a misprint is gone by then.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

import numpy as np

from cappuccino.market.panel import BarPanel
from cappuccino.market.quotes import Quote
from cappuccino.settings import TraderSettings

CONFIRMING_LOOKS = 3
"""Looks in a row that have to agree on a jump; those between two polls do not count."""
AGREES_LOG = math.log(1.1)
"""Prices that differ by less agree."""
NEVER_BY_QUOTES_LOG = math.log(5.0)
"""A jump so large needs a bar that agrees, however long it stays."""


@dataclass(frozen=True)
class Look:
    """The market as it may be traded on."""

    quotes: Mapping[str, Quote]
    """Of every symbol that was ever sound: the present quote, or the last sound one where there is a trouble."""
    troubles: Mapping[str, str]
    """Why a symbol is not traded on now."""
    unproven: frozenset[str] = frozenset()
    """Symbols whose quote is the first price of all: nothing was known to compare it with."""


@dataclass(frozen=True)
class _Jump:
    """A price that a symbol jumped to, and for how many polls it has stayed there."""

    price_usd: float
    n_looks: int
    counted_at: datetime


class Guard:
    """Looks at quotes one after the other, and remembers which were sound."""

    def __init__(self, settings: TraderSettings) -> None:
        self._settings = settings
        self._sound: dict[str, Quote] = {}
        self._unproven: set[str] = set()
        self._jumps: dict[str, _Jump] = {}
        self._wide: dict[str, _Jump] = {}
        self._seen: object = None
        self._same_since: datetime | None = None
        self._n_same = 0

    def look(
        self,
        symbols: tuple[str, ...],
        quotes: Mapping[str, Quote],
        closes: Mapping[str, float],
        now: datetime,
        closed_at: Mapping[str, datetime] = MappingProxyType({}),
    ) -> Look:
        """Return what of `quotes` is sound at `now`; `closes` are the newest closes of the bars, of `closed_at`.

        A symbol with a trouble keeps its last sound quote, or has a newer bar's close for one: stops go by what is
        known best. A spread that stays wide is what a crash looks like; its middle counts for stops, not for decisions.
        """
        is_frozen = self._is_frozen(quotes, closes, now)
        troubles = {}
        for symbol in symbols:
            trouble = self._trouble(symbol, quotes.get(symbol), closes.get(symbol), now)
            if not trouble:
                self._sound[symbol] = quotes[symbol]
                self._jumps.pop(symbol, None)
                self._wide.pop(symbol, None)
            if not trouble and is_frozen:
                trouble = f"no price of any symbol has moved in {self._n_same + 1} looks"
            if trouble:
                troubles[symbol] = trouble
        known = {symbol: self._sound[symbol] for symbol in symbols if symbol in self._sound}
        for symbol in symbols:
            close, at = closes.get(symbol), closed_at.get(symbol)
            if close is None or not _is_price(close):
                continue
            is_newer = symbol in troubles and symbol in known and at is not None and at > known[symbol].at
            if symbol not in known or (is_newer and _apart(close, known[symbol].mid_usd) <= NEVER_BY_QUOTES_LOG):
                known[symbol] = Quote(symbol, close, close, at or now)
        return Look(known, troubles, frozenset(self._unproven.intersection(symbols)))

    def _is_frozen(self, quotes: Mapping[str, Quote], closes: Mapping[str, float], now: datetime) -> bool:
        """Orders under way are looked at every few seconds: it takes so many looks, and the time of so many polls."""
        seen = ({(q.symbol, q.bid_usd, q.ask_usd) for q in quotes.values()}, dict(closes))
        if not quotes or seen != self._seen or self._same_since is None:
            self._seen, self._same_since, self._n_same = seen, now, 0
            return False
        self._n_same += 1
        n_polls = (now - self._same_since).total_seconds() / self._settings.poll_s
        wanted = self._settings.frozen_polls
        return self._n_same + 1 >= wanted and n_polls + 1.5 >= wanted

    def _trouble(self, symbol: str, quote: Quote | None, close: float | None, now: datetime) -> str:
        if quote is None:
            return "there is no quote"
        if not (_is_price(quote.bid_usd) and _is_price(quote.ask_usd)):
            return f"{quote.bid_usd} bid and {quote.ask_usd} asked are no prices"
        if quote.bid_usd > quote.ask_usd:
            return f"the quote is crossed: {quote.bid_usd} bid, {quote.ask_usd} asked"
        age_s = (now - quote.at).total_seconds()
        if age_s > self._settings.max_quote_age_s:
            return f"the quote is {age_s:,.0f} s old, at most {self._settings.max_quote_age_s:g} s are allowed"
        if age_s < -self._settings.max_clock_skew_s:
            return f"the quote is {-age_s:,.0f} s ahead of our clock; set the clock of this machine"
        spread = (quote.ask_usd - quote.bid_usd) / quote.mid_usd
        if spread > self._settings.max_spread_frac:
            if not self._jump(symbol, quote.mid_usd, close, now) and self._stays_wide(symbol, quote, now):
                self._sound[symbol] = quote
            return f"the spread is {spread:.1%}, at most {self._settings.max_spread_frac:.1%} is allowed"
        return self._jump(symbol, quote.mid_usd, close, now)

    def _stays_wide(self, symbol: str, quote: Quote, now: datetime) -> bool:
        """Return whether so wide a quote has been seen often enough to be the market."""
        known = self._wide.get(symbol)
        if known is None or _apart(quote.mid_usd, known.price_usd) > AGREES_LOG:
            known = _Jump(quote.mid_usd, 1, now)
        elif (now - known.counted_at).total_seconds() >= self._settings.poll_s / 2:
            known = _Jump(quote.mid_usd, known.n_looks + 1, now)
        self._wide[symbol] = known
        return known.n_looks >= CONFIRMING_LOOKS

    def _jump(self, symbol: str, mid_usd: float, close: float | None, now: datetime) -> str:
        before = self._before(symbol, close)
        if before is None:
            self._unproven.add(symbol)
            return ""
        far = _apart(mid_usd, before)
        if far > self._settings.max_gap_log and not self._is_confirmed(symbol, mid_usd, close, far, now):
            if symbol in self._unproven:
                self._sound.pop(symbol, None)
            return f"{mid_usd:.10g} is {mid_usd / before:.3g} times the last price {before:.10g}"
        self._unproven.discard(symbol)
        return ""

    def _before(self, symbol: str, close: float | None) -> float | None:
        """Return the price to compare with; None when none is known."""
        sound = self._sound.get(symbol)
        if sound is not None and symbol not in self._unproven:
            return sound.mid_usd
        return close if close is not None and _is_price(close) else None

    def _is_confirmed(self, symbol: str, mid_usd: float, close: float | None, far: float, now: datetime) -> bool:
        """Return whether the price has stayed, and bars agree where it is too far for quotes alone."""
        known = self._jumps.get(symbol)
        if known is None or _apart(mid_usd, known.price_usd) > AGREES_LOG:
            known = _Jump(mid_usd, 1, now)
        elif (now - known.counted_at).total_seconds() >= self._settings.poll_s / 2:
            known = _Jump(mid_usd, known.n_looks + 1, now)
        self._jumps[symbol] = known
        in_bars = close is not None and _is_price(close) and _apart(mid_usd, close) <= AGREES_LOG
        return known.n_looks >= CONFIRMING_LOOKS and (in_bars or far <= NEVER_BY_QUOTES_LOG)


def bar_trouble(panel: BarPanel, n_bars: int, look: Look, settings: TraderSettings) -> str:
    """Return why the newest `n_bars` of `panel` cannot be decided on; empty when they can."""
    newest = panel.rows(max(len(panel) - n_bars - 1, 0), len(panel))
    return _jump_in_bars(newest, look, settings) or _wick_in_bars(newest) or _quote_beside_bars(newest, look, settings)


def _jump_in_bars(panel: BarPanel, look: Look, settings: TraderSettings) -> str:
    """A jump from one close to the next is believed when the closes after it, or the quote, stay near.

    A spike does not.
    """
    close = panel.close
    with np.errstate(divide="ignore", invalid="ignore"):
        far = np.abs(np.diff(np.log(close), axis=0))
    for k, a in np.argwhere(~(far <= settings.max_gap_log)):
        symbol, price = panel.symbols[a], close[k + 1, a]
        quote = look.quotes.get(symbol)
        later = [*close[k + 2 : k + 5, a], *([quote.mid_usd] if quote and symbol not in look.troubles else [])]
        if not later or not any(_apart(after, price) <= settings.max_gap_log / 2 for after in later):
            return f"{_bar(panel, k + 1, a)} says {price:.10g} after {close[k, a]:.10g}"
    return ""


def _wick_in_bars(panel: BarPanel) -> str:
    """Trades far beyond both the close and the one before it are misprints."""
    top, bottom = (pick(panel.close[:-1], panel.close[1:]) for pick in (np.maximum, np.minimum))
    factor = math.exp(NEVER_BY_QUOTES_LOG)
    for k, a in np.argwhere((panel.high[1:] > factor * top) | (panel.low[1:] < bottom / factor)):
        span = f"{panel.low[k + 1, a]:.10g} to {panel.high[k + 1, a]:.10g}"
        return f"{_bar(panel, k + 1, a)} spans {span} and closes at {panel.close[k + 1, a]:.10g}"
    return ""


def _quote_beside_bars(panel: BarPanel, look: Look, settings: TraderSettings) -> str:
    """A first quote of all is believed when the newest bar agrees."""
    for symbol, close in zip(panel.symbols, panel.close[-1].tolist(), strict=True):
        mid_usd = look.quotes[symbol].mid_usd if symbol in look.unproven else close
        if _apart(mid_usd, close) > settings.max_gap_log:
            return f"the quote of {symbol} says {mid_usd:.10g} beside the newest bar's {close:.10g}"
    return ""


def _bar(panel: BarPanel, t: int, a: int) -> str:
    return f"the bar of {panel.symbols[a]} that closed at {panel.closed_at[t]} UTC"


def _is_price(number: float) -> bool:
    return math.isfinite(number) and number > 0


def _apart(price: float, other: float) -> float:
    """Return |ln(price / other)|, of any two prices: their ratio may be too small for a number."""
    return abs(math.log(price) - math.log(other))
