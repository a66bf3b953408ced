"""Break the seal of studies in which all is decided, once each, and store what was in the holdout.

Nothing reads the result to decide: the arena has played, who is promoted is chosen already or will be by new bars.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime

import numpy as np
import polars as pl

from cappuccino.arena.candidate import ample_history, load_candidate
from cappuccino.errors import CappuccinoError
from cappuccino.judgement.trials import Skill, Stretch, play, play_all, skill_of, stretch_of
from cappuccino.judgement.verdict import verdict_rows
from cappuccino.registry.identity import ModelId
from cappuccino.risk.rules import Rules
from cappuccino.search.book import TIME, Judged, Row, daily_frame, evaluation_frame, evaluation_row, store_judged
from cappuccino.settings import Settings
from cappuccino.store.warehouse import Reader, Warehouse
from cappuccino.validation.baselines import BASELINES, run_baselines
from cappuccino.validation.evaluate import EpisodeResult
from cappuccino.validation.joined import joined_daily, joined_measures

N_COMPARED = 10
"""Models of a study, the best by score, that are compared with chance."""
OPTIONAL_SKILLS = {
    f"{way}_sharpe_annualized": pl.Float64 for way in ("random_timing", "entry_permutation", "symbol_permutation")
}
Say = Callable[[str], None]


@dataclass(frozen=True)
class Sealed:
    """A finished study whose holdout nobody has seen."""

    study: str
    kind: str
    holdout_from: datetime
    until: datetime
    models: tuple[ModelId, ...]
    """Its completed trials, the best first."""


def open_holdouts(warehouse: Warehouse, settings: Settings, now: datetime, say: Say = print) -> tuple[str, ...]:
    """Judge the completed trials of every finished study on its holdout, once; returns the studies.

    A holdout in which a match was played proves nothing: that is recorded instead of figures. Raises DataError when
    bars are missing, ArtifactError when a model is damaged.
    """
    with warehouse.read() as reader:
        due = sealed_studies(reader, now)
    opened, failed = [], []
    for sealed in due:
        try:
            say(_open(warehouse, settings, sealed, now))
            opened.append(sealed.study)
        except CappuccinoError as error:  # the others need not wait for it
            failed.append(error)
    if failed:
        raise failed[0]
    return tuple(opened)


def sealed_studies(reader: Reader, now: datetime) -> list[Sealed]:
    """Return the studies that have ended and whose holdout is still closed, oldest first."""
    rows = reader.query(
        """
        select
            lab.studies.study, kind, holdout_from_utc, data_end_utc,
            list(lab.trials.trial order by lab.trials.score desc, lab.trials.trial) as trials
        from lab.studies
        inner join lab.trials using (study)
        anti join lab.holdouts using (study)
        where kind <> 'timeframe' and lab.studies.state in ('complete', 'converged')
            and lab.trials.state = 'complete' and lab.trials.artifact is not null
            and holdout_from_utc < data_end_utc and as_of_utc <= $now
        group by all
        order by any_value(as_of_utc), lab.studies.study
        """,
        now=now,
    )
    return [
        Sealed(study, kind, holdout_from, until, tuple(ModelId(study, trial) for trial in trials))
        for study, kind, holdout_from, until, trials in rows.iter_rows()
    ]


def _open(warehouse: Warehouse, settings: Settings, sealed: Sealed, now: datetime) -> str:
    """Judge one study; returns what to say of it."""
    with warehouse.read() as reader:
        n_inside, n_before = _windows_inside(reader, sealed), _opened_before(reader, sealed)
    if n_inside:
        with warehouse.write() as writer:
            writer.append("lab.holdouts", _row(sealed, now, 0, n_inside, n_before))
        return f"{sealed.study}: {n_inside} windows of the arena lie inside its holdout, which proves nothing any more"
    with warehouse.read() as reader:
        arena, holdout = _stretches(reader, settings, sealed)
    seen = _Seen(sealed.study, Rules.of(settings.risk, settings.costs), settings.training.seed)
    played = play_all(sealed.models, settings.artifacts, holdout, seen.rules, settings.training.workers)
    for place, (model, episode) in enumerate(zip(sealed.models, played, strict=True)):
        seen.add_model(model, holdout, episode, compared=place < N_COMPARED)
    seen.add_baselines(holdout)
    if arena:
        for model in sealed.models[:N_COMPARED]:
            seen.add_model(model, arena, play(model, settings.artifacts, arena, seen.rules), compared=True)
        seen.add_baselines(arena)
    with warehouse.write() as writer:
        store_judged(writer, Judged(evaluation_frame(seen.evaluations), pl.concat(seen.daily)))
        writer.upsert("lab.skill", pl.DataFrame(seen.skills, schema_overrides=OPTIONAL_SKILLS))
        writer.append("lab.holdouts", _row(sealed, now, len(sealed.models), 0, n_before))
        # Ensembles were chosen on the arena's bars, among few: the verdict is that of the study of their members.
        verdicts = pl.DataFrame() if sealed.kind == "ensemble" else verdict_rows(writer, sealed.study, now)
        if len(verdicts):
            writer.upsert("lab.overfitting", verdicts)
    return f"{sealed.study}: {len(sealed.models)} models on the holdout from {sealed.holdout_from:%F %R} UTC"


def _row(sealed: Sealed, now: datetime, n_models: int, n_inside: int, n_before: int) -> pl.DataFrame:
    row = {
        "study": sealed.study,
        "from_utc": sealed.holdout_from,
        "to_utc": sealed.until,
        "n_models": n_models,
        "n_windows_inside": n_inside,
        "n_opened_before": n_before,
        "opened_at_utc": now,
    }
    return pl.DataFrame([row], schema_overrides=dict.fromkeys(("from_utc", "to_utc", "opened_at_utc"), TIME))


class _Seen:
    """The rows on one study, as they come."""

    def __init__(self, study: str, rules: Rules, seed: int) -> None:
        self.study, self.rules, self.seed = study, rules, seed
        self.evaluations: list[Row] = []
        self.daily: list[pl.DataFrame] = []
        self.skills: list[Row] = []

    def add_model(self, model: ModelId, stretch: Stretch, episode: EpisodeResult, *, compared: bool) -> None:
        self._add(model.trial, "agent", stretch, episode, 0)
        if compared:
            skill = skill_of(episode, stretch, self.rules, self.seed)
            self.skills.append({"study": model.study, "trial": model.trial, "scope": stretch.scope, **_figures(skill)})

    def add_baselines(self, stretch: Stretch) -> None:
        episode = run_baselines(stretch.panel, *stretch.segment, self.rules, seed=self.seed)
        for n, name in enumerate(BASELINES):
            self._add(-1, name, stretch, episode, n)

    def _add(self, trial: int, subject: str, stretch: Stretch, episode: EpisodeResult, account: int) -> None:
        measures = joined_measures(stretch.panel, [stretch.segment], [episode], account)
        interval = stretch.panel.interval
        row = evaluation_row(self.study, trial, subject, stretch.scope, 0, interval, stretch.span, measures)
        self.evaluations.append(row)
        self.daily.append(daily_frame(self.study, trial, subject, stretch.scope, 0, joined_daily([episode], account)))


def _figures(skill: Skill) -> Row:
    row: Row = {
        "sharpe_annualized": skill.comparisons[0].own_sharpe_annualized,
        "n_permutations": max(one.n for one in skill.comparisons),
    }
    for one in skill.comparisons:
        row[f"p_{one.way}"] = one.p_sharpe
        row[f"{one.way}_sharpe_annualized"] = float(np.median(one.sharpe_annualized)) if one.n else None
    fit = asdict(skill.fit)
    return row | {name: fit[name] for name in ("beta", "alpha_per_day_frac", "alpha_t", "timing_gamma", "timing_t")}


def _windows_inside(reader: Reader, sealed: Sealed) -> int:
    """Return how many windows of matches of its models reach into the holdout."""
    found = reader.one(
        """
        select count(*) from arena.windows
        where to_utc > $since and from_utc < $until
            and (list_contains($models, champion) or list_contains($models, challenger))
        """,
        since=sealed.holdout_from,
        until=sealed.until,
        models=[str(model) for model in sealed.models],
    )
    return int(found[0]) if found else 0


def _opened_before(reader: Reader, sealed: Sealed) -> int:
    """Return how many studies of this kind saw some of these bars opened: each look makes the next worth less."""
    found = reader.one(
        """
        select count(*) from lab.holdouts inner join lab.studies using (study)
        where kind = $kind and from_utc < $until and to_utc > $since
        """,
        kind=sealed.kind,
        since=sealed.holdout_from,
        until=sealed.until,
    )
    return int(found[0]) if found else 0


def _stretches(reader: Reader, settings: Settings, sealed: Sealed) -> tuple[Stretch | None, Stretch]:
    """Return the rows of the arena's range and of the holdout; no arena when it is shorter than two bars."""
    candidate = load_candidate(settings.artifacts, sealed.models[0])
    unseen_from = candidate.manifest.unseen_from
    panel = candidate.market.panel(reader, sealed.until, unseen_from - ample_history(candidate))
    has_arena = sealed.holdout_from - unseen_from >= 2 * candidate.interval.duration
    arena = stretch_of("arena", panel, unseen_from, sealed.holdout_from) if has_arena else None
    return arena, stretch_of("holdout", panel, sealed.holdout_from, sealed.until)
