"""The holdout, opened once a study is decided, and the verdict on it."""

from collections.abc import Iterator

import dagster as dg
import polars as pl

from assets.pictures import picture
from assets.tables import results, table_spec
from cappuccino.clock import Clock
from cappuccino.judgement.holdout import open_holdouts
from cappuccino.settings import Settings
from cappuccino.store.warehouse import Warehouse
from cappuccino.watch import formats, plots
from cappuccino.watch.report.judgement import BESIDE, best_beside_baselines

TABLES = ("lab.holdouts", "lab.skill", "lab.overfitting")


@dg.multi_asset(
    name="judgement",
    # After the arena: nothing that chooses may know the holdout.
    specs=[table_spec(table, deps=("lab.daily_returns", "arena.matches")) for table in TABLES],
    pool="warehouse",
)
def judgement(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    clock: dg.ResourceParam[Clock],
    warehouse: dg.ResourceParam[Warehouse],
) -> Iterator[dg.MaterializeResult[None]]:
    """Trials of finished studies on the bars that nobody has seen, beside baselines, chance and luck."""
    opened = open_holdouts(warehouse, settings, clock.now(), context.log.info)
    verdicts = warehouse.query(
        "from lab.overfitting where list_contains($studies, study) order by study, benchmark", studies=list(opened)
    )
    said = [
        f"- {row['study']} against {row['benchmark']}: **{row['verdict']}**. {' '.join(row['reasons'])}"
        for row in verdicts.iter_rows(named=True)
    ]
    ranks = warehouse.query("from lab.leaderboard where study in (select study from lab.judged)")
    figures = {
        "opened": ", ".join(opened) or "none",
        "verdicts": dg.MetadataValue.md("\n".join(said) or "none"),
        "decay": picture(plots.decay(ranks, simulated=settings.is_simulated)),
        "best_beside_baselines": dg.MetadataValue.md(as_markdown(best_beside_baselines(ranks).select(BESIDE))),
        "simulated": settings.is_simulated,
    }
    yield from results(warehouse, TABLES, figures)


def as_markdown(rows: pl.DataFrame) -> str:
    """Return `rows` as a table, numbers to the right and in the units of their columns."""
    sides = ["---:" if kind.is_numeric() else "---" for kind in rows.dtypes]
    lines = [[formats.heading(name) for name in rows.columns], sides]
    lines += [[formats.text(name, value) for name, value in row.items()] for row in rows.iter_rows(named=True)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
