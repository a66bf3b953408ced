"""A study's rows in the warehouse: what was started, how it ended, and what was measured."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from typing import Any

import polars as pl

from cappuccino.market.interval import Interval
from cappuccino.portfolio.measures import Measures
from cappuccino.registry.version import code_version
from cappuccino.rl.hyper import Hyper
from cappuccino.search.study import StudyPlan
from cappuccino.search.suggest import Told
from cappuccino.search.trial import TrialTask
from cappuccino.search.workers import Ended
from cappuccino.settings import Settings
from cappuccino.store.warehouse import Reader, Warehouse

TIME = pl.Datetime("us", "UTC")
TRIAL_TYPES: dict[str, pl.DataType] = {
    "score": pl.Float64(),
    "fold_scores": pl.List(pl.Float64()),
    "duration_s": pl.Float64(),
    "env_steps": pl.Int64(),
    "artifact": pl.String(),
    "weight_sha256": pl.String(),
    "reason": pl.String(),
    "started_as_of_utc": TIME,
}


class StudyBook:
    """Reads and writes the rows of one study."""

    def __init__(self, warehouse: Warehouse, plan: StudyPlan, settings: Settings) -> None:
        self.warehouse, self.plan, self.settings = warehouse, plan, settings

    def open(self) -> None:
        """Write the study's row, or take it up again under the present cap."""
        start, train_end, end = self.plan.span
        pair = self.plan.pairs[0] if self.plan.kind == "training" else None
        row = {
            "study": self.plan.study,
            "kind": self.plan.kind,
            "state": "running",
            "as_of_utc": self.plan.as_of,
            "seed": self.settings.training.seed,
            "trial_cap": self.plan.trial_cap,
            "symbols": list(self.settings.market.symbols),
            "interval": pair.interval.value if pair else None,
            "lookback": pair.lookback if pair else None,
            "is_simulated": self.settings.is_simulated,
            "data_start_utc": start,
            "data_end_utc": end,
            "train_end_utc": train_end,
            "data_fingerprint": self.plan.fingerprint,
            "code_version": code_version(),
            "settings": self.settings.model_dump_json(),
            "finished_at_utc": None,
        }
        times = ("as_of_utc", "data_start_utc", "data_end_utc", "train_end_utc", "finished_at_utc")
        with self.warehouse.write() as writer:
            writer.upsert(
                "lab.studies",
                pl.DataFrame(
                    [row],
                    schema_overrides={
                        "interval": pl.String,
                        "lookback": pl.Int64,
                        **dict.fromkeys(times, TIME),
                    },
                ),
            )

    def read(self) -> dict[int, dict[str, Any]]:
        """Return the trial rows so far, by number."""
        with self.warehouse.read() as reader:
            return {row["trial"]: row for row in _trials(reader, self.plan.study).iter_rows(named=True)}

    def started(self, trial: int, task: TrialTask, interval: Interval) -> None:
        """Record that `trial` runs, before it does."""
        row = {
            "study": self.plan.study,
            "trial": trial,
            "state": "running",
            "interval": interval.value,
            "lookback": task.lookback,
            "parameters": json.dumps(task.hyper.to_dict()),
            "seed": task.seed,
            "started_as_of_utc": self.plan.as_of,
        }
        with self.warehouse.write() as writer:
            writer.upsert("lab.trials", _trial_frame(row))

    def attempted(self, ended: Ended, attempt: int, batch_size: int) -> None:
        """Record one process's end."""
        row = {
            "study": self.plan.study,
            "trial": ended.trial,
            "attempt": attempt,
            "outcome": ended.outcome,
            "batch_size": batch_size,
            "duration_s": ended.duration_s,
            "peak_memory_mb": ended.peak_memory_mb,
            "reason": ended.reason,
        }
        with self.warehouse.write() as writer:
            writer.append("lab.attempts", pl.DataFrame([row], schema_overrides={"peak_memory_mb": pl.Float64}))

    def interrupted(self, trial: int, batch_size: int) -> None:
        """Record that an earlier process of the study ended before its trial did."""
        with self.warehouse.write() as writer:
            number = writer.one(
                "select coalesce(max(attempt), 0) + 1 from lab.attempts where study = $study and trial = $trial",
                study=self.plan.study,
                trial=trial,
            )
            assert number is not None
            row = {
                "study": self.plan.study,
                "trial": trial,
                "attempt": number[0],
                "outcome": "interrupted",
                "batch_size": batch_size,
                "duration_s": 0.0,
                "peak_memory_mb": None,
                "reason": "the study's process ended first",
            }
            writer.append("lab.attempts", pl.DataFrame([row], schema_overrides={"peak_memory_mb": pl.Float64}))

    def n_attempts(self) -> dict[int, int]:
        """Return how many attempts each trial has had."""
        rows = self.warehouse.query(
            "select trial, count(*) as n from lab.attempts where study = $study group by trial",
            study=self.plan.study,
        )
        return dict(rows.iter_rows())

    def ended(
        self,
        row: dict[str, Any],
        ended: Ended,
        fold_scores: tuple[float, ...],
        evaluations: pl.DataFrame,
        env_steps: int,
    ) -> None:
        """Record how a trial ended for good, with the measures of its folds, in one transaction."""
        result = ended.result
        state = {"complete": "complete", "pruned": "pruned"}.get(ended.outcome, "failed")
        done = {
            **row,
            "state": state,
            "score": result.score if result else None,
            "fold_scores": list(result.fold_scores if result else fold_scores),
            "duration_s": ended.duration_s,
            "env_steps": env_steps if result else None,
            "artifact": f"{self.plan.study}/{ended.trial}" if result and result.weight_sha256 else None,
            "weight_sha256": result.weight_sha256 if result else None,
            "reason": ended.reason or None,
        }
        with self.warehouse.write() as writer:
            writer.upsert("lab.trials", _trial_frame(done))
            if len(evaluations):
                writer.upsert("lab.evaluations", evaluations)

    def evaluated(self, evaluations: pl.DataFrame) -> None:
        """Record measures, of baselines say."""
        with self.warehouse.write() as writer:
            writer.upsert("lab.evaluations", evaluations)

    def close(self, state: str, importances: dict[str, float], n_complete: int) -> None:
        """Record the study's end and what mattered in it."""
        rows = pl.DataFrame(
            [
                {
                    "study": self.plan.study,
                    "parameter": name,
                    "importance_frac": share,
                    "n_trials": n_complete,
                }
                for name, share in importances.items()
            ]
        )
        with self.warehouse.write() as writer:
            writer.execute(
                "update lab.studies set state = $state, finished_at_utc = $now where study = $study",
                state=state,
                now=self.plan.as_of,
                study=self.plan.study,
            )
            if len(rows):
                writer.replace("lab.importances", rows, "study = $study", study=self.plan.study)


def told_of(row: dict[str, Any]) -> Told:
    """Return a finished trial's row as the sampler hears of it."""
    hyper = Hyper.from_dict(json.loads(row["parameters"]))
    complete = row["state"] == "complete"
    return Told(row["trial"], hyper, row["score"] if complete else None, tuple(row["fold_scores"] or ()))


def evaluation_row(
    study: str,
    trial: int,
    subject: str,
    scope: str,
    fold: int,
    interval: Interval,
    span: tuple[datetime, datetime],
    measures: Measures,
    paper_of: int = -1,
) -> dict[str, Any]:
    """Return one row of lab.evaluations."""
    return {
        "study": study,
        "trial": trial,
        "subject": subject,
        "scope": scope,
        "fold": fold,
        "paper_of": paper_of,
        "interval": interval.value,
        "from_utc": span[0],
        "to_utc": span[1],
        **asdict(measures),
    }


def evaluation_frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Return rows of lab.evaluations as a frame."""
    return pl.DataFrame(rows, schema_overrides={"from_utc": TIME, "to_utc": TIME}) if rows else pl.DataFrame()


def _trials(reader: Reader, study: str) -> pl.DataFrame:
    return reader.query("select * from lab.trials where study = $study order by trial", study=study)


def _trial_frame(row: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame([dict.fromkeys(TRIAL_TYPES) | row], schema_overrides=TRIAL_TYPES)
