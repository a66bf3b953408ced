"""Decisions of the accounts on the floor: once on each closed bar, and protection between two."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from cappuccino.arena.candidate import Candidate
from cappuccino.brokers.broker import Side
from cappuccino.errors import CappuccinoError
from cappuccino.market.panel import BarPanel
from cappuccino.market.quotes import mids_usd
from cappuccino.portfolio import engine
from cappuccino.portfolio.conditions import Conditions, conditions_of
from cappuccino.registry.identity import ModelId
from cappuccino.risk.rules import rule_names
from cappuccino.trading import decision as decisions
from cappuccino.trading import orders
from cappuccino.trading.bars_marked import mark_bars
from cappuccino.trading.dealing import Dealer
from cappuccino.trading.decision import Decision
from cappuccino.trading.desk_account import DeskAccount, store_account
from cappuccino.trading.explain import explain
from cappuccino.trading.floor import Floor, event, need_of
from cappuccino.trading.guard import bar_trouble
from cappuccino.trading.ledger import Entry

log = logging.getLogger(__name__)


class _NotYetError(Exception):
    """Nothing is decided now, and why; nothing was recorded either."""


@dataclass(frozen=True)
class _Bar:
    """The newest closed bar of an account, fit to be decided on."""

    closed_at: datetime
    candidate: Candidate
    panel: BarPanel


class Deciding:
    """Lets one account after the other decide, and sends what follows."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor
        self._conditions: dict[tuple[str, ModelId], Conditions] = {}

    def is_due(self, account: DeskAccount, now: datetime) -> bool:
        """Return whether a bar has closed, and settled, that the account has not decided on."""
        return self._newest_close(account, now) is not None

    def _newest_close(self, account: DeskAccount, now: datetime) -> datetime | None:
        closed_at = account.interval.floor(now - timedelta(seconds=self._floor.settings.trader.settle_s))
        if closed_at < account.opened_at or (account.decided_at is not None and closed_at <= account.decided_at):
            return None
        return closed_at

    def advance(self, account: DeskAccount, now: datetime) -> None:
        """Decide on the newest closed bar where that is due and possible, and protect otherwise."""
        candidate = self._floor.models.get(account.model)
        if candidate is None or not self._decides(account, candidate, now):
            self.protect(self._floor.accounts[account.key], now)

    # On a closed bar

    def _decides(self, account: DeskAccount, candidate: Candidate, now: datetime) -> bool:
        """Return whether the newest bar was decided on in this call."""
        closed_at = self._newest_close(account, now)
        if closed_at is None:
            return False
        key = f"{account.key}.waits"
        try:
            is_decided = self._decide(account, self._bar(account, candidate, closed_at, now), now)
        except _NotYetError as waits:
            said = f"{account.key} has not decided on the bar that closed at {closed_at:%F %R} UTC: {waits}"
            if not self._floor.feed.failure:  # which is said already, once for all accounts
                self._floor.voice.warn_if_it_stays(key, said)
            return False
        self._floor.voice.over(key)
        return is_decided

    def _bar(self, account: DeskAccount, candidate: Candidate, closed_at: datetime, now: datetime) -> _Bar:
        """Return the bar to decide on; raises _NotYetError when prices or bars cannot be trusted, or are not there."""
        floor, look = self._floor, self._floor.look
        bad = [f"{symbol}: {look.troubles[symbol]}" for symbol in account.symbols if symbol in look.troubles]
        if bad:
            raise _NotYetError("; ".join(bad))
        try:
            panel = floor.feed.panel(need_of(candidate), closed_at, now)
        except CappuccinoError as error:
            raise _NotYetError(f"{error}" + (f" ({floor.feed.failure})" if floor.feed.failure else "")) from None
        trouble = bar_trouble(panel, candidate.lookback, look, floor.settings.trader)
        if trouble:
            raise _NotYetError(trouble)
        return _Bar(closed_at, candidate, panel)

    def _decide(self, account: DeskAccount, bar: _Bar, now: datetime) -> bool:
        """Decide, record, send; return False for a bar that was let pass. Raises _NotYetError before all of that."""
        floor, key, panel = self._floor, account.key, bar.panel
        began = floor.clock.now()
        account = self._with_nothing_open(account)
        marked = mark_bars(floor.ledger, account, panel)
        self._conditions[key, account.model] = conditions_of(panel).at(len(panel) - 1)
        if now - bar.closed_at > account.interval.duration * floor.settings.trader.decide_within_frac:
            self._let_pass(marked.account, marked.rows, bar.closed_at, now)
            return False
        dealer = floor.dealer(account)
        made = self._without_busy(self._made(marked.account, bar, dealer, now), dealer)
        after = replace(made.before, decided_at=bar.closed_at)
        latency_s = (floor.clock.now() - began).total_seconds()
        self._store(after, marked.rows, made, latency_s)
        floor.accounts[key] = dealer.work(after, floor.look.quotes)
        floor.say_answers(account, dealer.failure)
        self._explain(made, bar)
        return True

    def _with_nothing_open(self, account: DeskAccount) -> DeskAccount:
        """Return the account after the orders of its last decision have ended, or were asked to."""
        dealer = self._floor.dealer(account)
        if not dealer.has_open(account):
            return account
        account, is_clear = dealer.cancel(account, self._floor.look.quotes, "a new decision")
        self._floor.accounts[account.key] = account
        if not is_clear and dealer.is_unsure(account):
            raise _NotYetError("the venue has not said what became of an order")
        return account

    def _made(self, account: DeskAccount, bar: _Bar, dealer: Dealer, now: datetime) -> Decision:
        conditions, rules = self._conditions[account.key, account.model], dealer.rules.on(account.symbols)
        quotes = self._floor.look.quotes
        try:
            return decisions.on_bar(
                account, bar.candidate, bar.panel, conditions, quotes, dealer.instruments, rules, now
            )
        except Exception as error:  # one model that fails must not leave all accounts without protection
            log.exception("decision_failed")
            raise _NotYetError(f"the model fails: {type(error).__name__}: {error}") from error

    def _without_busy(self, made: Decision, dealer: Dealer) -> Decision:
        """Return the decision without orders for symbols that have one under way, whose end has not been confirmed.

        A sale waits for another sale alone: coins that a purchase may still bring do not keep those that are there.
        """
        under_way = orders.open_orders(self._floor.ledger, made.before.key)
        busy = {order.symbol for order in under_way}
        selling = {order.symbol for order in under_way if order.side is Side.SELL}
        free = (o for o in made.orders if o.symbol not in (selling if o.side is Side.SELL else busy))
        return replace(made, orders=tuple(free))

    def _let_pass(
        self, account: DeskAccount, rows: Iterable[Mapping[str, Any]], closed_at: datetime, now: datetime
    ) -> None:
        """A bar that was known too late counts as seen."""
        self._store(replace(account, decided_at=closed_at), rows, None, 0.0)
        with self._floor.ledger.write() as entry:
            late = f"the bar that closed at {closed_at:%F %R} UTC was known {now - closed_at} later"
            event(entry, now, account.key, "late", "", late)

    def _store(
        self, account: DeskAccount, rows: Iterable[Mapping[str, Any]], made: Decision | None, latency_s: float
    ) -> None:
        with self._floor.ledger.write() as entry:
            store_account(entry, account)
            for row in rows:
                entry.upsert("equity", **row)
            if made is not None:
                _record(entry, made, latency_s)
        self._floor.accounts[account.key] = account

    def _explain(self, made: Decision, bar: _Bar) -> None:
        """Store what moved a decision that led to orders; that it cannot be said stops nothing."""
        if not made.orders:
            return
        try:
            text = explain(bar.candidate, bar.panel, len(bar.panel) - 1, made.before.state).to_json()
        except Exception:
            log.exception("explanation_failed")
            return
        with self._floor.ledger.write() as entry:
            entry.update("decisions", {"decision": made.key}, explanation=text)

    # Between two bars

    def protect(self, account: DeskAccount, now: datetime) -> None:
        """Check the stops at the present quotes, and sell what they say."""
        floor, key = self._floor, account.key
        dealer, quotes = floor.dealer(account), floor.quotes_of(account)
        if quotes is None:
            floor.voice.critical(
                f"{key}.unprotected", f"{key}: no price of what it holds was ever seen; its stops wait"
            )
            return
        mids = account.prices(mids_usd(quotes))
        account = floor.accounts[key] = replace(account, state=engine.mark(account.state, mids))
        rules = dealer.rules.on(account.symbols)
        known = self._conditions.get((key, account.model))
        conditions = self._known_conditions(account, now) if rules.are_scaled else known
        if rules.are_scaled and conditions is None:
            floor.voice.critical(f"{key}.unprotected", f"{key}: without bars its volatility is unknown, and stops wait")
            return
        floor.voice.over(f"{key}.unprotected")
        # Impact is a cost of the model, and needs conditions that may not be known yet; what is sold does not.
        rules = replace(rules, costs=replace(rules.costs, impact=0.0))
        made = decisions.between_bars(account, conditions, quotes, dealer.instruments, rules, now)
        if made is not None:
            self.act(account, made)

    def _known_conditions(self, account: DeskAccount, now: datetime) -> Conditions | None:
        known, candidate = self._conditions.get((account.key, account.model)), self._floor.models.get(account.model)
        if known is not None or candidate is None:
            return known
        try:
            panel = self._floor.feed.panel(need_of(candidate), account.interval.floor(now), now)
        except CappuccinoError:
            return None
        self._conditions[account.key, account.model] = conditions_of(panel).at(len(panel) - 1)
        return self._conditions[account.key, account.model]

    def act(self, account: DeskAccount, made: Decision) -> None:
        """Record and send sales that nothing may filter; what is under way for other reasons ends first."""
        floor = self._floor
        dealer = floor.dealer(account)
        if dealer.has_open(account):
            account, _ = dealer.cancel(account, floor.look.quotes, f"{made.kind} comes first")
            made = self._without_busy(made, dealer)
            floor.accounts[account.key] = account
        if made.barred:
            floor.voice.critical(
                f"{account.key}.barred", f"{account.key} has to sell: {'; '.join(made.barred.values())}"
            )
        else:
            floor.voice.over(f"{account.key}.barred")
        if not made.orders:
            return
        self._store(account, (), made, 0.0)
        floor.accounts[account.key] = floor.dealer(account).work(account, floor.look.quotes)
        floor.say_answers(account, dealer.failure)


def _record(entry: Entry, made: Decision, latency_s: float) -> None:
    decisions.store_decision(entry, made, latency_s)
    for order in made.orders:
        orders.record(entry, order)
    for symbol, why in made.too_small.items():
        event(entry, made.decided_at, made.before.key, "too small", symbol, why)
    if made.rules:
        event(entry, made.decided_at, made.before.key, "rules", "", ", ".join(rule_names(made.rules)))
