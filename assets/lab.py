"""The searches: for the timeframe, then for agents. Each runs as a program of its own beside Dagster."""

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from assets.pictures import picture
from assets.tables import described, results, table_spec
from cappuccino.clock import Clock
from cappuccino.errors import error_named
from cappuccino.search.request import write_request
from cappuccino.search.study import Kind
from cappuccino.settings import Settings
from cappuccino.store.warehouse import Warehouse
from cappuccino.watch import plots

PROJECT = Path(__file__).resolve().parents[1]
TRAINING_TABLES = (
    "lab.trials",
    "lab.studies",
    "lab.attempts",
    "lab.evaluations",
    "lab.daily_returns",
    "lab.folds",
    "lab.updates",
    "lab.importances",
)


@dg.multi_asset(name="timeframe_search", specs=[table_spec("lab.timeframe_choices", deps=("features.features",))])
def timeframe_search(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    clock: dg.ResourceParam[Clock],
    warehouse: dg.ResourceParam[Warehouse],
    pipes: dg.ResourceParam[dg.PipesSubprocessClient],
) -> dg.MaterializeResult[None]:
    """Cheap trials over every interval and lookback; the best pair is what training works on."""
    summary = _study(context, pipes, settings, clock, "timeframe")
    pairs = warehouse.query("select * from lab.timeframes where study = $study", study=summary["study"])
    seen = picture(plots.timeframes(pairs, simulated=settings.is_simulated))
    return dg.MaterializeResult(metadata={**summary, "pairs": seen, **described(warehouse, "lab.timeframe_choices")})


@dg.multi_asset(
    name="training", specs=[table_spec(table, deps=("lab.timeframe_choices",)) for table in TRAINING_TABLES]
)
def training(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    clock: dg.ResourceParam[Clock],
    warehouse: dg.ResourceParam[Warehouse],
    pipes: dg.ResourceParam[dg.PipesSubprocessClient],
) -> Iterator[dg.MaterializeResult[None]]:
    """A study of agents on the chosen interval and lookback, to its cap or until it stops improving."""
    summary = dict(_study(context, pipes, settings, clock, "training"))
    trials = warehouse.query("select * from lab.trials where study = $study", study=summary["study"])
    summary["progress"] = picture(plots.progress(trials, simulated=settings.is_simulated))
    curves = warehouse.query("select * from lab.learning_curves where study = $study", study=summary["study"])
    summary["learning"] = picture(plots.learning(curves, simulated=settings.is_simulated))
    summary["trials_collapsed"] = int(trials["collapsed"].is_not_null().sum())
    yield from results(warehouse, TRAINING_TABLES, summary)


def _study(
    context: dg.AssetExecutionContext,
    pipes: dg.PipesSubprocessClient,
    settings: Settings,
    clock: Clock,
    kind: Kind,
) -> Mapping[str, Any]:
    """Run the study's program; its log streams into the run, and ending the run ends it."""
    request = write_request(settings, kind, clock.now())
    done = pipes.run(
        command=[sys.executable, "-m", "assets.training_program", str(request), str(os.getpid())],
        cwd=str(PROJECT),
        context=context,
    )
    summary: dict[str, Any] = dict(done.get_custom_messages()[-1])
    if "error" in summary:
        raise error_named(str(summary["class"]))(str(summary["error"]))
    return summary
