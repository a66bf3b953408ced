"""Does a model look ahead? The question as a command."""

from __future__ import annotations

import click

from cappuccino.commands.common import (
    as_json_option,
    json_text,
    known_model,
    market_label,
    model_argument,
    present,
    settings_of,
    show,
    warehouse_of,
)


@click.command()
@model_argument
@as_json_option
@click.pass_context
def audit(ctx: click.Context, model: str, as_json: bool) -> None:
    """Check that a model does not look ahead, and that its scales, folds and fills are sound.

    Cuts its future off and changes it: nothing that it saw or did before may move by a bit. Exit code 1 when a check
    fails; every audit is kept in lab.audits.
    """
    from cappuccino.validation.audit_record import audit_model

    settings = settings_of(ctx)
    warehouse = warehouse_of(settings)
    chosen = known_model(warehouse, model)
    with warehouse.read() as reader:
        now, label = present(reader), market_label(reader)
    report = audit_model(warehouse, settings, chosen, now)
    if as_json:
        checks = [vars(check) for check in report.checks]
        click.echo(json_text({"model": str(report.model), "passed": report.passed, "checks": checks}))
    else:
        import polars as pl

        words = {True: "passed", False: "FAILED", None: "skipped"}
        rows = pl.DataFrame(
            [
                {"check": check.name, "answer": words[check.passed], "figure": check.figure, "detail": check.detail}
                for check in report.checks
            ]
        )
        show(rows, f"Audit of {report.model}{label}", as_json=False)
        click.echo(
            "passed: it does not look ahead"
            if report.passed
            else f"FAILED: {len(report.failed)} of {len(report.checks)} checks"
        )
    if not report.passed:
        ctx.exit(1)
