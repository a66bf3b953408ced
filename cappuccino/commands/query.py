"""`cappuccino sql`: questions to the published copy, while anything else runs."""

from __future__ import annotations

import os

import click

from cappuccino.commands.common import json_text, settings_of, show, warehouse_of
from cappuccino.errors import UsageError, WarehouseBusy
from cappuccino.settings import Settings


@click.command()
@click.argument("query")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@click.option("--no-refresh", is_flag=True, help="Ask the copy as it is, even when the warehouse has moved on.")
@click.pass_context
def sql(ctx: click.Context, query: str, as_json: bool, as_csv: bool, no_refresh: bool) -> None:
    """Answer QUERY from published.duckdb, a copy that no writer waits for.

    The copy is brought up to date first when the warehouse has changed. Try: "from lab.leaderboard",
    "from promotion.stages", "show all tables".
    """
    if as_json and as_csv:
        raise UsageError("--json and --csv are both given; choose one")
    settings = settings_of(ctx)
    if not no_refresh:
        refresh(settings)
    frame = answer(settings, query)
    if as_csv:
        click.echo(frame.write_csv(), nl=False)
    elif as_json:
        click.echo(json_text(frame.to_dicts()))
    else:
        show(frame, f"{len(frame)} row{'s' if len(frame) != 1 else ''}", as_json=False)


def refresh(settings: Settings) -> None:
    """Publish the warehouse again when it is newer than the copy; a busy warehouse leaves the copy as it is."""
    warehouse = warehouse_of(settings)
    warehouse.timeout_s = 5.0
    published = settings.published
    if published.exists() and os.stat(published).st_mtime_ns >= os.stat(settings.database).st_mtime_ns:  # noqa: PTH116
        return
    try:
        warehouse.publish(published)
    except WarehouseBusy:
        if not published.exists():
            raise


def answer(settings: Settings, query: str):  # type: ignore[no-untyped-def]  # polars is imported late
    """Return the rows of `query`; raises WarehouseError with DuckDB's words for a wrong one."""
    from cappuccino.store.warehouse import Warehouse

    return Warehouse(settings.published).query(query)
