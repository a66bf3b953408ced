"""A venue's account beside our book, and what a venue says of itself: increments, fees, the time."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from cappuccino.errors import BrokerError
from cappuccino.market.quotes import mids_usd
from cappuccino.trading.dealing import Dealer
from cappuccino.trading.desk_account import DeskAccount, store_account
from cappuccino.trading.floor import Floor, event
from cappuccino.trading.known_instruments import known_instruments, store_instruments
from cappuccino.trading.ledger import to_us
from cappuccino.trading.shown_state import position_rows
from cappuccino.trading.venue_account import LOOKS_BEFORE_MISMATCH, compared

NEWS_EVERY = timedelta(hours=1)
"""How often fee tiers, increments and clocks of venues are asked for."""


class Watching:
    """Looks at the venues' side of the accounts on the floor."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor
        self._read_at: dict[str, datetime] = {}
        self._differed: dict[str, int] = {}
        self._n_surplus: dict[str, int] = {}
        """Looks in a row at which a venue had more money than ours."""

    def read_news(self, account: DeskAccount, dealer: Dealer, now: datetime) -> None:
        """Read increments, fee tier and clock of the venue, every now and then; fees are followed from then on."""
        read_at = self._read_at.get(account.key)
        if account.is_virtual or (not dealer.are_stale and read_at is not None and now - read_at < NEWS_EVERY):
            return
        try:
            self._read_instruments(account, dealer, now)
            tier = dealer.broker.fees()
            skew_s = dealer.broker.clock_skew_s()
        except BrokerError as error:
            dealer.failed("news", str(error))
            return
        dealer.answered("news")
        self._read_at[account.key] = now
        maker, taker = float(tier.maker_frac), float(tier.taker_frac)
        costs = replace(dealer.rules.costs, fee_bps=taker * 1e4, maker_fee_bps=maker * 1e4)
        dealer.rules = replace(dealer.rules, costs=costs)
        with self._floor.ledger.write() as entry:
            entry.insert(
                "fee_tiers",
                at_us=to_us(now),
                broker=account.broker,
                name=tier.name,
                maker_frac=str(tier.maker_frac),
                taker_frac=str(tier.taker_frac),
                volume_usd=str(tier.volume_usd),
            )
        # A clock that is wrong is looked at until it is right.
        dealer.are_stale = self._say_clock(account.broker, skew_s) or dealer.are_stale

    def _read_instruments(self, account: DeskAccount, dealer: Dealer, now: datetime) -> None:
        """Read what the venue accepts; while it does not answer after a start, what it said last counts."""
        ledger = self._floor.ledger
        try:
            dealer.read_instruments(account.symbols)
        except BrokerError:
            dealer.instruments = dealer.instruments or known_instruments(ledger, account.broker, account.symbols)
            raise
        with ledger.write() as entry:
            store_instruments(entry, account.broker, dealer.instruments, now)

    def _say_clock(self, name: str, skew_s: float | None) -> bool:
        """Say that our clock is wrong, or that it is right again; return whether it is wrong."""
        is_wrong = skew_s is not None and abs(skew_s) > self._floor.settings.trader.max_clock_skew_s
        if is_wrong:
            words = f"our clock is {skew_s:+.0f} s off that of {name}; set the clock of this machine"
            self._floor.voice.critical(f"{name}.clock", words)
        else:
            self._floor.voice.over(f"{name}.clock")
        return is_wrong

    def compare(self, account: DeskAccount, dealer: Dealer, now: datetime) -> None:
        """Hold the venue's account against our book, while nothing is under way; see `reconcile` for what follows."""
        if account.is_virtual or dealer.has_open(account):
            return
        try:
            holdings = dealer.broker.holdings()
        except BrokerError as error:
            dealer.failed("holdings", str(error))
            self._floor.say_answers(account, dealer.failure)
            return
        dealer.answered("holdings")
        self._floor.say_answers(account, dealer.failure)
        mids = mids_usd(self._floor.look.quotes)
        n_surplus = self._n_surplus.get(account.key, 0)
        found = compared(account, holdings, mids, self._floor.settings.trader, dealer.instruments, n_surplus)
        self._n_surplus[account.key] = found.n_surplus
        after = replace(found.account, trouble=self._trouble(account, found.mismatch))
        self._floor.accounts[account.key] = after
        if after.trouble == account.trouble and not found.notes and after.foreign == account.foreign:
            return
        units = {symbol: str(held) for symbol, held in holdings.units.items()}
        with self._floor.ledger.write() as entry:
            store_account(entry, after)
            for row in position_rows(after, mids, now, units):
                entry.upsert("positions", **row)
            for note in found.notes:
                event(entry, now, account.key, "taken over", "", note)

    def _trouble(self, account: DeskAccount, mismatch: str) -> str:
        """Return why nothing is bought; a difference has to be seen twice, since reads lag behind."""
        key, voice = account.key, self._floor.voice
        self._differed[key] = self._differed.get(key, 0) + 1 if mismatch else 0
        if not mismatch:
            voice.over(f"{key}.mismatch")
            return ""
        if self._differed[key] < LOOKS_BEFORE_MISMATCH:
            return account.trouble
        trouble = f"book and venue differ: {mismatch}"
        advice = "look what happened, then `cappuccino reconcile --adopt` takes the venue's figures"
        voice.critical(f"{key}.mismatch", f"{key}: nothing is bought, {trouble}; {advice}")
        return trouble
