"""What all parts of the trader share: the accounts, what is seen of the market, and who sends whose orders."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from cappuccino.arena.candidate import Candidate
from cappuccino.brokers.broker import Broker
from cappuccino.clock import Clock
from cappuccino.market.quotes import Quote
from cappuccino.risk.rules import Rules
from cappuccino.settings import Settings
from cappuccino.trading.dealing import Dealer, Limits
from cappuccino.trading.desk_account import DeskAccount, open_accounts_of, store_account
from cappuccino.trading.feed import Feed, Needed
from cappuccino.trading.guard import Look
from cappuccino.trading.ledger import Entry, Ledger, to_us
from cappuccino.trading.roster import Models
from cappuccino.trading.switches import read_kill
from cappuccino.trading.virtual import virtual_broker
from cappuccino.trading.voice import Voice

SETTLE_S = 8.0
"""Longest wait for orders at the market, within a poll."""
LATE_S = 60.0
"""Age, or two polls if longer, after which a recorded order is not sent any more."""


@dataclass(frozen=True)
class Venue:
    """A broker with an account of its own, beside the virtual ones."""

    broker: Broker
    stage: str
    """Whose orders it takes: those of the model in `production` or `live`."""
    is_on: bool = True
    """False: an account is open there although trading was switched off. It is protected, and never bought on."""


class Floor:
    """The trader's state. Nothing is kept in memory alone that a start needs."""

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        feed: Feed,
        venues: Iterable[Venue],
        *,
        clock: Clock,
        voice: Voice,
        sleep: Callable[[float], None],
        beat: Callable[[str], None] = lambda phase: None,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.settings, self.ledger, self.feed, self.clock, self.voice = settings, ledger, feed, clock, voice
        self.venues = {venue.broker.name: venue for venue in venues}
        self.sleep, self.beat, self.say = sleep, beat, say
        self.rules = Rules.of(settings.risk, settings.costs)
        self.models = Models(settings.artifacts)
        accounts = {account.key: account for account in open_accounts_of(ledger)}
        self.accounts = {key: one for key, one in accounts.items() if one.is_virtual or one.broker in self.venues}
        for key in accounts.keys() - self.accounts.keys():
            voice.critical(f"{key}.unprotected", f"{key} has no broker: its orders and stops are not looked after")
        self.look = Look({}, {})
        self._dealers: dict[str, Dealer] = {}

    def dealer(self, account: DeskAccount) -> Dealer:
        """Return who sends the account's orders; that of a virtual account is made anew from the book while it rests.

        It can then never drift away from the book, nor remember orders without end.
        """
        known = self._dealers.get(account.key)
        if known is not None and (not account.is_virtual or known.has_open(account)):
            return known
        broker = virtual_broker(account, self.rules, self._quote) if account.is_virtual else self.broker(account)
        dealer = Dealer(
            self.ledger,
            broker,
            known.rules if known else self.rules,
            self.settings.execution,
            Limits(late_s=max(2 * self.settings.trader.poll_s, LATE_S), settle_s=SETTLE_S),
            clock=self.clock,
            is_killed=lambda: read_kill(self.settings.desk) is not None,
            sleep=self.sleep,
            beat=lambda: self.beat(f"orders of {account.key}"),
        )
        if account.is_virtual:
            dealer.read_instruments(account.symbols)
        self._dealers[account.key] = dealer
        return dealer

    def broker(self, account: DeskAccount) -> Broker:
        """Return the broker of a venue's account."""
        return self.venues[account.broker].broker

    def store(self, account: DeskAccount) -> None:
        """Keep the account as it is now; one that is closed leaves the floor."""
        with self.ledger.write() as entry:
            store_account(entry, account)
        if account.closed_at is None:
            self.accounts[account.key] = account
        else:
            self.accounts.pop(account.key, None)
            self._dealers.pop(account.key, None)
            self.voice.forget(account.key)

    def quotes_of(self, account: DeskAccount) -> Mapping[str, Quote] | None:
        """Return a quote of every symbol of the account; None when one that it holds was never seen.

        One that it does not hold costs nothing, whatever it costs.
        """
        unseen = [symbol for symbol in account.symbols if symbol not in self.look.quotes]
        if any(account.units_of(symbol) > 0 for symbol in unseen):
            return None
        now = self.clock.now()
        return {**self.look.quotes, **{symbol: Quote(symbol, 1.0, 1.0, now) for symbol in unseen}}

    def needed(self) -> list[Needed]:
        """Return the bars that somebody decides on."""
        candidates = (self.models.get(account.model) for account in self.accounts.values())
        return [need_of(candidate) for candidate in candidates if candidate is not None]

    def say_answers(self, account: DeskAccount, failure: str) -> None:
        """Say that a venue does not answer as it should, or that it does again."""
        if account.is_virtual:
            return
        if failure:
            self.voice.warn_if_it_stays(f"{account.broker}.answers", failure)
        else:
            self.voice.over(f"{account.broker}.answers")
        known = self._dealers.get(account.key)
        refusals = {s: why for s, why in known.refusals.items() if account.units_of(s) > 0} if known else {}
        if refusals:
            why = "; ".join(f"{symbol}: {reason}" for symbol, reason in refusals.items())
            self.voice.critical(f"{account.key}.refused", f"{account.key} has to sell, and the venue refuses: {why}")
        else:
            self.voice.over(f"{account.key}.refused")

    def _quote(self, symbol: str) -> Quote | None:
        return self.look.quotes.get(symbol)


def need_of(candidate: Candidate) -> Needed:
    """Return the bars that a decision of the candidate needs."""
    return Needed(candidate.market, candidate.history_bars + candidate.lookback)


def is_flat(account: DeskAccount) -> bool:
    """Return whether the account holds nothing."""
    return not bool((account.state.units > 0).any())


def event(entry: Entry, at: datetime, account: str, kind: str, symbol: str, detail: str) -> None:
    """Add a line to the ledger's `events`."""
    entry.insert("events", at_us=to_us(at), account=account, kind=kind, symbol=symbol, detail=detail)
