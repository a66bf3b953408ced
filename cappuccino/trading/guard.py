"""Whether prices can be traded on: stale, missing, crossed, absurd or frozen ones cannot.

A price that jumps too far is not believed at once, and believed when it stays: a crash of the market is a price like
any other a few looks later, and a misprint is gone by then.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from cappuccino.market.panel import BarPanel
from cappuccino.market.quotes import Quote
from cappuccino.settings import TraderSettings

CONFIRMING_LOOKS = 3
"""Looks in a row that have to agree on a jump."""
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


class Guard:
    """Looks at quotes one after the other, and remembers which were sound."""

    def __init__(self, settings: TraderSettings) -> None:
        self._settings = settings
        self._sound: dict[str, Quote] = {}
        self._jumps: dict[str, tuple[float, int]] = {}
        """Price that a symbol jumped to, and for how many looks it has stayed there."""
        self._seen: object = None
        self._n_same = 0

    def look(
        self, symbols: tuple[str, ...], quotes: Mapping[str, Quote], closes: Mapping[str, float], now: datetime
    ) -> Look:
        """Return what of `quotes` is sound at `now`; `closes` are the newest closes of the bars."""
        is_frozen = self._is_frozen(quotes, closes)
        troubles = {}
        for symbol in symbols:
            trouble = self._trouble(symbol, quotes.get(symbol), closes.get(symbol), now)
            if not trouble:
                self._sound[symbol] = quotes[symbol]
                self._jumps.pop(symbol, None)
            if not trouble and is_frozen:
                trouble = f"no price of any symbol has moved in {self._n_same + 1} looks"
            if trouble:
                troubles[symbol] = trouble
        known = {symbol: self._sound[symbol] for symbol in symbols if symbol in self._sound}
        for symbol in symbols:
            close = closes.get(symbol)
            if symbol not in known and close is not None and _is_price(close):
                known[symbol] = Quote(symbol, close, close, now)
        return Look(known, troubles)

    def _is_frozen(self, quotes: Mapping[str, Quote], closes: Mapping[str, float]) -> bool:
        seen = ({(q.symbol, q.bid_usd, q.ask_usd) for q in quotes.values()}, dict(closes))
        self._n_same = self._n_same + 1 if quotes and seen == self._seen else 0
        self._seen = seen
        return self._n_same + 1 >= self._settings.frozen_polls

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
            return f"the spread is {spread:.1%}, at most {self._settings.max_spread_frac:.1%} is allowed"
        return self._jump(symbol, quote.mid_usd, close)

    def _jump(self, symbol: str, mid_usd: float, close: float | None) -> str:
        sound = self._sound.get(symbol)
        before = sound.mid_usd if sound else close
        if before is None or not _is_price(before):
            return ""
        far = abs(math.log(mid_usd / before))
        if far <= self._settings.max_gap_log:
            return ""
        to, n_looks = self._jumps.get(symbol, (mid_usd, 0))
        n_looks = n_looks + 1 if abs(math.log(mid_usd / to)) <= AGREES_LOG else 1
        self._jumps[symbol] = (mid_usd, n_looks)
        in_bars = close is not None and _is_price(close) and abs(math.log(mid_usd / close)) <= AGREES_LOG
        if n_looks >= CONFIRMING_LOOKS and (in_bars or far <= NEVER_BY_QUOTES_LOG):
            return ""
        return f"{mid_usd:.10g} is {mid_usd / before:.3g} times the last price {before:.10g}"


def bar_trouble(panel: BarPanel, n_bars: int, look: Look, settings: TraderSettings) -> str:
    """Return why the newest `n_bars` of `panel` cannot be decided on; empty when they can.

    A jump from one close to the next is believed when the closes after it, or the quote, stay near: a spike does not.
    """
    close = panel.close[-min(n_bars + 1, len(panel)) :]
    with np.errstate(divide="ignore", invalid="ignore"):
        far = np.abs(np.diff(np.log(close), axis=0))
    for k, a in np.argwhere(~(far <= settings.max_gap_log)):
        symbol, price = panel.symbols[a], close[k + 1, a]
        quote = look.quotes.get(symbol)
        later = [*close[k + 2 : k + 5, a], *([quote.mid_usd] if quote and symbol not in look.troubles else [])]
        if not later or not any(abs(math.log(after / price)) <= settings.max_gap_log / 2 for after in later):
            at = panel.closed_at[len(panel) - len(close) + k + 1]
            return f"the bar of {symbol} that closed at {at} UTC says {price:.10g} after {close[k, a]:.10g}"
    return ""


def _is_price(number: float) -> bool:
    return math.isfinite(number) and number > 0
