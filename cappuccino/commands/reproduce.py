"""Train a model again and compare it bit by bit."""

from __future__ import annotations

import click

from cappuccino.commands.common import (
    as_json_option,
    json_text,
    market_label,
    model_argument,
    present,
    settings_of,
    show,
    warehouse_of,
)


@click.command()
@model_argument
@click.option(
    "--force", is_flag=True, help="Go on with other code or packages than it ran with; never with other bars."
)
@as_json_option
@click.pass_context
def reproduce(ctx: click.Context, model: str, force: bool, as_json: bool) -> None:
    """Train a trial again and compare weights, equity and scores with what was stored, bit by bit.

    With its own seed, hyper-parameters and settings; the original stays as it is. Exit code 1 when anything differs.
    Every reproduction is kept in lab.reproductions.
    """
    import polars as pl

    from cappuccino.registry.identity import ModelId
    from cappuccino.search.reproduce import reproduce as train_again

    settings = settings_of(ctx)
    warehouse = warehouse_of(settings)
    with warehouse.read() as reader:
        now, label = present(reader), market_label(reader)
    made = train_again(
        warehouse, settings, ModelId.parse(model), now, lambda line: click.echo(line, err=True), force=force
    )
    rows = [
        {"figure": one.what, "stored": one.stored, "now": one.found, "answer": "equal" if one.is_equal else "DIFFERENT"}
        for one in made.compared
    ]
    if as_json:
        click.echo(
            json_text(
                {"model": model, "equal": made.is_equal, "device": made.device, "notes": made.notes, "compared": rows}
            )
        )
    else:
        show(pl.DataFrame(rows), f"{model} trained again on {made.device}{label}", as_json=False)
        for note in made.notes:
            click.echo(f"note: {note}")
        click.echo("equal: it reproduces" if made.is_equal else "DIFFERENT: it does not reproduce")
    if not made.is_equal:
        ctx.exit(1)
