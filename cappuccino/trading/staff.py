"""Who trades on the floor: accounts are opened, handed over and closed as the stages of the models change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from cappuccino.arena.candidate import Candidate
from cappuccino.brokers.broker import Holdings, Side
from cappuccino.errors import BrokerError, CappuccinoError, StageError
from cappuccino.market.quotes import mids_usd
from cappuccino.portfolio.account import open_accounts
from cappuccino.registry.identity import ModelId
from cappuccino.trading import orders
from cappuccino.trading.desk_account import DeskAccount, account_named
from cappuccino.trading.floor import Floor, Venue
from cappuccino.trading.order_states import OrderState
from cappuccino.trading.roster import Place, Roster
from cappuccino.trading.venue_account import handed_over, open_venue_account, with_capital

TAKE_OVER_WITHIN = timedelta(days=2)
"""An account that the warehouse has traded until then goes on; an older one begins anew."""

ReadRoster = Callable[[], Roster]


@dataclass(frozen=True)
class Permitted:
    """Whether real money may be traded, by whom, and with how much."""

    model: ModelId | None
    capital_usd: float
    reasons: tuple[str, ...] = ()
    """Why not; empty when it may."""


Permit = Callable[[str, datetime], Permitted]
"""(the venue's account, now) -> whether its money may be traded."""


@dataclass(frozen=True)
class _Holder:
    """Who may trade at a venue."""

    place: Place
    capital_usd: float | None
    """At most so much; None: all that is there."""


class Staff:
    """Brings the floor's accounts in line with the stages; while these cannot be read, the same go on."""

    def __init__(self, floor: Floor, read_roster: ReadRoster | None, permit: Permit) -> None:
        """Without `read_roster` the accounts stay as they are: in an emergency nobody is asked."""
        self._floor, self._read_roster, self._permit = floor, read_roster, permit
        self._roster: Roster | None = None
        self._holders: dict[str, _Holder | None] = {}
        self._venue_accounts: dict[str, str] = {}
        """What each venue has called its account; keys do not change while a process runs."""

    def update(self, now: datetime) -> None:
        """Open, hand over and close accounts; never raises for the warehouse or a venue."""
        for venue in self._floor.venues.values():
            self._set_aside_another(venue)
        if self._read_roster is None:
            return
        self._update(self._read_roster, now)
        for venue in self._floor.venues.values():
            account = self._floor.accounts.get(venue.broker.name)
            if account is not None:
                self._stop_purchases(account, self._embargo(account))

    def _update(self, read_roster: ReadRoster, now: datetime) -> None:
        try:
            self._roster = read_roster()
            self._floor.voice.over("warehouse")
        except CappuccinoError as error:
            # A busy file is no news; that nobody could say who trades since the start is.
            say = self._floor.voice.warn_if_it_stays if self._roster else self._floor.voice.warn
            say("warehouse", f"who trades cannot be read, the same go on: {error}")
        roster = self._roster
        if roster is None:
            return
        at_desk = {place.model: place for place in roster.places}
        self._floor.models.keep(set(at_desk))
        for account in list(self._floor.accounts.values()):
            if account.is_virtual:
                self._update_virtual(account, at_desk.get(account.model), now)
        for place in roster.places:
            if place.stage != "live" and str(place.model) not in self._floor.accounts:
                self._open_virtual(place, roster, now)
        for venue in self._floor.venues.values():
            self._update_venue(venue, roster, now)
        self._say_failures()

    def is_left(self, account: DeskAccount) -> bool:
        """Return whether a venue's account has nobody who may trade on it: it is to be sold.

        Not while nobody knows who may, nor while its orders are all that a successor waits for.
        """
        if account.is_virtual or account.key not in self._holders:
            return False
        holder = self._holders[account.key]
        if holder is None or holder.place.model == account.model:
            return holder is None
        candidate = self._floor.models.get(holder.place.model)
        return candidate is not None and handed_over(account, candidate, account.stage) is None

    def may_decide(self, account: DeskAccount) -> bool:
        """Return whether a model may decide: at a venue the one that has the stage now.

        With real money only when this process has read that it is permitted.
        """
        return account.is_virtual or not self._embargo(account)

    def _embargo(self, account: DeskAccount) -> str:
        """Return why nothing is bought on a venue's account; empty when it may be."""
        venue = self._floor.venues[account.broker]
        if not venue.is_on:
            return "trading there is switched off"
        if account.key not in self._holders:
            return "nobody could read whether real money may be traded" if venue.broker.is_real_money else ""
        holder = self._holders[account.key]
        if holder is None:
            return "nobody may trade there"
        return "" if holder.place.model == account.model else f"{holder.place.model} takes over from {account.model}"

    def _stop_purchases(self, account: DeskAccount, why: str) -> None:
        """Let nothing be bought from now on, if there is a reason; purchases that wait or rest are taken back."""
        dealer = self._floor.dealer(account)
        dealer.embargo = why
        under_way = orders.open_orders(self._floor.ledger, account.key) if why else ()
        waiting = (OrderState.RECORDED, OrderState.WORKING)
        if any(order.side is Side.BUY and order.state in waiting for order in under_way):
            self._floor.accounts[account.key], _ = dealer.cancel(account, self._floor.look.quotes, why)

    def _set_aside_another(self, venue: Venue) -> None:
        """Leave an account alone while the keys are those of another one at the venue; orders of it mean nothing there.

        Nobody can tell while the venue does not say which it is: stops are then looked after all the same.
        """
        name = venue.broker.name
        account = self._floor.accounts.get(name)
        if account is None or name in self._venue_accounts:
            return
        try:
            there = self._venue_accounts[name] = venue.broker.account_id()
        except BrokerError as error:
            self._floor.voice.warn_if_it_stays(f"{name}.answers", str(error))
            return
        if account.venue_account == there:
            self._floor.voice.over(f"{name}.account")
        elif not account.venue_account:
            self._floor.store(replace(account, venue_account=there))
        else:
            self._floor.accounts.pop(name)
            words = f"{name}: the keys are of account {there}, and the ledger's is {account.venue_account}"
            advice = "nothing is sent and no stop is looked after; put the keys of the ledger's account back"
            self._floor.voice.critical(f"{name}.account", f"{words}; {advice}")

    # Virtual accounts

    def _update_virtual(self, account: DeskAccount, place: Place | None, now: datetime) -> None:
        if place is None or place.stage == "live" or account.market != self._floor.settings.market.source:
            # Positions at the prices of one market are worth nothing on another.
            self._floor.store(replace(account, closed_at=now))
        elif place.stage != account.stage:
            self._floor.store(replace(account, stage=place.stage))

    def _open_virtual(self, place: Place, roster: Roster, now: datetime) -> None:
        """Open the account of a model that has come, or go on with that of the warehouse."""
        candidate = self._floor.models.get(place.model)
        if candidate is None:
            return
        cash_usd = self._floor.settings.sandbox.cash_usd
        before = account_named(self._floor.ledger, str(place.model))
        is_new = before is None and now - place.since <= candidate.interval.duration
        fresh = DeskAccount(
            key=str(place.model),
            broker="simulated",
            market=self._floor.settings.market.source,
            stage=place.stage,
            model=place.model,
            symbols=candidate.symbols,
            interval=candidate.interval,
            # Of a model that came while no trader ran, the account begins when one does.
            opened_at=place.since if is_new else now,
            cash_usd=cash_usd,
            state=open_accounts(1, len(candidate.symbols), cash_usd),
            # What came back decides on no close that it may have decided on before.
            decided_at=candidate.interval.floor(now) if before else None,
        )
        self._floor.store((None if before else self._continued(fresh, roster, now)) or fresh)

    def _continued(self, fresh: DeskAccount, roster: Roster, now: datetime) -> DeskAccount | None:
        """Return the account as the warehouse has traded it so far; None where it has not, or long ago."""
        paper = next((one for one in roster.paper if one.model == fresh.model), None)
        closes = roster.opening_closes.get(fresh.model)
        if paper is None or paper.state is None or closes is None or now - paper.traded_until > TAKE_OVER_WITHIN:
            return None
        return replace(
            fresh,
            opened_at=paper.opened_at,
            cash_usd=paper.cash_usd,
            state=paper.state,
            # It has traded through that bar, and not decided on its close.
            decided_at=paper.traded_until - fresh.interval.duration,
            marked_at=paper.traded_until,
            opening_closes=closes,
        )

    # Accounts at venues

    def _update_venue(self, venue: Venue, roster: Roster, now: datetime) -> None:
        """Open the venue's account, or hand it to whoever has the stage now."""
        name = venue.broker.name
        if not venue.is_on:
            return
        try:
            holder = self._holders[name] = self._holder(venue, roster, now)
        except CappuccinoError as error:
            self._floor.voice.warn("live.permission", f"whether real money may be traded cannot be read: {error}")
            if isinstance(error, StageError):  # a record that is damaged may have permitted what it should not
                self._holders.pop(name, None)
            holder = self._holders.get(name)  # otherwise whoever was permitted goes on
        account = self._floor.accounts.get(name)
        candidate = self._floor.models.get(holder.place.model) if holder else None
        if holder is None or candidate is None:
            return
        if account is None and name in self._venue_accounts:  # it was set aside
            return
        if account is None:
            self._ask(venue, lambda held: self._open(venue, candidate, held, holder.capital_usd, now))
        elif account.model != candidate.manifest.model:
            if not self._floor.dealer(account).has_open(account):
                self._ask(venue, lambda held: self._hand_over(account, candidate, venue.stage, held))
        elif holder.capital_usd is not None and holder.capital_usd != account.cash_usd:
            step_usd = holder.capital_usd
            self._ask(venue, lambda held: self._take_step(account, step_usd, held))

    def _open(
        self, venue: Venue, candidate: Candidate, held: Holdings, capital_usd: float | None, now: datetime
    ) -> None:
        name, market = venue.broker.name, self._floor.settings.market.source
        there = venue.broker.account_id()
        self._floor.store(open_venue_account(name, market, venue.stage, candidate, held, capital_usd, now, there))

    def _hand_over(self, account: DeskAccount, candidate: Candidate, stage: str, held: Holdings) -> None:
        successor = handed_over(account, candidate, stage, held)
        if successor is not None:
            self._floor.store(successor)

    def _take_step(self, account: DeskAccount, capital_usd: float, held: Holdings) -> None:
        quotes = self._floor.quotes_of(account)
        if quotes is not None:
            mids = mids_usd(quotes)
            self._floor.store(with_capital(account, capital_usd, held, mids))

    def _ask(self, venue: Venue, use: Callable[[Holdings], None]) -> None:
        """Let `use` have what the venue holds; nothing while it does not answer."""
        try:
            use(venue.broker.holdings())
        except BrokerError as error:
            self._floor.voice.warn(f"{venue.broker.name}.answers", str(error))

    def _holder(self, venue: Venue, roster: Roster, now: datetime) -> _Holder | None:
        """Return who may trade at the venue, None for nobody; raises CappuccinoError when that cannot be read."""
        place = next((place for place in roster.places if place.stage == venue.stage), None)
        if not venue.broker.is_real_money:
            return _Holder(place, None) if place else None
        voice = self._floor.voice
        permitted = self._permit(venue.broker.account_id(), now)
        voice.over("live.permission")
        if permitted.reasons or place is None or permitted.model != place.model:
            voice.info("live.closed", "no real money is traded. " + "; ".join(permitted.reasons))
            return None
        voice.over("live.closed")
        return _Holder(place, permitted.capital_usd)

    def _say_failures(self) -> None:
        for account in self._floor.accounts.values():
            if account.model not in self._floor.models.failures:
                self._floor.voice.over(f"model.{account.model}")
        for model, why in self._floor.models.failures.items():
            self._floor.voice.critical(f"model.{model}", f"{model} cannot be loaded and does not decide: {why}")
