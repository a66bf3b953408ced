"""A study's rows in the warehouse: what was started, how it ended, and what was measured."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import polars as pl

from cappuccino.market.interval import Interval
from cappuccino.portfolio.measures import Measures
from cappuccino.registry.version import code_version
from cappuccino.rl.hyper import Hyper
from cappuccino.search.diary import action_spread, collapsed, update_frame
from cappuccino.search.study import Pair, StudyPlan
from cappuccino.search.suggest import Told
from cappuccino.search.workers import Ended
from cappuccino.settings import Settings
from cappuccino.store.warehouse import Warehouse, Writer

Row = dict[str, Any]
TIME = pl.Datetime("us", "UTC")
TRIAL_TYPES: dict[str, pl.DataType] = {
    "score": pl.Float64(),
    "fold_scores": pl.List(pl.Float64()),
    "duration_s": pl.Float64(),
    "env_steps": pl.Int64(),
    "artifact": pl.String(),
    "weight_sha256": pl.String(),
    "reason": pl.String(),
    "collapsed": pl.String(),
    "action_spread": pl.Float64(),
    "started_as_of_utc": TIME,
}

USAGE_TYPES = dict.fromkeys(("cpu_s", "peak_memory_mb", "private_memory_mb"), pl.Float64())


class StudyBook:
    """Reads and writes the rows of one study."""

    def __init__(self, warehouse: Warehouse, plan: StudyPlan, settings: Settings) -> None:
        self.warehouse, self.plan, self.settings = warehouse, plan, settings

    def open(self) -> None:
        """Write the study's row, or take it up again under the present cap.

        Others of its kind that were left in the middle are superseded.
        """
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
            "bars_from_utc": self.plan.bars_from,
            "bars_fingerprint": self.plan.bars_fingerprint,
            "code_version": code_version(),
            "settings": self.settings.model_dump_json(),
            "finished_at_utc": None,
        }
        times = ("as_of_utc", "data_start_utc", "data_end_utc", "train_end_utc", "bars_from_utc", "finished_at_utc")
        with self.warehouse.write() as writer:
            writer.execute(
                """
                update lab.studies set state = 'superseded', finished_at_utc = $now
                where kind = $kind and state = 'running' and study <> $study
                """,
                now=self.plan.as_of,
                kind=self.plan.kind,
                study=self.plan.study,
            )
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

    def read(self) -> dict[int, Row]:
        """Return the trial rows so far, by number."""
        rows = self.warehouse.query(
            "select * from lab.trials where study = $study order by trial", study=self.plan.study
        )
        return {row["trial"]: row for row in rows.iter_rows(named=True)}

    def outcomes(self) -> dict[int, tuple[str, ...]]:
        """Return how the attempts at each trial ended, oldest first."""
        rows = self.warehouse.query(
            """
            select trial, list(outcome order by attempt) as outcomes from lab.attempts
            where study = $study group by trial
            """,
            study=self.plan.study,
        )
        return {trial: tuple(outcomes) for trial, outcomes in rows.iter_rows()}

    def started(self, trial: int, pair: Pair, hyper: Hyper, seed: int) -> Row:
        """Record that `trial` runs, before it does; returns its row."""
        row = {
            **dict.fromkeys(TRIAL_TYPES),
            "study": self.plan.study,
            "trial": trial,
            "state": "running",
            "interval": pair.interval.value,
            "lookback": pair.lookback,
            "parameters": json.dumps(hyper.to_dict()),
            "seed": seed,
            "started_as_of_utc": self.plan.as_of,
        }
        with self.warehouse.write() as writer:
            writer.append("lab.trials", _trial_frame(row))
        return row

    def attempted(self, ended: Ended, attempt: int, hyper: Hyper) -> None:
        """Record the end of a process whose trial goes on; `hyper` is what it trained with."""
        with self.warehouse.write() as writer:
            writer.append("lab.attempts", self._attempt_frame(ended, attempt, hyper))
            self._replace_updates(writer, ended)

    def ended(self, row: Row, ended: Ended, attempt: int, hyper: Hyper, evaluations: pl.DataFrame) -> None:
        """Record the end of a trial and of its last process, with the measures of its folds, in one transaction."""
        with self.warehouse.write() as writer:
            writer.append("lab.attempts", self._attempt_frame(ended, attempt, hyper))
            writer.upsert("lab.trials", _trial_frame(row))
            self._replace_updates(writer, ended)
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

    def _replace_updates(self, writer: Writer, ended: Ended) -> None:
        """Write what the trial's trainings went through, instead of what an earlier process of it did.

        A process goes on from checkpoints and tells of all that they hold; one that told nothing leaves the rows alone.
        """
        updates = update_frame(self.plan.study, ended.trial, ended.diary)
        if len(updates):
            where = "study = $study and trial = $trial"
            writer.replace("lab.updates", updates, where, study=self.plan.study, trial=ended.trial)

    def _attempt_frame(self, ended: Ended, attempt: int, hyper: Hyper) -> pl.DataFrame:
        usage = ended.usage
        row = {
            "study": self.plan.study,
            "trial": ended.trial,
            "attempt": attempt,
            "outcome": ended.outcome,
            "batch_size": hyper.batch_size,
            "learning_rate": hyper.learning_rate,
            "duration_s": ended.duration_s,
            "cpu_s": usage and usage.cpu_s,
            "peak_memory_mb": usage and usage.peak_memory_mb,
            "private_memory_mb": usage and usage.private_memory_mb,
            "reason": ended.reason,
        }
        return pl.DataFrame([row], schema_overrides=USAGE_TYPES)


def finished_row(row: Row, ended: Ended, fold_scores: Sequence[float], env_steps: int) -> Row:
    """Return the row of a trial that ended for good; its parameters stay what was asked for."""
    result = ended.result
    return {
        **row,
        "state": {"complete": "complete", "pruned": "pruned"}.get(ended.outcome, "failed"),
        "score": result.score if result else None,
        "fold_scores": list(fold_scores),
        "duration_s": ended.duration_s,
        "env_steps": env_steps if result else None,
        "artifact": f"{row['study']}/{row['trial']}" if result and result.weight_sha256 else None,
        "weight_sha256": result.weight_sha256 if result else None,
        "reason": ended.reason or None,
        "collapsed": collapsed(ended.diary),
        "action_spread": action_spread(ended.diary),
    }


def told_of(row: Row) -> Told:
    """Return a finished trial's row as the sampler hears of it."""
    hyper = Hyper.from_dict(json.loads(row["parameters"]))
    scores = () if row["state"] == "failed" else tuple(row["fold_scores"])
    return Told(row["trial"], hyper, row["score"], scores)


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
) -> Row:
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


def evaluation_frame(rows: list[Row]) -> pl.DataFrame:
    """Return rows of lab.evaluations as a frame."""
    return pl.DataFrame(rows, schema_overrides={"from_utc": TIME, "to_utc": TIME}) if rows else pl.DataFrame()


def _trial_frame(row: Row) -> pl.DataFrame:
    return pl.DataFrame([row], schema_overrides=TRIAL_TYPES)
