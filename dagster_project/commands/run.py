"""`cappuccino run`: the whole life of a model."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from cappuccino.commands.common import (
    as_json_option,
    json_text,
    market_label,
    production_figures,
    settings_of,
    show,
    timed_say,
    verdicts,
    warehouse_of,
)
from cappuccino.settings import Settings, differences
from dagster_project.commands.options import market_options, overrides_of, study_options

if TYPE_CHECKING:
    import polars as pl

    from cappuccino.store.warehouse import Reader


@click.command()
@market_options
@click.option("--from", "start", help="First day (UTC).")
@click.option("--to", "end", help="End of the record (UTC), exclusive.")
@study_options
@as_json_option
@click.pass_context
def run(ctx: click.Context, /, as_json: bool, **options: Any) -> None:
    """Run the whole life of a model: bars to a production agent on paper.

    Bars, checks, features, timeframe search, trials, arena, sandbox, production; without options on the simulated
    market, in a few minutes. The end of the record is held back from training for sandbox and production to trade.
    """
    from dagster_project.materialization import materializer
    from dagster_project.pipeline import run_pipeline

    started_s, say = time.monotonic(), timed_say()
    settings = settings_of(ctx, overrides_of(**options))
    settings.warehouse.mkdir(parents=True, exist_ok=True)

    for line in introduction(settings):
        say(line)
    with materializer(settings, on_progress=lambda done: say(f"  {done}")) as runs:
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
    show(
        outcome["verdicts"],
        f"Verdict on the best trial of each study{label}",
        as_json=False,
        empty="no holdout has been opened yet",
    )
    show(outcome["stages"], f"Stages{label}", as_json=False, empty="no model was trained")
    waiting = outcome["stages"].filter(stage="sandbox")
    empty = f"nobody has got there; a model has to beat {settings.arena.streak} others in a row in the arena"
    if len(waiting):
        model, days = waiting["newest_model"].item(), settings.sandbox.days
        empty = f"nobody yet; {model} is judged after {days:g} days in the sandbox"
    show(
        outcome["production"],
        f"Production on paper beside the baselines, same bars and costs{label}",
        as_json=False,
        empty=empty,
    )
    click.echo(f"Report: {report}")
    click.echo("Go on trading on paper, one look a minute: cappuccino trade (with Dagster beside it: cappuccino up)")
    say("done")


def introduction(settings: Settings) -> list[str]:
    """Return what the user should know before it starts."""
    lines = [f"Cappuccino, profile {settings.profile}, {market_in_words(settings)}, paper money only"]
    changed = differences(settings)
    if changed:
        lines.append(f"profile {settings.profile} shrinks the specification's numbers:")
        lines += [f"  {key}: {_short(used)} instead of {_short(specified)}" for key, specified, used in changed]
    return lines


def market_in_words(settings: Settings) -> str:
    """Return whose bars they are."""
    if settings.is_simulated:
        return "SIMULATED market: no bar of it ever traded"
    return f"bars of {settings.market.path or settings.market.source}"


def _short(value: Any) -> str:
    if value is None:
        return "the record's own end"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _outcome(reader: Reader) -> dict[str, pl.DataFrame]:
    return {
        "verdicts": verdicts(reader),
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
