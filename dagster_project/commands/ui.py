"""`cappuccino ui`: Dagster's own pages on this warehouse."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from cappuccino.commands.common import settings_of
from cappuccino.credentials import ENV_FILE
from cappuccino.settings import PREFIX, Settings, chosen_file

ROOT = Path(__file__).resolve().parents[2]
"""Where Dagster starts: workspace.yaml names its folder relative to that."""
WORKSPACE = "workspace.yaml"


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), default=3000, show_default=True)
@click.pass_context
def ui(ctx: click.Context, port: int) -> None:
    """Open the Dagster UI on this warehouse; Ctrl-C ends it."""
    from dagster_project.instance import prepare_home

    settings = settings_of(ctx)
    prepare_home(settings.warehouse)
    os.environ.update(environment_of(settings, config_of(ctx)))
    os.chdir(ROOT)
    os.execv(sys.executable, [sys.executable, "-m", "dagster", "dev", "-w", WORKSPACE, "-p", str(port)])


def config_of(ctx: click.Context) -> Path | None:
    """Return the configuration file in use, None without one."""
    return chosen_file(ctx.find_root().obj.get("config"))


def environment_of(settings: Settings, file: Path | None) -> dict[str, str]:
    """Return the variables that lead a process in another folder to the same settings, read from `file`."""
    paths = {"CONFIG": file, "WAREHOUSE": settings.warehouse, "MARKET__PATH": settings.market.path}
    named = {f"{PREFIX}{key}": str(path.absolute()) for key, path in paths.items() if path is not None}
    if os.environ.get(ENV_FILE):
        named[ENV_FILE] = str(Path(os.environ[ENV_FILE]).absolute())
    return {**named, f"{PREFIX}PROFILE": settings.profile}
