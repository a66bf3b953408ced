"""A study's rows in the warehouse: what was started, how it ended, and what was measured."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import polars as pl

from cappuccino.market.interval import Interval
from cappuccino.market.panel import as_datetime
from cappuccino.portfolio.measures import Measures
from cappuccino.registry.version import code_version, package_versions
from cappuccino.rl.hyper import Hyper
from cappuccino.search.diary import action_spread, collapsed, update_frame
from cappuccino.search.folds import gaps_of
from cappuccino.search.study import Pair, StudyPlan, folds_of
from cappuccino.search.suggest import Told
from cappuccino.search.workers import Ended
from cappuccino.settings import Settings
from cappuccino.store.warehouse import Warehouse, Writer
from cappuccino.validation.joined import DailyReturns

Row = dict[str, Any]
TIME = pl.Datetime("us", "UTC")
TRIAL_TYPES: dict[str, pl.DataType] = {
    "score": pl.Float64(),
    "fold_scores": pl.List(pl.Float64()),
    "duration_s": pl.Float64(),
    "env_steps": pl.Int64(),
    "artifact": pl.String(),
    "weight_sha256": pl.String(),
    "equity_sha256": pl.String(),
    "reason": pl.String(),
    "collapsed": pl.String(),
    "action_spread": pl.Float64(),
    "started_as_of_utc": TIME,
}


@dataclass(frozen=True)
class Judged:
    """What was measured on stretches of bars, as rows."""

    evaluations: pl.DataFrame
    """For lab.evaluations."""
    daily: pl.DataFrame
    """For lab.daily_returns."""


USAGE_TYPES = dict.fromkeys(("cpu_s", "peak_memory_mb", "private_memory_mb"), pl.Float64())


class StudyBook:
    """Reads and writes the rows of one study."""

    def __init__(self, warehouse: Warehouse, plan: StudyPlan, settings: Settings) -> None:
        self.warehouse, self.plan, self.settings = warehouse, plan, settings

    def open(self) -> None:
        """Write the study's row and its rows of lab.folds, or take it up again under the present cap.

        Others of its kind that were left in the middle are superseded.
        """
        start, train_end = self.plan.span
        pair = self.plan.pairs[0] if self.plan.kind != "timeframe" else None
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
            "data_end_utc": self.plan.known_until,
            "train_end_utc": train_end,
            "holdout_from_utc": self.plan.seal.arena_until,
            "data_fingerprint": self.plan.fingerprint,
            "bars_from_utc": self.plan.bars_from,
            "bars_fingerprint": self.plan.bars_fingerprint,
            "code_version": code_version(),
            "packages": json.dumps(package_versions()),
            "settings": self.settings.model_dump_json(),
            "finished_at_utc": None,
        }
        times = [name for name in row if name.endswith("_utc")]
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
            writer.replace("lab.folds", fold_rows(self.plan, self.settings), "study = $study", study=self.plan.study)

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

    def ended(self, row: Row, ended: Ended, attempt: int, hyper: Hyper, judged: Judged | None) -> None:
        """Record the end of a trial and of its last process, with what it came to on its folds, in one transaction."""
        with self.warehouse.write() as writer:
            writer.append("lab.attempts", self._attempt_frame(ended, attempt, hyper))
            writer.upsert("lab.trials", _trial_frame(row))
            self._replace_updates(writer, ended)
            if judged:
                store_judged(writer, judged)

    def evaluated(self, judged: Judged) -> None:
        """Record what was measured, of baselines say."""
        with self.warehouse.write() as writer:
            store_judged(writer, judged)

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


def store_judged(writer: Writer, judged: Judged) -> None:
    """Write measures and daily returns; those of the same stretch are replaced."""
    writer.upsert("lab.evaluations", judged.evaluations)
    writer.upsert("lab.daily_returns", judged.daily)


def fold_rows(plan: StudyPlan, settings: Settings) -> pl.DataFrame:
    """Return the segments of every fold of a study, as rows of lab.folds."""
    rows: list[Row] = []
    for pair in plan.pairs:
        data = plan.data[pair.interval]
        gaps = gaps_of(len(data), pair.lookback, pair.holding_bars(len(data)), settings.training)
        for number, fold in enumerate(folds_of(data, pair, settings.training)):
            for part, segments in (("train", fold.train), ("validation", fold.validation)):
                for position, (start, stop) in enumerate(segments):
                    rows.append(
                        {
                            "study": plan.study,
                            "interval": pair.interval.value,
                            "lookback": pair.lookback,
                            "fold": number,
                            "part": part,
                            "segment": position,
                            "from_utc": as_datetime(data.panel.opened_at[start]),
                            "to_utc": as_datetime(data.panel.closed_at[stop - 1]),
                            "n_bars": stop - start,
                            "purge_bars": gaps.purge_bars,
                            "after_bars": gaps.after_bars,
                        }
                    )
    return pl.DataFrame(rows)


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
        "equity_sha256": result.equity_sha256 if result else None,
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


def daily_frame(study: str, trial: int, subject: str, scope: str, fold: int, daily: DailyReturns) -> pl.DataFrame:
    """Return rows of lab.daily_returns."""
    ends = pl.Series(daily.closed_at.astype("datetime64[us]"), dtype=pl.Datetime("us")).dt.replace_time_zone("UTC")
    return pl.DataFrame({"closed_at_utc": ends, "return_frac": daily.returns}).select(
        pl.lit(study).alias("study"),
        pl.lit(trial, dtype=pl.Int64).alias("trial"),
        pl.lit(subject).alias("subject"),
        pl.lit(scope).alias("scope"),
        pl.lit(fold, dtype=pl.Int64).alias("fold"),
        pl.all(),
    )
