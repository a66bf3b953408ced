"""The options that choose a market and a study, shared by the commands that have one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

import click

from cappuccino.settings import Source, utc

Command = Callable[..., Any]


def market_options(command: Command) -> Command:
    """Add --source, --path and --symbols."""
    options = (
        click.option(
            "--source", type=click.Choice(get_args(Source)), help="Where bars come from [default: simulated]."
        ),
        click.option("--path", type=click.Path(path_type=Path), help="File or folder for --source files."),
        click.option(
            "--symbols",
            help="Comma-separated pairs, such as BTC/USD,ETH/USD [default: all of a file, else the configured].",
        ),
    )
    return _with(command, options)


def study_options(command: Command) -> Command:
    """Add --trials, --timeframe-trials, --workers and --seed."""
    options = (
        click.option("--trials", type=int, help="Most trials of each study, up to 1000."),
        click.option("--timeframe-trials", type=int, help="Trials of each timeframe search, up to 100."),
        click.option("--workers", type=int, help="Trials at the same time."),
        click.option("--seed", type=int, help="Seed of market and training."),
    )
    return _with(command, options)


def _with(command: Command, options: Sequence[Command]) -> Command:
    for option in reversed(options):
        command = option(command)
    return command


def overrides_of(
    source: str | None = None,
    path: Path | None = None,
    symbols: str | None = None,
    start: str | None = None,
    end: str | None = None,
    trials: int | None = None,
    timeframe_trials: int | None = None,
    workers: int | None = None,
    seed: int | None = None,
) -> dict[str, dict[str, Any]]:
    """Return the settings that these options change."""
    if path is not None and source is None:
        source = "files"
    chosen: dict[str, dict[str, Any]] = {
        "market": {
            **(_of_files(path) if source == "files" and path else {"source": source, "path": path}),
            **({"symbols": tuple(symbol.strip() for symbol in symbols.split(","))} if symbols else {}),
            "start": utc(start) if start else None,
            "end": utc(end) if end else None,
        },
        "simulated": {"seed": seed},
        "training": {"trials": trials, "workers": workers, "seed": seed},
        "timeframe": {"trials": timeframe_trials},
    }
    used = {group: {key: value for key, value in keys.items() if value is not None} for group, keys in chosen.items()}
    return {group: keys for group, keys in used.items() if keys}


def _of_files(path: Path) -> dict[str, Any]:
    """Return the market settings that files answer by themselves: their symbols and their interval."""
    from cappuccino.market.files import FileSource

    files = FileSource(path)
    return {"source": "files", "path": path, "symbols": files.symbols(), "base_interval": files.interval()}
