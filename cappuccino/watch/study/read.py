"""A study as the warehouse knows it, read in one go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl

from cappuccino.errors import UnknownName
from cappuccino.store.warehouse import Reader


@dataclass(frozen=True)
class Analysis:
    """Everything that the views say of one study."""

    study: dict[str, Any]
    """Its row of lab.studies."""
    endings: pl.DataFrame
    convergence: pl.DataFrame
    importances: pl.DataFrame
    seeds: pl.DataFrame
    """lab.seed_sensitivity, with the scores themselves as the list `other`."""
    ablation: pl.DataFrame
    worst: pl.DataFrame
    parameters: pl.DataFrame

    @property
    def name(self) -> str:
        return str(self.study["study"])

    @property
    def is_simulated(self) -> bool:
        return bool(self.study["is_simulated"])

    def summary(self) -> dict[str, Any]:
        """Return the study in one row of plain figures."""
        n_of = dict(self.endings.select("ending", "n_trials").iter_rows())
        n_started = sum(n_of.values())
        n_complete, n_pruned, n_running = (n_of.get(ending, 0) for ending in ("complete", "pruned", "running"))
        last = self.convergence.tail(1)
        best = self.convergence.filter(pl.col("is_record")).tail(1)
        return {
            "study": self.name,
            "state": self.study["state"],
            "n_started": n_started,
            "n_complete": n_complete,
            "n_pruned": n_pruned,
            "n_failed": n_started - n_complete - n_pruned - n_running,
            "best_score": best["score"][0] if len(best) else None,
            "best_trial": best["trial"][0] if len(best) else None,
            "n_since_record": last["n_since_record"][0] if len(last) else None,
        }


def read_analysis(reader: Reader, study: str) -> Analysis:
    """Return what is known of `study`; raises UnknownName with those there are."""
    rows = reader.query("from lab.studies where study = $study", study=study)
    if rows.is_empty():
        known = reader.query("select study from lab.studies order by as_of_utc desc limit 5")["study"]
        raise UnknownName(f"no study {study!r}; there are {', '.join(known) or 'none yet'}")
    return Analysis(
        rows.row(0, named=True),
        reader.query("from lab.trial_endings where study = $study", study=study),
        reader.query("from lab.convergence where study = $study order by trial", study=study),
        reader.query("from lab.importances where study = $study order by importance_frac desc", study=study),
        reader.query(
            """
            with others as (
                select study, trial, list(score order by score) as other
                from lab.variants
                where kind = 'seed' and score is not null
                group by study, trial
            )

            select *
            from lab.seed_sensitivity
            inner join others using (study, trial)
            where study = $study
            order by score desc, trial
            """,
            study=study,
        ),
        reader.query(
            """
            from lab.reward_ablation where study = $study
            and trial = (select arg_max(trial, score) from lab.reward_ablation where study = $study)
            order by change, part
            """,
            study=study,
        ),
        reader.query("from lab.worst_trials where study = $study order by place", study=study),
        reader.query(
            "from lab.worst_parameters where study = $study order by abs(distance_std) desc, parameter", study=study
        ),
    )


def newest_study(reader: Reader) -> str:
    """Return the training study that looked last; raises UnknownName before the first."""
    found = reader.one(
        "select study from lab.studies where kind = 'training' order by as_of_utc desc, study desc limit 1"
    )
    if found is None:
        raise UnknownName("no study has been run yet; `cappuccino run` makes one")
    return str(found[0])
