"""Selling everything: because the kill switch says so, or because nobody may trade on an account any more."""

from __future__ import annotations

import os
from datetime import datetime

from cappuccino.trading import decision as decisions
from cappuccino.trading import orders
from cappuccino.trading.deciding import Deciding
from cappuccino.trading.desk_account import DeskAccount
from cappuccino.trading.floor import Floor, is_flat
from cappuccino.trading.switches import Kill, Obeyed, write_obeyed


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
        is_done = is_done and (not kill.flatten or all(is_flat(account) for account in accounts))
        write_obeyed(folder, Obeyed(kill.at, now, os.getpid(), is_done, tuple(lines)))
        return is_done

    def _stop(self, account: DeskAccount, kill: Kill, now: datetime) -> list[str]:
        """Return what was done to one account, in words."""
        floor, key, lines = self._floor, account.key, []
        under_way = orders.open_orders(floor.ledger, key)
        if any(order.purpose is orders.Purpose.WISH for order in under_way):
            dealer = floor.dealer(account)
            account, is_clear = dealer.cancel(account, floor.look.quotes, "the kill switch is on")
            floor.accounts[key] = account
            lines.append(
                f"{key}: " + ("orders are cancelled" if is_clear else "an order has not been confirmed to end")
            )
        if kill.flatten and not is_flat(account):
            self.sell_all(account, f"kill {kill.at:%Y-%m-%dT%H:%M:%S}", now)
            is_sold = is_flat(floor.accounts[key])
            lines.append(f"{key}: " + ("everything is sold" if is_sold else "not everything is sold yet"))
        return lines

    def sell_all(self, account: DeskAccount, why: str, now: datetime) -> None:
        """Sell all that the account holds; called again, what was not sold, once the orders of before have ended."""
        floor = self._floor
        dealer = floor.dealer(account)
        if not set(account.symbols) <= set(floor.look.quotes):
            floor.voice.critical(f"{account.key}.blind", f"{account.key} cannot be sold: no price was ever seen")
            return
        if dealer.has_open(account):
            floor.accounts[account.key] = dealer.work(account, floor.look.quotes)
            return
        attempt = f"{why}/{to_attempt(floor, account, why)}"
        rules = dealer.rules.on(account.symbols)
        made = decisions.flatten(account, attempt, floor.look.quotes, dealer.instruments, rules, now)
        if made is not None:
            self._deciding.act(account, made)


def to_attempt(floor: Floor, account: DeskAccount, why: str) -> int:
    """Return how often the account was told to sell everything for this reason: orders of each time have other ids."""
    found = floor.ledger.row(
        "select count(*) as n from decisions where account = ? and kind = ? and substr(decision, 1, ?) = ?",
        account.key,
        decisions.FLATTEN,
        len(f"{account.key}#{why}/"),
        f"{account.key}#{why}/",
    )
    return int(found["n"]) if found else 0
