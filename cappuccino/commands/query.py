"""`cappuccino sql`: questions to the published copy, while anything else runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cappuccino.commands.common import json_text, settings_of, show, warehouse_of
from cappuccino.errors import UsageError, WarehouseBusy
from cappuccino.settings import Settings

if TYPE_CHECKING:
    import polars as pl


@click.command()
@click.argument("query")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@click.option("--no-refresh", is_flag=True, help="Ask the copy as it is, even when the warehouse has moved on.")
@click.pass_context
def sql(ctx: click.Context, query: str, as_json: bool, as_csv: bool, no_refresh: bool) -> None:
    """Ask the warehouse in SQL; the answer comes from published.duckdb, a copy that no writer waits for.

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
        click.echo(_csv(frame), nl=False)
    elif as_json:
        click.echo(json_text(frame.to_dicts()))
    else:
        show(frame, f"{len(frame)} row{'s' if len(frame) != 1 else ''}", as_json=False)


def refresh(settings: Settings) -> None:
    """Publish the warehouse again when it is newer than the copy; a busy warehouse leaves the copy as it is."""
    database, published = settings.database, settings.published
    if database.is_file() and published.is_file() and published.stat().st_mtime_ns >= database.stat().st_mtime_ns:
        return
    try:
        warehouse_of(settings, timeout_s=5.0).publish(published)
    except WarehouseBusy:
        if not published.is_file():
            raise


def _csv(frame: pl.DataFrame) -> str:
    """Return CSV; a list or struct, which CSV does not know, is JSON in its cell."""
    import polars as pl

    nested = [name for name, kind in frame.schema.items() if kind.is_nested()]
    texts = {name: [None if v is None else json_text(v, indent=None) for v in frame[name].to_list()] for name in nested}
    return frame.with_columns(**{name: pl.Series(cells, dtype=pl.String) for name, cells in texts.items()}).write_csv()


def answer(settings: Settings, query: str) -> pl.DataFrame:
    """Return the rows of `query`; raises WarehouseError with DuckDB's words for a wrong one."""
    from cappuccino.store.warehouse import Warehouse

    return Warehouse(settings.published).query(query)
