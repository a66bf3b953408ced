"""Commands on a study that was run: look at it, and ask it more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cappuccino.commands.common import as_json_option, json_text, market_label, settings_of, show, warehouse_of

if TYPE_CHECKING:
    from cappuccino.store.warehouse import Warehouse

study_argument = click.argument("name", metavar="[STUDY]", required=False)


@click.group()
def study() -> None:
    """Look back at a study: what mattered, what was luck, what the worst trials share."""


@study.command()
@study_argument
@as_json_option
@click.pass_context
def report(ctx: click.Context, name: str | None, as_json: bool) -> None:
    """Write the HTML page of a study and print its figures; without STUDY, of the newest training.

    Convergence of the best score, endings, importance of hyper-parameters, luck of the seed, the reward part by part,
    the worst tenth of the trials.
    """
    import polars as pl

    from cappuccino.watch.study import read_analysis, write_study_report

    settings = settings_of(ctx)
    warehouse = warehouse_of(settings)
    chosen = name or _newest(warehouse)
    with warehouse.read() as reader:
        found, label = read_analysis(reader, chosen), market_label(reader)
    file = write_study_report(found, settings.warehouse / "studies" / f"{found.name}.html").absolute()
    if as_json:
        tables = {
            "importances": found.importances,
            "seeds": found.seeds,
            "ablation": found.ablation,
            "worst_trials": found.worst,
            "worst_parameters": found.parameters,
        }
        rows = {key: frame.to_dicts() for key, frame in tables.items()}
        click.echo(json_text({**found.summary(), **rows, "page": file}))
        return
    show(pl.DataFrame([found.summary()]), f"Study{label}", as_json=False)
    show(found.endings.drop("study", "is_well"), "How trials ended", as_json=False)
    importances = found.importances.select("parameter", "importance_frac").head(8)
    show(importances, "What mattered", as_json=False, empty="too few completed trials to say")
    seeds = found.seeds.select("trial", "score", "n_seeds", "mean_score", "min_score", "max_score", "as_good_frac")
    show(seeds, "The luck of the seed", as_json=False, empty="not asked yet: `cappuccino study probe`")
    parts = found.ablation.select("trial", "part", "score", "score_without", "change", "change_in_seeds")
    show(parts, "The reward, part by part", as_json=False, empty="not asked yet: `cappuccino study probe --ablate`")
    shared = found.parameters.select("parameter", "worst_mean", "rest_mean", "distance_std").head(8)
    show(shared, "What the worst tenth has in common", as_json=False, empty="too few trials have been judged")
    click.echo(str(file))


@study.command()
@study_argument
@click.option("--seeds", default=5, show_default=True, type=click.IntRange(0, 100), help="Other seeds for each trial.")
@click.option("--ablate", is_flag=True, help="Leave out each part of the reward, too, one at a time.")
@click.option("--top", default=1, show_default=True, type=click.IntRange(1), help="Best trials to train again.")
@click.option(
    "--force", is_flag=True, help="Go on with other code or packages than it ran with; never with other bars."
)
@as_json_option
@click.pass_context
def probe(ctx: click.Context, name: str | None, seeds: int, ablate: bool, top: int, force: bool, as_json: bool) -> None:
    """Train the best trials of a study again with other seeds, and without parts of their reward.

    Without STUDY, of the newest training. What is there already is not done again: stop it and go on as you like. Kept
    in lab.variants; lab.seed_sensitivity and lab.reward_ablation compare.
    """
    from cappuccino.search.variants import Probe, probe_study

    settings = settings_of(ctx)
    warehouse = warehouse_of(settings)
    chosen = name or _newest(warehouse)
    asked = Probe(n_seeds=seeds, ablate=ablate, n_trials=top)
    made = probe_study(warehouse, settings, chosen, asked, lambda line: click.echo(line, err=True), force=force)
    with warehouse.read() as reader:
        label = market_label(reader)
        luck = reader.query("select * exclude (study) from lab.seed_sensitivity where study = $study", study=chosen)
        parts = reader.query("select * exclude (study) from lab.reward_ablation where study = $study", study=chosen)
    if as_json:
        click.echo(json_text({"study": chosen, **vars(made), "seeds": luck.to_dicts(), "ablation": parts.to_dicts()}))
    else:
        show(luck, f"The luck of the seed in {chosen}{label}", as_json=False, empty="no other seed was tried")
        show(parts, f"The reward, part by part{label}", as_json=False, empty="no part was left out")
    if made.n_failed:
        ctx.exit(1)


def _newest(warehouse: Warehouse) -> str:
    from cappuccino.watch.study import newest_study

    with warehouse.read() as reader:
        return newest_study(reader)
