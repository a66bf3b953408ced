"""The commands that need Dagster: run, materialize, assets, ui. They import it late, so that help is instant."""

from __future__ import annotations

import difflib
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cappuccino.commands.common import (
    as_json_option,
    json_text,
    market_label,
    production_figures,
    settings_of,
    show,
    warehouse_of,
)
from cappuccino.errors import ConfigError, UnknownName, UsageError
from cappuccino.settings import PREFIX, Settings, chosen_file, differences, utc

if TYPE_CHECKING:
    import dagster as dg
    import polars as pl

    from cappuccino.store.warehouse import Reader

BARS = "market/bars"


@click.command()
@click.option("--source", type=click.Choice(["simulated", "files"]), help="Where bars come from [default: simulated].")
@click.option("--path", type=click.Path(path_type=Path), help="File or folder for --source files.")
@click.option(
    "--symbols",
    help="Comma-separated pairs, such as BTC/USD,ETH/USD [default: all of a file, else the configured].",
)
@click.option("--from", "start", help="First day (UTC).")
@click.option("--to", "end", help="End of the record (UTC), exclusive.")
@click.option("--trials", type=int, help="Most trials of the study, up to 1000.")
@click.option("--timeframe-trials", type=int, help="Trials of the timeframe search, up to 100.")
@click.option("--workers", type=int, help="Trials at the same time.")
@click.option("--seed", type=int, help="Seed of market and training.")
@as_json_option
@click.pass_context
def run(ctx: click.Context, /, as_json: bool, **options: Any) -> None:
    """Run the whole life of a model: bars to a production agent on paper.

    Bars, checks, features, timeframe search, trials, arena, sandbox, production; without options on the simulated
    market, in about four minutes. The end of the record is held back from training for sandbox and production to trade.
    """
    from dagster_project.materialization import materializer
    from dagster_project.pipeline import run_pipeline

    started_s = time.monotonic()
    settings = settings_of(ctx, overrides_of(**options))
    settings.warehouse.mkdir(parents=True, exist_ok=True)

    def say(line: str) -> None:
        click.echo(f"[{time.monotonic() - started_s:5.0f} s] {line}", err=True)

    for line in introduction(settings):
        say(line)
    with materializer(settings) as runs:
        run_pipeline(settings, runs, say)
    with warehouse_of(settings).read() as reader:
        outcome, label = _outcome(reader), market_label(reader)
    report = (settings.warehouse / "report.html").absolute()
    if as_json:
        plain = {name: frame.to_dicts() for name, frame in outcome.items()}
        click.echo(
            json_text(
                {
                    **plain,
                    "report": report,
                    "simulated": settings.is_simulated,
                    "seconds": time.monotonic() - started_s,
                }
            )
        )
        return
    show(outcome["stages"], f"Stages{label}", as_json=False, empty="no model was trained")
    empty = f"nobody has got there; a model has to beat {settings.arena.streak} others in a row in the arena"
    show(
        outcome["production"],
        f"Production on paper beside the baselines, same bars and costs{label}",
        as_json=False,
        empty=empty,
    )
    click.echo(f"Report: {report}")
    say("done")


def overrides_of(
    source: str | None,
    path: Path | None,
    symbols: str | None,
    start: str | None,
    end: str | None,
    trials: int | None,
    timeframe_trials: int | None,
    workers: int | None,
    seed: int | None,
) -> dict[str, dict[str, Any]]:
    """Return the settings that `run`'s options change."""
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


def introduction(settings: Settings) -> list[str]:
    """Return what the user should know before it starts."""
    market = (
        "SIMULATED market: no bar of it ever traded" if settings.is_simulated else f"bars of {settings.market.path}"
    )
    lines = [f"Cappuccino, profile {settings.profile}, {market}, paper money only"]
    changed = differences(settings)
    if changed:
        lines.append(f"profile {settings.profile} shrinks the specification's numbers:")
        lines += [f"  {key}: {_short(used)} instead of {_short(specified)}" for key, specified, used in changed]
    return lines


def _short(value: Any) -> str:
    if value is None:
        return "the record's own end"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _outcome(reader: Reader) -> dict[str, pl.DataFrame]:
    return {
        "stages": reader.query(
            """
            select stage, count(*) as models, arg_max(study || '/' || trial, sequence) as newest_model,
                max(since_utc) as since_utc, arg_max(reason, sequence) as reason
            from promotion.stages group by stage
            order by list_position(['arena', 'sandbox', 'production', 'live', 'retired'], stage)
            """
        ),
        # The long table is `cappuccino production`.
        "production": production_figures(reader).drop("slippage_usd", "from_utc", "to_utc"),
    }


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="ASSET...")
@click.option("--partitions", help="Days of bars, FROM..TO (both included) or one day.")
@as_json_option
@click.pass_context
def materialize(ctx: click.Context, names: tuple[str, ...], partitions: str | None, as_json: bool) -> None:
    """Materialise single assets: the same that the Dagster UI would run.

    ASSET is such as market/bars or lab.leaderboard. Tables that one step makes together, as lab/trials and lab/studies,
    come together.
    """
    import dagster as dg

    from dagster_project.materialization import materializer

    settings = settings_of(ctx)
    graph = _asset_graph(settings)
    known = {key.to_user_string(): key for key in graph.materializable_asset_keys}
    keys = [_known(name.replace(".", "/"), known) for name in names]
    selection = dg.AssetSelection.assets(*keys).required_multi_asset_neighbors()
    made = sorted(key.to_user_string() for key in selection.resolve(graph))
    days = _days(partitions, BARS in made)
    settings.warehouse.mkdir(parents=True, exist_ok=True)
    with materializer(settings) as runs:
        outcome = runs.materialize(selection, days)
    done = {"run": outcome.run_id, "assets": made, "failed_checks": list(outcome.failed_checks)}
    if as_json:
        click.echo(json_text(done))
        return
    click.echo(f"materialised {', '.join(made)} in run {outcome.run_id}")
    for failed in outcome.failed_checks:
        click.echo(f"check failed: {failed}", err=True)


@click.command()
@as_json_option
@click.pass_context
def assets(ctx: click.Context, as_json: bool) -> None:
    """List the assets that can be materialised, by group."""
    import polars as pl

    graph = _asset_graph(settings_of(ctx))
    rows = [
        {
            "asset": key.to_user_string(),
            "group": graph.get(key).group_name,
            "partitions": "day" if graph.get(key).is_partitioned else "",
            "description": (graph.get(key).description or "").strip().splitlines()[0],
        }
        for key in sorted(graph.materializable_asset_keys)
    ]
    show(pl.DataFrame(rows), "Assets", as_json=as_json)


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), default=3000, show_default=True)
@click.pass_context
def ui(ctx: click.Context, port: int) -> None:
    """Open the Dagster UI on this warehouse; Ctrl-C ends it."""
    from dagster_project.instance import prepare_home

    settings = settings_of(ctx)
    prepare_home(settings.warehouse)
    root = Path(__file__).resolve().parents[1]
    os.environ.update(environment_of(settings, chosen_file(ctx.find_root().obj.get("config"))))
    # workspace.yaml names its folder relative to where Dagster starts.
    os.chdir(root)
    os.execv(sys.executable, [sys.executable, "-m", "dagster", "dev", "-w", "workspace.yaml", "-p", str(port)])


def environment_of(settings: Settings, file: Path | None) -> dict[str, str]:
    """Return the variables that lead a process in another folder to the same settings, read from `file`."""
    paths = {"CONFIG": file, "WAREHOUSE": settings.warehouse, "MARKET__PATH": settings.market.path}
    named = {f"{PREFIX}{key}": str(path.absolute()) for key, path in paths.items() if path is not None}
    return {**named, f"{PREFIX}PROFILE": settings.profile}


def _asset_graph(settings: Settings) -> Any:
    from dagster_project.definitions import build_definitions

    return build_definitions(settings).resolve_asset_graph()


def _known(name: str, known: dict[str, dg.AssetKey]) -> dg.AssetKey:
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=3) or sorted(known)[:5]
    raise UnknownName(f"no asset {name!r}; did you mean {', '.join(near)}? `cappuccino assets` lists all")


def _days(partitions: str | None, needs_days: bool) -> tuple[str, str] | None:
    if needs_days != (partitions is not None):
        raise UsageError(f"--partitions FROM..TO says which days of {BARS}; that asset needs it, and no other has days")
    if partitions is None:
        return None
    first, _, last = partitions.partition("..")
    start, stop = utc(first), utc(last or first)
    if stop < start:
        raise ConfigError(f"--partitions {partitions}: the end is before the start")
    from assets.partitions import FIRST_DAY

    if f"{start:%F}" < FIRST_DAY:
        raise UnknownName(f"partition {start:%F} does not exist; days begin with {FIRST_DAY}")
    return f"{start:%F}", f"{stop:%F}"
