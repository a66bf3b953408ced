"""`cappuccino up`: Dagster and the trader, kept running."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cappuccino.commands.common import settings_of
from cappuccino.errors import UsageError
from cappuccino.settings import Settings
from dagster_project.commands.ui import ROOT, WORKSPACE, config_of, environment_of

if TYPE_CHECKING:
    from cappuccino.watch.alerts import Alerts
    from cappuccino.watch.supervisor import Child, Say

FLUSH_S = 10.0
"""Time that alerts get to leave when all is over."""


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the Dagster UI [default: up.port, 3000].")
@click.option("--no-dagster", is_flag=True, help="Run the trader alone.")
@click.option("--no-trader", is_flag=True, help="Run Dagster alone.")
@click.pass_context
def up(ctx: click.Context, port: int | None, no_dagster: bool, no_trader: bool) -> None:
    """Run Dagster and the trader, and start again what dies or hangs.

    Ctrl-C (or SIGTERM) ends them in order, the trader first; a second one ends them at once. Their output is here and
    in WAREHOUSE/logs; docs/supervise.md says what is restarted when, and what calls a person.
    """
    from cappuccino.watch.supervisor import Stopping, Supervisor, only_one, policy_of, supervise

    if no_dagster and no_trader:
        raise UsageError("--no-dagster and --no-trader leave nothing to run; give one of them at most")
    settings = settings_of(ctx, {"up": {"port": port}} if port else None)
    config = config_of(ctx)
    parts = [*([] if no_trader else ["trader"]), *([] if no_dagster else ["dagster"])]
    log = logs_of(settings) / ("up.log" if len(parts) > 1 else f"up-{parts[0]}.log")
    with (
        only_one(settings.warehouse, parts),
        _saying(settings, log) as say,
        _alerting(settings, config, say) as alerts,
    ):
        children = [
            *([trader(settings, config)] if "trader" in parts else []),
            *(dagster(settings, config) if "dagster" in parts else []),
        ]
        supervisor = Supervisor(
            children,
            mark=str(settings.warehouse.absolute()),
            logs=logs_of(settings),
            alerts=alerts,
            say=lambda line: say(f"up | {line}"),
            policy=policy_of(settings.up),
            log_bytes=round(settings.up.log_mb * 1e6),
            echo=say,
        )
        supervise(supervisor, Stopping())


def logs_of(settings: Settings) -> Path:
    """Return the folder of the children's output."""
    return settings.warehouse / "logs"


def trader(settings: Settings, config: Path | None) -> Child:
    """Return the trader as a child, which proves by its heartbeat file that it works."""
    from cappuccino.watch.health import HEARTBEAT, HeartbeatProbe
    from cappuccino.watch.processes import Program
    from cappuccino.watch.supervisor import Child

    command = (sys.executable, "-m", "cappuccino.cli", "trade")
    program = Program("trader", command, Path.cwd(), environment_of(settings, config))
    probe = HeartbeatProbe(settings.desk / HEARTBEAT, settings.trader.hang_s)
    return Child(program, probe, settings.up.stop_s, settings.up.memory_mb, settings.up.open_files)


def dagster(settings: Settings, config: Path | None) -> list[Child]:
    """Return Dagster's daemon and its UI as two children: a UI that dies takes no run along."""
    from cappuccino.watch.health import AnswerProbe, daemons_beat, web_answers
    from cappuccino.watch.processes import Program
    from cappuccino.watch.supervisor import Child
    from dagster_project.instance import prepare_home

    home, limits = prepare_home(settings.warehouse), settings.up
    environment = {**environment_of(settings, config), "DAGSTER_HOME": str(home)}
    address = f"http://127.0.0.1:{limits.port}"
    commands = {
        "daemon": ("dagster._daemon", "run", "-w", WORKSPACE),
        "web": ("dagster_webserver", "-w", WORKSPACE, "-h", "127.0.0.1", "-p", str(limits.port)),
    }
    probes = {
        "daemon": AnswerProbe(lambda: daemons_beat(address, limits.daemon_hang_s, time.time()), limits.daemon_hang_s),
        "web": AnswerProbe(partial(web_answers, address), limits.web_hang_s),
    }
    return [
        Child(
            Program(name, (sys.executable, "-m", *command), ROOT, environment),
            probes[name],
            limits.stop_s,
            limits.memory_mb,
            limits.open_files,
            is_outlived=name == "daemon",
        )
        for name, command in commands.items()
    ]


@contextmanager
def _saying(settings: Settings, file: Path) -> Iterator[Say]:
    """Yield what takes lines for the terminal; those of the supervisor go to its log as well."""
    from cappuccino.watch.processes import RotatingFile
    from cappuccino.watch.supervisor import Terminal

    log = RotatingFile(file, round(settings.up.log_mb * 1e6))
    terminal = Terminal(click.echo)

    def say(line: str) -> None:
        stamped = f"{time.strftime('%H:%M:%S')} {line}"
        if line.startswith("up | "):
            log.write(f"{time.strftime('%F')} {stamped}\n".encode())
        terminal.say(stamped)

    try:
        yield say
    finally:
        terminal.close(timeout_s=1.0)


@contextmanager
def _alerting(settings: Settings, config: Path | None, say: Say) -> Iterator[Alerts]:
    """Yield the supervisor's alerts; at the end they get a moment to leave."""
    from cappuccino.clock import SystemClock
    from cappuccino.watch.alerts import AlertFile
    from cappuccino.watch.channels import alerts_of

    file = AlertFile(settings.desk)
    alerts, sender = alerts_of(
        settings.alerts,
        SystemClock(),
        file.append,
        lambda line: say(f"up | {line}"),
        past=file.read(),
        config=config,
    )
    try:
        yield alerts
    finally:
        if not sender.close(FLUSH_S):
            say("up | not all alerts have left")
