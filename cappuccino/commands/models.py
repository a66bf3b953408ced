"""Commands on the stages of models. Every change is a recorded decision with its reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from cappuccino.commands.common import (
    as_json_option,
    json_text,
    known_model,
    market_label,
    model_argument,
    present,
    production_figures,
    settings_of,
    show,
    warehouse_of,
)
from cappuccino.errors import StageError
from cappuccino.settings import Settings

if TYPE_CHECKING:
    from cappuccino.registry.identity import ModelId
    from cappuccino.registry.stages import Decision, StageBook

reason_option = click.option("--reason", required=True, help="Why; stored with the decision.")


@click.command()
@click.option(
    "--stage",
    type=click.Choice(["arena", "sandbox", "production", "live", "retired"]),
    help="Only this stage.",
)
@as_json_option
@click.pass_context
def stages(ctx: click.Context, stage: str | None, as_json: bool) -> None:
    """Show where every model stands, since when and why."""
    with warehouse_of(settings_of(ctx)).read() as reader:
        rows = reader.query(
            """
            select study || '/' || trial as model, stage, since_utc, reason
            from promotion.stages where $stage is null or stage = $stage
            """,
            stage=stage,
        )
        title = f"Stages{market_label(reader)}"
    empty = f"no model is in {stage} now" if stage else "no model has entered the arena yet"
    show(rows, title, as_json=as_json, empty=empty)


@click.command()
@as_json_option
@click.pass_context
def production(ctx: click.Context, as_json: bool) -> None:
    """Show the model in production beside the baselines, on the same bars and costs."""
    with warehouse_of(settings_of(ctx)).read() as reader:
        label = market_label(reader)
        model = reader.query("select * from promotion.production")
        figures = production_figures(reader)
    if as_json:
        found = model.to_dicts()
        click.echo(json_text({"production": found[0] if found else None, "figures": figures.to_dicts()}))
        return
    show(model, f"Production{label}", as_json=False, empty="no model is in production now")
    if not figures.is_empty():
        show(figures, f"Paper trading beside the baselines, same bars and costs{label}", as_json=False)


@click.command()
@click.option("--reason", default="the operator asked for it", show_default=True, help="Why; stored with the decision.")
@as_json_option
@click.pass_context
def rollback(ctx: click.Context, reason: str, as_json: bool) -> None:
    """Put the model that was in production before back there; the present one is retired."""
    from cappuccino.registry import moves
    from cappuccino.registry.record import read_book

    settings = settings_of(ctx)
    with warehouse_of(settings).read() as reader:
        predecessor = read_book(reader).predecessor
    if predecessor is not None:
        _require_whole(settings, predecessor)
    _move(ctx, lambda book, now: moves.rollback(book, now, reason), as_json)


@click.command()
@model_argument
@reason_option
@as_json_option
@click.pass_context
def promote(ctx: click.Context, model: str, reason: str, as_json: bool) -> None:
    """Move a model one stage up: into the arena, the sandbox, production.

    Before the sandbox it is audited for look-ahead, whoever promotes it; a model that fails stays where it is.
    Production to live is `cappuccino live promote`: that needs the green light and the operator's switch.
    """
    from cappuccino.registry import moves
    from cappuccino.registry.stages import Stage

    settings = settings_of(ctx)
    chosen = known_model(warehouse_of(settings), model)
    _require_whole(settings, chosen)

    def rule(book: StageBook, now: Any) -> tuple[Decision, ...]:
        if book.stage(chosen) is None:
            return moves.enter(book, chosen, now, reason)
        if book.stage(chosen) is Stage.PRODUCTION:
            raise StageError(
                f"{chosen} is in production; only `cappuccino live promote` leads to real money. Nothing was changed"
            )
        return moves.promote(book, chosen, now, reason)

    _require_audit_for_sandbox(settings, chosen)
    _move(ctx, rule, as_json)


@click.command()
@model_argument
@reason_option
@as_json_option
@click.pass_context
def demote(ctx: click.Context, model: str, reason: str, as_json: bool) -> None:
    """Move a model one stage down: live to production, production to the sandbox."""
    from cappuccino.registry import moves

    settings = settings_of(ctx)
    chosen = known_model(warehouse_of(settings), model)
    _require_whole(settings, chosen)
    _move(ctx, lambda book, now: moves.demote(book, chosen, now, reason), as_json)


@click.command()
@model_argument
@reason_option
@as_json_option
@click.pass_context
def retire(ctx: click.Context, model: str, reason: str, as_json: bool) -> None:
    """Take a model out for good; no rollback brings it back."""
    from cappuccino.registry import moves

    # Its files are not looked at: to retire it is what one does with a damaged model.
    chosen = known_model(warehouse_of(settings_of(ctx)), model)
    _move(ctx, lambda book, now: moves.retire(book, chosen, now, reason), as_json)


def _require_whole(settings: Settings, model: ModelId) -> None:
    """Raise ArtifactError when the model's files are not those that were trained."""
    from cappuccino.arena.candidate import load_candidate

    load_candidate(settings.artifacts, model)


def _require_audit_for_sandbox(settings: Settings, model: ModelId) -> None:
    """Audit `model` when it stands before the sandbox; raises StageError when it fails."""
    from cappuccino.registry.record import read_book
    from cappuccino.registry.stages import Stage
    from cappuccino.validation.audit_record import audit_model
    from cappuccino.validation.audit_report import require_audit

    warehouse = warehouse_of(settings)
    with warehouse.read() as reader:
        stage, now = read_book(reader).stage(model), present(reader)
    if stage is Stage.ARENA:
        require_audit(audit_model(warehouse, settings, model, now))


def _move(ctx: click.Context, rule: Callable[[StageBook, Any], tuple[Decision, ...]], as_json: bool) -> None:
    from cappuccino.registry.record import decide
    from cappuccino.registry.rows import decision_row

    settings = settings_of(ctx)
    warehouse = warehouse_of(settings)
    with warehouse.read() as reader:
        now = present(reader)
    made = decide(warehouse, lambda book: rule(book, now))
    if as_json:
        click.echo(json_text([decision_row(decision) for decision in made]))
        return
    for d in made:
        click.echo(f"{d.model}: {d.from_stage or 'new'} -> {d.to_stage} ({d.reason})")
