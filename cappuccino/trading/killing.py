"""Selling everything: because the kill switch says so, or because nobody may trade on an account any more."""

from __future__ import annotations

import os
from datetime import datetime, timedelta

from cappuccino.brokers.broker import Side
from cappuccino.trading import decision as decisions
from cappuccino.trading import orders
from cappuccino.trading.deciding import Deciding
from cappuccino.trading.decision import Decision
from cappuccino.trading.desk_account import DeskAccount
from cappuccino.trading.floor import Floor, is_flat
from cappuccino.trading.ledger import from_us
from cappuccino.trading.orders import Purpose
from cappuccino.trading.switches import Kill, Obeyed, write_obeyed

QUICK_TRIES, SLOW = 3, timedelta(seconds=30)
"""So often everything is told to be sold one poll after the other; then, with a venue that takes no sale, so rarely."""


class Killing:
    """Obeys the kill switch."""

    def __init__(self, floor: Floor, deciding: Deciding) -> None:
        self._floor, self._deciding = floor, deciding

    def obey(self, kill: Kill, now: datetime) -> bool:
        """Cancel what is open and, where that is asked for, sell everything; return whether all of it is done."""
        folder = self._floor.settings.desk
        write_obeyed(folder, Obeyed(kill.at, now, os.getpid(), False))
        self._floor.voice.critical("kill", f"the kill switch is on: {kill.reason} ({kill.by})")
        lines = [line for account in list(self._floor.accounts.values()) for line in self._stop(account, kill, now)]
        accounts = self._floor.accounts.values()
        is_done = not any(self._floor.dealer(account).has_open(account) for account in accounts)
        is_done = is_done and (not kill.flatten or all(self._is_sold(account, now) for account in accounts))
        write_obeyed(folder, Obeyed(kill.at, now, os.getpid(), is_done, tuple(lines)))
        return is_done

    def _stop(self, account: DeskAccount, kill: Kill, now: datetime) -> list[str]:
        """Return what was done to one account, in words."""
        floor, key, lines = self._floor, account.key, []
        under_way = orders.open_orders(floor.ledger, key)
        if any(order.purpose is Purpose.WISH for order in under_way):
            dealer = floor.dealer(account)
            account, is_clear = dealer.cancel(account, floor.look.quotes, "the kill switch is on")
            floor.accounts[key] = account
            lines.append(
                f"{key}: " + ("orders are cancelled" if is_clear else "an order has not been confirmed to end")
            )
        if kill.flatten and not is_flat(account):
            self.sell_all(account, f"kill {kill.at:%Y-%m-%dT%H:%M:%S}", now)
            lines.append(f"{key}: {self._sold_words(floor.accounts[key], now)}")
        return lines

    def _is_sold(self, account: DeskAccount, now: datetime) -> bool:
        """Return whether the account holds nothing but what is too small for its venue."""
        left = self._left(account, now)
        return is_flat(account) or (left is not None and not left.orders and not left.barred)

    def _sold_words(self, account: DeskAccount, now: datetime) -> str:
        left = self._left(account, now)
        why = [*left.too_small.values(), *left.barred.values()] if left else []
        words = "everything is sold" if self._is_sold(account, now) else "not everything is sold yet"
        return "; ".join([words, *why])

    def _left(self, account: DeskAccount, now: datetime) -> Decision | None:
        """Return the sale of all that the account holds; None where it holds nothing, or nothing has a price."""
        quotes, dealer = self._floor.quotes_of(account), self._floor.dealer(account)
        if quotes is None:
            return None
        rules = dealer.rules.on(account.symbols)
        return decisions.flatten(account, "left", quotes, dealer.instruments, rules, now)

    def sell_all(self, account: DeskAccount, why: str, now: datetime) -> None:
        """Sell all that the account holds, but for symbols of which a sale is under way; called until nothing is left.

        Wishes under way are asked to end, each time: a venue may not have heard.
        """
        floor, key = self._floor, account.key
        quotes = floor.quotes_of(account)
        if quotes is None:
            floor.voice.critical(f"{key}.blind", f"{key} cannot be sold: no price of what it holds was ever seen")
            return
        floor.voice.over(f"{key}.blind")
        dealer = floor.dealer(account)
        if any(order.purpose is Purpose.WISH for order in orders.open_orders(floor.ledger, key)):
            account, _ = dealer.cancel(account, floor.look.quotes, "everything is sold")
            floor.accounts[key] = account
        n_tries, latest = _tries(floor, account, why)
        if n_tries >= QUICK_TRIES and latest is not None and timedelta(0) <= now - latest < SLOW:
            return
        selling = {order.symbol for order in orders.open_orders(floor.ledger, key) if order.side is Side.SELL}
        rules = dealer.rules.on(account.symbols)
        made = decisions.flatten(account, f"{why}/{n_tries}", quotes, dealer.instruments, rules, now, selling)
        if made is not None and made.orders:
            self._deciding.act(account, made)


def _tries(floor: Floor, account: DeskAccount, why: str) -> tuple[int, datetime | None]:
    """Return how often, and when last, the account was told to sell everything for this reason.

    Orders of each time have other ids.
    """
    found = floor.ledger.row(
        "select count(*) as n, max(decided_us) as us from decisions where account = ? and kind = ? "
        "and substr(decision, 1, ?) = ?",
        account.key,
        decisions.FLATTEN,
        len(f"{account.key}#{why}/"),
        f"{account.key}#{why}/",
    )
    return (int(found["n"]), from_us(found["us"])) if found and found["n"] else (0, None)
