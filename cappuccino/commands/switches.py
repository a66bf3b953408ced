"""`cappuccino kill` and `resume`: the kill switch, for people and scripts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from cappuccino.commands.common import as_json_option, json_text, settings_of
from cappuccino.errors import CappuccinoError, ConfigError, TraderError
from cappuccino.settings import Settings, chosen_file

if TYPE_CHECKING:
    from cappuccino.trading.switches import Kill
    from cappuccino.trading.takeover import Carried
    from cappuccino.watch.alerts import Alerts

ALERT = "desk.kill"
FLUSH_S = 10.0
"""Time that an alert gets to leave."""


@click.command()
@click.option("--flatten", is_flag=True, help="Sell everything as well, at the market.")
@click.option("--reason", default="by hand", show_default=True, help="Why, for those who read it later.")
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(min=0),
    default=20.0,
    show_default=True,
    help="Seconds that the trader gets to answer before this command acts in its place.",
)
@as_json_option
@click.pass_context
def kill(ctx: click.Context, flatten: bool, reason: str, wait_s: float, as_json: bool) -> None:
    """Stop trading: cancel open orders and send none that adds risk, until `cappuccino resume`.

    A trader that does not answer is ended, and this command acts in its place. Exit code 0: all is done. 1: the switch
    is set, but not everything could be done; look at the message, and call again.
    """
    from cappuccino.clock import SystemClock
    from cappuccino.trading.switches import KILL, Kill, operator, write_kill

    settings = _settings_of(ctx)
    order = write_kill(settings.desk, Kill(SystemClock().now(), reason, operator(), flatten))
    click.echo(f"the kill switch is set: {settings.desk / KILL}", err=True)
    done, error = None, ""
    try:
        done = _carry_out(settings, order, wait_s)
    except CappuccinoError as failure:
        error = str(failure)
    if done is None or done.by == "command":  # a trader that obeys says so itself
        _with_alerts(ctx, settings, lambda alerts: _raise(alerts, order))
    if as_json:
        click.echo(json_text({"killed": asdict(order), "done": asdict(done) if done else None, "error": error or None}))
    else:
        for line in _in_words(done) if done else ():
            click.echo(line)
    if done is None or not done.is_done:
        raise TraderError(f"the switch is set and nothing is bought, but not everything is done. {error}".strip())


@click.command()
@click.option("--reason", default="by hand", show_default=True, help="Why, for those who read it later.")
@as_json_option
@click.pass_context
def resume(ctx: click.Context, reason: str, as_json: bool) -> None:
    """Clear the kill switch and every stop that lasts until a person looks, and say what still stops trading."""
    from cappuccino.clock import SystemClock
    from cappuccino.trading.emergency import resume as resume_desk
    from cappuccino.trading.switches import clear_kill, operator, write_kill

    settings = _settings_of(ctx)
    was = clear_kill(settings.desk, reason, operator(), SystemClock().now())
    try:
        lines = resume_desk(settings)
    except BaseException:
        if was is not None:
            write_kill(settings.desk, was)
        raise
    _with_alerts(ctx, settings, lambda alerts: alerts.resolve(ALERT, f"trading resumed by {operator()}: {reason}"))
    if as_json:
        click.echo(json_text({"was": asdict(was) if was else None, "lines": lines}))
        return
    click.echo(f"the kill switch of {was.at:%F %T} UTC is cleared ({was.reason})" if was else "no kill switch was set")
    for line in lines:
        click.echo(line)


def _settings_of(ctx: click.Context) -> Settings:
    """Return the settings; raises ConfigError that says how to stop trading without any."""
    try:
        return settings_of(ctx)
    except ConfigError as error:
        raise ConfigError(
            f"{error}\nNothing was changed. `touch WAREHOUSE/desk/KILL` stops trading whatever the configuration is"
        ) from None


def _carry_out(settings: Settings, order: Kill, wait_s: float) -> Carried:
    from cappuccino.trading.takeover import Patience, carry_out

    def take_over() -> list[str]:
        # Half of Cappuccino: the trader is waited for before it is imported, and obeys without it.
        from cappuccino.trading.emergency import cancel_and_flatten

        return cancel_and_flatten(settings, order.flatten)

    return carry_out(settings.desk, order, take_over, Patience(wait_s))


def _in_words(done: Carried) -> list[str]:
    if done.by == "trader":
        first = f"the trader (process {done.trader_pid}) has obeyed"
    elif done.trader_pid is None:
        first = "no trader runs; done by this command"
    else:
        first = f"the trader (process {done.trader_pid}) did not answer and was ended; done by this command"
    return [first, *(f"  {line}" for line in done.lines)]


def _raise(alerts: Alerts, order: Kill) -> None:
    from cappuccino.watch.alerts import Severity

    flatten = ", and sells everything" if order.flatten else ""
    alerts.raise_(ALERT, Severity.CRITICAL, f"kill switch set by {order.by}{flatten}: {order.reason}")


def _with_alerts(ctx: click.Context, settings: Settings, act: Callable[[Alerts], object]) -> None:
    """Call `act` with the alerts of people's commands, then let them leave; without channels where those are broken."""
    from cappuccino.clock import SystemClock
    from cappuccino.watch.alerts import AlertFile, Alerts
    from cappuccino.watch.channels import Sender, alerts_of

    file = AlertFile(settings.desk)
    try:
        config = chosen_file(ctx.find_root().obj.get("config"))
        alerts, sender = alerts_of(settings.alerts, SystemClock(), file.append, _warn, past=file.read(), config=config)
    except ConfigError as error:
        _warn(str(error))
        sender = Sender((), _warn)
        alerts = Alerts(SystemClock(), file.append, sender.send, past=file.read())
    act(alerts)
    if not sender.close(FLUSH_S):
        _warn("the alert has not left yet")


def _warn(line: str) -> None:
    click.echo(f"warning: {line}", err=True)
