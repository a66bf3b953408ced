"""`cappuccino trade`: the trading process."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from cappuccino.commands.common import settings_of

if TYPE_CHECKING:
    import sqlite3

    from cappuccino.settings import Settings
    from cappuccino.trading.trader import Trader


@click.command()
@click.option("--once", is_flag=True, help="Look at the market once, follow the orders of it, and end.")
@click.pass_context
def trade(ctx: click.Context, once: bool) -> None:
    """Trade on paper, and with real money past every gate: one look a minute, a decision on each closed bar.

    Every model in sandbox and production has an account of its own. The trader looks at the market every
    `trader.poll_s` seconds, and checks stops at every look. Real money needs profile live, `live.enabled`, a confirmed
    account and capital step, and the green light: see `cappuccino live status`. Ctrl-C ends it after the look that is
    under way; `cappuccino kill` stops trading.
    """
    from cappuccino.clock import SystemClock
    from cappuccino.credentials import secret
    from cappuccino.settings import chosen_file
    from cappuccino.trading.assemble import assembled
    from cappuccino.trading.loop import run
    from cappuccino.trading.presence import Heartbeat, only_trader
    from cappuccino.watch.channels import VARIABLE, Sender, channels_of

    settings = settings_of(ctx)
    stop, clock = threading.Event(), SystemClock()
    with only_trader(settings.desk), _EndedBySignals(stop):
        beat = Heartbeat(settings.desk)
        beat("start")

        def sleep(seconds: float) -> None:
            beat(beat.phase)
            stop.wait(seconds) if not stop.is_set() else time.sleep(seconds)

        def say(text: str) -> None:
            click.echo(f"{clock.now():%F %T} {text}")

        config = chosen_file(ctx.find_root().obj.get("config"))
        channels, wrong = channels_of(secret(VARIABLE, config))
        sender = Sender(channels, say, timeout_s=settings.alerts.timeout_s)
        for reason in wrong:
            say(reason)
        with assembled(
            settings, config=config, clock=clock, sleep=sleep, beat=beat, send=sender.send, show=say
        ) as trader:
            say(_welcome(settings))
            run(trader, beat, stop, once=once, on_poll=_reporter(trader, say))
        sender.close(5.0)
        say("ended")


def _welcome(settings: Settings) -> str:
    simulated = " (simulated market: no price of it ever traded)" if settings.is_simulated else ""
    money = "real money is switched on" if settings.live.enabled else "no real money"
    return f"trading on {settings.market.source}{simulated}, a look every {settings.trader.poll_s:g} s; {money}"


def _reporter(trader: Trader, say: Callable[[str], None]) -> Callable[[float], None]:
    """Return what tells, after a poll, of new decisions, and of all accounts now and then."""
    seen = {"version": trader.floor.ledger.version, "told_s": -1e9}

    def report(took_s: float) -> None:
        ledger = trader.floor.ledger
        for row in ledger.rows("select * from decisions where version > ? order by version", seen["version"]):
            found = ledger.rows("select * from orders where decision = ? order by recorded_us, rowid", row["decision"])
            for line in _decided(row, found):
                say(line)
        seen["version"] = ledger.version
        if time.monotonic() - seen["told_s"] >= 600.0:
            seen["told_s"] = time.monotonic()
            say(_standing(trader, took_s))

    return report


def _decided(row: sqlite3.Row, orders: list[sqlite3.Row]) -> list[str]:
    """Return a decision in one line, and one for each of its orders."""
    head = f"{row['account']}: {row['kind']} decision"
    if not orders:
        return [f"{head}, no order"]
    lines = [f"{head}, {len(orders)} order{'s' if len(orders) > 1 else ''}"]
    for order in orders:
        side = "buy" if order["side"] > 0 else "sell"
        units, filled = float(order["units"]), float(order["filled_units"])
        reason = f" ({order['reason']})" if order["reason"] else ""
        lines.append(f"  {side} {units:.6g} {order['symbol']}: {order['state']}, {filled:.6g} filled{reason}")
    return lines


def _standing(trader: Trader, took_s: float) -> str:
    """Return what all accounts are worth, in one line."""
    from cappuccino.market.quotes import mids_usd

    mids = mids_usd(trader.floor.look.quotes)
    known = [one for one in trader.floor.accounts.values() if set(one.symbols) <= set(mids)]
    values = [f"{one.key} ({one.stage}) {float(one.state.value(one.prices(mids))[0]):,.2f} USD" for one in known]
    who = "; ".join(values) or "nobody is in sandbox or production; bring a model there: `cappuccino run`"
    return f"look {trader.n_polls} took {took_s:.2f} s: {who}"


class _EndedBySignals:
    """SIGINT and SIGTERM set an event instead of breaking off: what is under way is finished and stored."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop

    def __enter__(self) -> None:
        self._before = {number: signal.signal(number, self._end) for number in (signal.SIGINT, signal.SIGTERM)}

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _end(self, number: int, frame: object) -> None:
        self._stop.set()
