"""What people ask of a trader that runs: files in its folder, done at its next poll.

adopt    take the venue's figures into our book
resume   begin anew what waits for a person: the drawdown breaker, a mismatch
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from pathlib import Path

from cappuccino.errors import BrokerError, TraderError
from cappuccino.market.quotes import mids_usd
from cappuccino.risk.limits import reset_breaker
from cappuccino.trading.floor import Floor, event
from cappuccino.trading.reconcile import differences, taken_over
from cappuccino.trading.switches import write_whole

FOLDER = "requests"


class Request(StrEnum):
    ADOPT = "adopt"
    RESUME = "resume"


def ask(folder: Path, request: Request) -> Path:
    """Leave a request for the trader; it takes the file away when it has done it."""
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    file = folder / FOLDER / request.value
    write_whole(file, "")
    return file


def wait_until_done(file: Path, timeout_s: float, sleep: Callable[[float], None] = time.sleep) -> bool:
    """Return whether the trader has done a request within `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while file.exists() and time.monotonic() < deadline:
        sleep(0.2)
    return not file.exists()


def is_asked(folder: Path) -> bool:
    """Return whether a request waits."""
    return any((folder / FOLDER / request.value).exists() for request in Request)


def obey(floor: Floor) -> list[str]:
    """Do what was asked for; return what was done, in words. What cannot be done now stays asked for."""
    done = []
    for request, act in ((Request.ADOPT, adopt), (Request.RESUME, resume)):
        file = floor.settings.desk / FOLDER / request.value
        if not file.exists():
            continue
        try:
            done += act(floor)
        except (BrokerError, TraderError) as error:
            floor.voice.warn(f"request.{request}", f"{request} waits: {error}")
            continue
        floor.voice.over(f"request.{request}")
        file.unlink(missing_ok=True)
    return done


def adopt(floor: Floor) -> list[str]:
    """Take what the venues say into our book; return each difference in words.

    Raises BrokerError when a venue does not answer, TraderError while orders are under way or a price is missing.
    """
    lines = []
    mids = mids_usd(floor.look.quotes)
    for account in list(floor.accounts.values()):
        if account.is_virtual or account.broker not in floor.venues:
            continue
        if not set(account.symbols) <= set(mids):
            raise TraderError(f"a price of {account.key} is missing; try again when the market is seen")
        if floor.dealer(account).has_open(account):
            # What such an order has filled is in the venue's figures already, and would be booked once more.
            raise TraderError(f"orders of {account.key} are under way; try again when they have ended")
        found = differences(account, floor.broker(account).holdings(), mids, floor.settings.trader)
        floor.store(replace(taken_over(account, found, mids, all_of_them=True), trouble=""))
        lines += [f"{account.key}: {one}, the venue's figure counts now" for one in found]
    return lines


def resume(floor: Floor) -> list[str]:
    """Let accounts buy again whose drawdown breaker has fired; the others keep the peak that theirs looks at."""
    lines = []
    for account in list(floor.accounts.values()):
        if not bool(account.state.is_broken.any()):
            continue
        lines.append(f"{account.key}: the drawdown breaker is reset; the highest value counts from now on")
        with floor.ledger.write() as entry:
            event(entry, floor.clock.now(), account.key, "resumed", "", "by a person")
        floor.store(replace(account, state=reset_breaker(account.state)))
    return lines
