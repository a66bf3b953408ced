"""The study of gradient-boosted trees: a second family of candidates, on the bars and folds of the newest training."""

import dagster as dg
import polars as pl

from assets.tables import described, table_spec
from cappuccino.clock import Clock
from cappuccino.settings import Settings
from cappuccino.store.warehouse import Warehouse

TABLE = "lab.tree_importances"
N_SHOWN = 15


@dg.multi_asset(name="trees", specs=[table_spec(TABLE, deps=("lab.trials",))])
def trees(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    clock: dg.ResourceParam[Clock],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.MaterializeResult[None]:
    """A study of forests beside the networks; its rows stand in the lab's tables, under a study of kind trees."""
    # lightgbm takes its time to load; whoever only looks at the assets does not wait for it.
    from cappuccino.trees.study import run_trees

    if settings.trees.trials == 0:
        return dg.MaterializeResult(metadata={"study": "none (trees.trials is 0)", **described(warehouse, TABLE)})
    summary = run_trees(settings, clock.now(), context.log.info).as_metadata()
    seen = {"best_network": best_network(warehouse), "inputs": inputs_of(warehouse, summary["study"])}
    return dg.MaterializeResult(metadata={**summary, **seen, **described(warehouse, TABLE)})


def best_network(warehouse: Warehouse) -> float | str:
    """Return the best score of the newest training study, whose bars and folds the trees had, too."""
    found = warehouse.query(
        """
        select max(score) as score from lab.trials
        where study = (
            select arg_max(study, as_of_utc) from lab.studies
            where kind = 'training' and state in ('complete', 'converged')
        )
        """
    )["score"][0]
    return "none" if found is None else float(found)


def inputs_of(warehouse: Warehouse, study: str) -> dg.MarkdownMetadataValue:
    """Return what the best forest of `study` looks at most, as a table."""
    rows = warehouse.query(
        """
        select feature, view, gain_frac from lab.tree_importances
        where study = $study and trial = (select arg_max(trial, score) from lab.trials where study = $study)
        order by gain_frac desc, feature, view limit $n
        """,
        study=study,
        n=N_SHOWN,
    )
    return dg.MetadataValue.md(_as_markdown(rows))


def _as_markdown(rows: pl.DataFrame) -> str:
    lines = [f"| {feature} | {view} | {share:.1%} |" for feature, view, share in rows.iter_rows()]
    return "\n".join(["| input | seen as | share of gain |", "| --- | --- | ---: |", *lines])
