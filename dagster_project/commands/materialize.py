"""`cappuccino materialize` and `assets`: single assets, by name."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

import click

from cappuccino.commands.common import as_json_option, json_text, settings_of, show
from cappuccino.errors import ConfigError, UnknownName, UsageError
from cappuccino.settings import Settings, utc

if TYPE_CHECKING:
    import dagster as dg

BARS = "market/bars"


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
