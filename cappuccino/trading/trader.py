"""The trader: sandbox, production and real money in one process, on one feed, through the engine of the backtest.

    poll:  quotes -> who trades -> orders under way -> venue against book -> bars -> decide or protect -> keep

An account decides once on each closed bar, and is protected at every poll. What is stored is what a start finds: a
start after a crash is a poll like any other.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from cappuccino.market.quotes import mids_usd
from cappuccino.trading import requests
from cappuccino.trading.deciding import Deciding
from cappuccino.trading.desk_account import DeskAccount, store_account
from cappuccino.trading.floor import Floor
from cappuccino.trading.guard import Guard
from cappuccino.trading.killing import Killing
from cappuccino.trading.ledger import to_us
from cappuccino.trading.shown_state import position_rows
from cappuccino.trading.staff import Permit, ReadRoster, Staff
from cappuccino.trading.switches import read_kill
from cappuccino.trading.watching import Watching

SLOW = timedelta(seconds=5)
"""Time that bars may take to arrive before prices are looked at again."""
KEPT = timedelta(days=30)
"""How long what is only looked at stays in the ledger; the warehouse keeps it for good."""


class Trader:
    """One look at the market after the other. Expected failures end in the floor's voice, never in an exception."""

    def __init__(self, floor: Floor, read_roster: ReadRoster | None, permit: Permit) -> None:
        self.floor = floor
        self._guard = Guard(floor.settings.trader)
        self._staff, self._watching = Staff(floor, read_roster, permit), Watching(floor)
        self._deciding = Deciding(floor)
        self._killing = Killing(floor, self._deciding)
        # What positions were last worth counts until there is a quote: orders can then be followed without one.
        rows = floor.ledger.rows("select symbol, price_usd from positions order by at_us")
        self._last_prices = {row["symbol"]: row["price_usd"] for row in rows}
        self.n_polls = 0
        self.is_obeyed = True
        """False while the kill switch has not been obeyed to the end."""

    def poll(self) -> None:
        """Look at the market once, and do what follows."""
        floor, now = self.floor, self.floor.clock.now()
        self.n_polls += 1
        kill = read_kill(floor.settings.desk)
        floor.voice.next_look()
        floor.beat("quotes")
        floor.feed.widen(symbol for account in floor.accounts.values() for symbol in account.symbols)
        self.see(now)
        floor.beat("who trades")
        self._staff.update(now)
        self._say_troubles()
        self._follow(now)
        for line in requests.obey(floor):
            floor.say(line)
        if kill:
            self.is_obeyed = self._killing.obey(kill, now)
            self._protect(list(floor.accounts), now)
        else:
            floor.voice.over("kill")
            self._advance(now)
        self._keep(now)

    def work(self) -> bool:
        """Follow the orders that are under way, between two polls; return whether there are any left."""
        floor = self.floor
        busy = [account for account in floor.accounts.values() if floor.dealer(account).has_open(account)]
        if not busy:
            return False
        self.see(floor.clock.now())
        for account in busy:
            floor.beat(f"orders of {account.key}")
            floor.accounts[account.key] = floor.dealer(account).work(account, floor.look.quotes)
        return any(floor.dealer(account).has_open(account) for account in busy)

    def see(self, now: datetime | None = None) -> None:
        """Look at the prices of now."""
        feed = self.floor.feed
        closes = {**self._last_prices, **feed.closes}
        self.floor.look = self._guard.look(
            feed.symbols, feed.quotes(), closes, now or self.floor.clock.now(), feed.closed_at
        )

    def _follow(self, now: datetime) -> None:
        """Ask what became of orders, and hold the venues against our book."""
        floor = self.floor
        for key, account in list(floor.accounts.items()):
            floor.beat(f"orders of {key}")
            dealer = floor.dealer(account)
            self._watching.read_news(account, dealer, now)
            account = floor.accounts[key] = dealer.work(account, floor.look.quotes)
            floor.say_answers(account, dealer.failure)
            if set(account.symbols) <= set(floor.look.quotes):
                self._watching.compare(account, dealer, now)

    def _advance(self, now: datetime) -> None:
        """Protect the accounts, and let those decide for which a bar has closed: stops do not wait for bars."""
        floor = self.floor
        due = [key for key, account in floor.accounts.items() if self._decides_now(account, now)]
        self._protect([key for key in floor.accounts if key not in due], now)
        floor.beat("bars")
        floor.feed.update(floor.needed(), now)
        if floor.clock.now() - now > SLOW:  # the prices of before are no prices to order at
            now = floor.clock.now()
            self.see(now)
        for key in due:
            if key in floor.accounts:
                floor.beat(f"decision of {key}")
                self._deciding.advance(floor.accounts[key], now)

    def _decides_now(self, account: DeskAccount, now: datetime) -> bool:
        if self._staff.is_left(account) or not self._staff.may_decide(account):
            return False
        return self._deciding.is_due(account, now)

    def _protect(self, keys: list[str], now: datetime) -> None:
        """Check the stops of accounts: what lowers risk is sold under the kill switch as well.

        What nobody may trade any more is sold whole.
        """
        floor = self.floor
        for key in keys:
            account = floor.accounts[key]
            floor.beat(f"stops of {key}")
            if self._staff.is_left(account):
                floor.voice.warn(f"{key}.left", f"nobody may trade on {key} any more; its positions are sold")
                self._killing.sell_all(account, "left", now)
            else:
                floor.voice.over(f"{key}.left")
                self._deciding.protect(account, now)

    def _keep(self, now: datetime) -> None:
        """Store what every account is worth, the state of its rules, and how the calls went."""
        floor = self.floor
        mids = mids_usd(floor.look.quotes)
        with floor.ledger.write() as entry:
            for account in floor.accounts.values():
                store_account(entry, account)
                if not set(account.symbols) <= set(mids):
                    continue
                prices = account.prices(mids)
                entry.upsert(
                    "looks",
                    account=account.key,
                    at_us=to_us(now),
                    value_usd=float(account.state.value(prices)[0]),
                    cash_usd=float(account.state.cash_usd[0]),
                    exposure_frac=float(account.state.weights(prices)[0].sum()),
                )
                for row in position_rows(account, mids, now):
                    entry.upsert("positions", **row)
            for calls in (floor.feed.drain(), *(venue.broker.drain() for venue in floor.venues.values())):
                for row in calls.iter_rows(named=True):
                    entry.insert("calls", at_us=to_us(now), **row)
            for table in ("looks", "heartbeats", "events", "calls", "order_events", "fee_tiers"):
                entry.delete_before(table, "at_us", to_us(now - KEPT))

    def _say_troubles(self) -> None:
        """Say which prices are not traded on: once, and once more when they are again."""
        floor = self.floor
        traded = {symbol for account in floor.accounts.values() for symbol in account.symbols}
        for symbol in floor.feed.symbols:
            trouble = floor.look.troubles.get(symbol)
            if trouble and symbol in traded and floor.feed.failure:
                continue  # what is wrong with the feed is said once, and not for each symbol
            if trouble and symbol in traded:
                floor.voice.warn(f"price.{symbol}", f"{symbol} is not traded on: {trouble}")
            else:
                floor.voice.over(f"price.{symbol}")
        if floor.feed.failure:
            floor.voice.warn_if_it_stays("feed", f"the market feed: {floor.feed.failure}")
        else:
            floor.voice.over("feed")
