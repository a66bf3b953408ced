"""`cappuccino bars`: fetch bars, and look at what there is."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import click

from cappuccino.commands.common import as_json_option, json_text, market_label, settings_of, show, warehouse_of
from cappuccino.settings import Settings
from dagster_project.commands.options import market_options, overrides_of


@click.group()
def bars() -> None:
    """Fetch bars, and look at what there is."""


@bars.command()
@market_options
@click.option("--from", "start", help="First day (UTC) [default: market.history_days before now].")
@click.option("--to", "end", help="End (UTC), exclusive [default: now, or the end of the record].")
@click.option("--refetch", is_flag=True, help="Ask a venue again for bars that are stored already.")
@as_json_option
@click.pass_context
def sync(ctx: click.Context, /, refetch: bool, as_json: bool, **options: Any) -> None:
    """Fetch the bars that are missing, check them, and derive the longer intervals.

    Ask again at any time: it goes on where it stopped. Files and the simulation are always read in full.
    """
    import dagster as dg

    from assets.tables import key_of
    from dagster_project.jobs import BARS
    from dagster_project.materialization import materializer

    started_s = time.monotonic()
    settings = settings_of(ctx, overrides_of(**options))
    settings.warehouse.mkdir(parents=True, exist_ok=True)
    days = days_to_sync(settings)
    with materializer(settings, on_progress=lambda done: click.echo(str(done), err=True)) as runs:
        # Two runs: Dagster notes every day for every asset of a run that has days.
        fetched, *derived = (key_of(table) for table in BARS)
        outcome = runs.materialize(dg.AssetSelection.assets(fetched), days, only_missing=not refetch)
        runs.materialize(dg.AssetSelection.assets(*derived))
    with warehouse_of(settings).read() as reader:
        known, label = reader.query("from market.freshness"), market_label(reader)
    if as_json:
        plain = {"bars": known.to_dicts(), "run": outcome.run_id, "failed_checks": list(outcome.failed_checks)}
        click.echo(json_text({**plain, "seconds": time.monotonic() - started_s}))
        return
    show(known, f"Bars{label}", as_json=False)
    for failed in outcome.failed_checks:
        click.echo(f"check failed: {failed}", err=True)


def days_to_sync(settings: Settings) -> tuple[str, str]:
    """Return the first and the last day of the record that the settings ask for."""
    from cappuccino.market.sources import clock_of, source_of
    from cappuccino.market.sync import first_open_to_load

    source = source_of(settings)
    end = clock_of(settings.market, source).now()
    return f"{first_open_to_load(settings.market, source, end):%F}", f"{end - timedelta(microseconds=1):%F}"


@bars.command()
@as_json_option
@click.pass_context
def coverage(ctx: click.Context, as_json: bool) -> None:
    """Show how much of each symbol's time has bars, good enough for what follows or not."""
    from assets.tables import sql_file
    from cappuccino.store.models import build

    warehouse = warehouse_of(settings_of(ctx))
    with warehouse.write() as writer:  # a check that blocked has kept them from being made
        build(writer, sql_file("market.absences"))
        build(writer, sql_file("market.days"))
    with warehouse.read() as reader:
        found, label = (
            reader.query(
                """
                select
                    symbol,
                    min(day) as first_day,
                    max(day) as last_day,
                    sum(bars)::bigint as bars,
                    sum(absent_bars)::bigint as absent_bars,
                    sum(halted_bars)::bigint as halted_bars,
                    sum(zero_volume_bars)::bigint as zero_volume_bars,
                    sum(bars) / sum(expected_bars) as coverage_frac,
                    count(*) filter (where coverage_frac < 1) as days_with_holes
                from market.days group by symbol order by symbol
                """
            ),
            market_label(reader),
        )
    show(
        found,
        f"Coverage{label}",
        as_json=as_json,
        empty="no bars yet; fetch some with `cappuccino bars sync`",
    )


@bars.command()
@click.option("--all", "everything", is_flag=True, help="Days that passed, too.")
@as_json_option
@click.pass_context
def quality(ctx: click.Context, everything: bool, as_json: bool) -> None:
    """Show what the checks of bars found, day by day."""
    with warehouse_of(settings_of(ctx)).read() as reader:
        found = reader.query(
            """
            select day, symbol, "check", severity, passed, n_bad, n_checked, figure, detail
            from ops.data_quality where $everything or not passed
            order by day, symbol, "check"
            """,
            everything=everything,
        )
        label = market_label(reader)
    show(found, f"Quality{label}", as_json=as_json, empty="nothing was found")
