"""`cappuccino ui`: Dagster's own pages on this warehouse."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from cappuccino.commands.common import settings_of
from cappuccino.settings import PREFIX, Settings, chosen_file


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), default=3000, show_default=True)
@click.pass_context
def ui(ctx: click.Context, port: int) -> None:
    """Open the Dagster UI on this warehouse; Ctrl-C ends it."""
    from dagster_project.instance import prepare_home

    settings = settings_of(ctx)
    prepare_home(settings.warehouse)
    root = Path(__file__).resolve().parents[2]
    os.environ.update(environment_of(settings, chosen_file(ctx.find_root().obj.get("config"))))
    # workspace.yaml names its folder relative to where Dagster starts.
    os.chdir(root)
    os.execv(sys.executable, [sys.executable, "-m", "dagster", "dev", "-w", "workspace.yaml", "-p", str(port)])


def environment_of(settings: Settings, file: Path | None) -> dict[str, str]:
    """Return the variables that lead a process in another folder to the same settings, read from `file`."""
    paths = {"CONFIG": file, "WAREHOUSE": settings.warehouse, "MARKET__PATH": settings.market.path}
    named = {f"{PREFIX}{key}": str(path.absolute()) for key, path in paths.items() if path is not None}
    return {**named, f"{PREFIX}PROFILE": settings.profile}
