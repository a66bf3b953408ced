"""Which interval and lookback won a timeframe search."""

from __future__ import annotations

import math
from typing import Any

import polars as pl

from cappuccino.errors import TrainingError
from cappuccino.market.interval import Interval
from cappuccino.search.study import StudyPlan
from cappuccino.store.warehouse import Warehouse


def best_pair(timeframes: pl.DataFrame) -> dict[str, Any]:
    """Return the row of lab.timeframes with the best mean score.

    Ties go to the longer interval, then to the shorter lookback. Raises TrainingError when no pair has a completed
    trial.
    """
    scored = timeframes.filter(pl.col("n_complete") > 0)
    if scored.is_empty():
        raise TrainingError("no timeframe trial completed; see lab.attempts for the reasons")
    length = pl.col("interval").replace_strict({one.value: one.us for one in Interval}, return_dtype=pl.Int64)
    ordered = scored.sort(pl.col("mean_score"), length, -pl.col("lookback"), descending=True)
    return ordered.row(0, named=True)


def _holding_bars(row: dict[str, Any]) -> int | None:
    """Return the mean holding time in whole bars; None when nobody traded."""
    days = row["mean_holding_days"]
    return None if days is None else math.ceil(days * Interval(row["interval"]).per_day)


def choose_timeframe(warehouse: Warehouse, plan: StudyPlan) -> None:
    """Record the pair that won the timeframe study of `plan`."""
    with warehouse.write() as writer:
        best = best_pair(writer.query("select * from lab.timeframes where study = $study", study=plan.study))
        row = {
            "study": plan.study,
            "interval": best["interval"],
            "lookback": best["lookback"],
            "score": best["mean_score"],
            "n_trials": best["n_complete"],
            "holding_bars": _holding_bars(best),
            "decided_at_utc": plan.as_of,
        }
        rows = pl.DataFrame(
            [row], schema_overrides={"holding_bars": pl.Int64, "decided_at_utc": pl.Datetime("us", "UTC")}
        )
        writer.upsert("lab.timeframe_choices", rows)
