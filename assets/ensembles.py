"""Ensembles of the newest candidates, beside the single models that vote in them."""

from collections.abc import Iterator

import dagster as dg
import polars as pl

from assets.tables import results, table_spec
from cappuccino.clock import Clock
from cappuccino.ensemble.build import build_ensembles
from cappuccino.ensemble.members import gated
from cappuccino.settings import Settings
from cappuccino.store.warehouse import Warehouse
from cappuccino.validation.seal import open_until

TABLES = ("lab.ensembles", "lab.ensemble_scores")


@dg.multi_asset(
    name="ensembles",
    specs=[table_spec(table, deps=("lab.trials", "lab.tree_importances", "market.bars_all")) for table in TABLES],
    pool="warehouse",
)
def ensembles(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    clock: dg.ResourceParam[Clock],
    warehouse: dg.ResourceParam[Warehouse],
) -> Iterator[dg.MaterializeResult[None]]:
    """Four ways to vote among the best candidates; those that beat the ensembles before them become candidates."""
    now = clock.now()
    with warehouse.read() as reader:
        passes, until = gated(reader, settings.arena), open_until(reader, settings, now)
    built = build_ensembles(warehouse, settings, now, until, passes=passes, on_line=context.log.info)
    figures = {
        "study": built.study or "none",
        "members": built.n_members,
        "entered": ", ".join(map(str, built.entered)) or "nobody",
        "outcome": built.said,
        "simulated": settings.is_simulated,
        "beside_single": beside_single(warehouse, built.study),
    }
    yield from results(warehouse, TABLES, figures)


def beside_single(warehouse: Warehouse, study: str | None) -> dg.MarkdownMetadataValue:
    """Return the ensembles of `study` beside their members on the same bars, as a table."""
    rows = warehouse.query("from lab.ensembles_beside_single where study = $study order by trial", study=study)
    return dg.MetadataValue.md(_as_markdown(rows))


def _as_markdown(rows: pl.DataFrame) -> str:
    head = "| vote | Sharpe | first member | best member | middle member | members beaten | buy-and-hold |"
    lines = [head, "| --- |" + " ---: |" * 6]
    for row in rows.iter_rows(named=True):
        scores = [row[name] for name in ("score", "first_score", "best_score", "median_score")]
        told = " | ".join(f"{score:.2f}" for score in scores)
        lines.append(f"| {row['vote']} | {told} | {row['beats_frac']:.0%} | {row['equal_weight_score']:.2f} |")
    return "\n".join(lines)
