"""The verdict on a study from its stored daily returns, against cash and against buy-and-hold."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

import polars as pl

from cappuccino.market.panel import FloatArray
from cappuccino.store.warehouse import Reader
from cappuccino.validation.deflated import a_year, sharpes
from cappuccino.validation.overfitting import Verdict, judge_study

BENCHMARKS = {"cash": "cash", "buy_and_hold": "equal_weight"}
"""Name in lab.overfitting, and the baseline whose returns are taken off."""


def verdict_rows(reader: Reader, study: str, now: datetime) -> pl.DataFrame:
    """Return the rows of lab.overfitting on `study`, one for each benchmark; none without a completed trial."""
    validation = _by_day(reader, study, "validation")
    holdout = _by_day(reader, study, "holdout")
    trials = [name for name in validation.columns if name.isdigit()]
    if not trials:
        return pl.DataFrame()
    n_started = _n_started(reader, study)
    rows = []
    for benchmark, baseline in BENCHMARKS.items():
        if baseline not in validation.columns:
            continue  # a study of before baselines were kept by day
        returns = _above(validation, trials, baseline)
        kept = _above(holdout, trials, baseline) if {*trials, baseline} <= set(holdout.columns) else None
        in_holdout = sharpes(kept) if kept is not None and len(kept) > 1 else None
        verdict = judge_study(returns, n_started, in_holdout)
        rows.append(_row(study, benchmark, int(trials[verdict.best]), verdict, now))
    types = {"decided_at_utc": pl.Datetime("us", "UTC"), "reasons": pl.List(pl.String)}
    optional = ("pbo", "loss_probability", "holdout_sharpe_daily_365", "rank_correlation", "rank_p_value", "mean_decay")
    types |= dict.fromkeys((*optional, "min_track_record_days"), pl.Float64())
    return pl.DataFrame(rows, schema_overrides={**types, "holdout_place": pl.Int64()})


def _by_day(reader: Reader, study: str, scope: str) -> pl.DataFrame:
    """Return the mean return of each day over the folds: one column for each trial, by number, and each baseline."""
    rows = reader.query(
        """
        with judged as (
            -- Segments count their days from their own first bars; a day of the calendar counts once.
            select closed_at_utc::date as day, if(trial < 0, subject, trial::varchar) as name, return_frac
            from lab.daily_returns
            where scope = $scope and study = $study
        )

        select day, name, avg(return_frac) as return_frac
        from judged
        group by all
        order by day, name
        """,
        study=study,
        scope=scope,
    )
    if rows.is_empty():
        return pl.DataFrame()
    return rows.pivot("name", index="day", values="return_frac").sort("day")


def _above(days: pl.DataFrame, trials: list[str], baseline: str) -> FloatArray:
    """Return the trials' daily returns above those of `baseline`, (T, N)."""
    above: FloatArray = days.select(trials).to_numpy() - days.select(baseline).to_numpy()
    return above


def _n_started(reader: Reader, study: str) -> int:
    """Return how many trials the choice of the best rests on: the study's own, and those that chose its timeframe."""
    found = reader.one(
        """
        with own as (
            select study, interval, lookback, as_of_utc from lab.studies where study = $study
        ),

        chosen as (
            select arg_max(lab.timeframe_choices.study, decided_at_utc) as study
            from lab.timeframe_choices
            inner join own using (interval, lookback)
            where decided_at_utc <= own.as_of_utc
        )

        select count(*) from lab.trials where study = $study or study = (select study from chosen)
        """,
        study=study,
    )
    assert found is not None
    return int(found[0])


def _row(study: str, benchmark: str, best: int, verdict: Verdict, now: datetime) -> dict[str, Any]:
    choice, kept = verdict.overfitting, verdict.decay
    return {
        "study": study,
        "benchmark": benchmark,
        "verdict": verdict.word,
        "reasons": list(verdict.reasons),
        "best_trial": best,
        "n_trials": verdict.n_trials,
        "n_completed": verdict.n_completed,
        "n_effective_trials": verdict.n_effective_trials,
        "n_days": verdict.n_days,
        "sharpe_daily_365": verdict.sharpe_daily_365,
        "sharpe_low_daily_365": verdict.sharpe_low_daily_365,
        "sharpe_high_daily_365": verdict.sharpe_high_daily_365,
        "luck_sharpe_daily_365": a_year(verdict.luck_sharpe_per_day),
        "probabilistic_sharpe": verdict.probabilistic_sharpe,
        "deflated_sharpe": verdict.deflated_sharpe,
        "deflated_sharpe_published": verdict.deflated_sharpe_published,
        "deflated_sharpe_effective": verdict.deflated_sharpe_effective,
        "min_track_record_days": verdict.min_track_record_days
        if math.isfinite(verdict.min_track_record_days)
        else None,
        "pbo": choice and choice.pbo,
        "loss_probability": choice and choice.loss_probability,
        "holdout_sharpe_daily_365": kept and a_year(kept.best_holdout),
        "holdout_place": kept and kept.best_place,
        "rank_correlation": kept and kept.spearman,
        "rank_p_value": kept and kept.p_value,
        "mean_decay": kept and a_year(kept.mean_decay),
        "decided_at_utc": now,
    }
