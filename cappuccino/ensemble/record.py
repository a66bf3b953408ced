"""Ensembles in the warehouse: a study with one trial for each kind of vote, and how they did beside single models."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

import polars as pl

from cappuccino.ensemble.agent import LEARNER
from cappuccino.ensemble.contest import Contest, Result
from cappuccino.ensemble.document import Document, to_json
from cappuccino.ensemble.members import Seat
from cappuccino.ensemble.votes import VOTES, Vote
from cappuccino.features.spec import FeatureSpec
from cappuccino.market.fingerprint import bars_fingerprint
from cappuccino.market.panel import as_datetime
from cappuccino.portfolio.measures import Measures
from cappuccino.registry.artifacts import folder_of, save_document
from cappuccino.registry.identity import ModelId
from cappuccino.registry.manifest import Manifest, ManifestFeatures
from cappuccino.registry.version import code_version, package_versions
from cappuccino.risk.rules import Rules
from cappuccino.search.book import TRIAL_TYPES, Judged, daily_frame, evaluation_frame, evaluation_row, store_judged
from cappuccino.settings import Settings
from cappuccino.store.warehouse import Reader, Warehouse
from cappuccino.validation.baselines import BASELINES, benchmark_returns, run_baselines
from cappuccino.validation.evaluate import EpisodeResult
from cappuccino.validation.joined import equity_sha256, joined_daily

Row = dict[str, Any]
TIME = pl.Datetime("us", "UTC")
SHOWN = (
    "n_bars",
    "sharpe_annualized",
    "total_return_frac",
    "alpha_frac",
    "max_drawdown_frac",
    "profit_factor",
    "exposure_frac",
    "turnover_per_day",
    "trades_per_month",
    "fees_usd",
    "slippage_usd",
)
"""Measures of lab.ensemble_scores; lab.evaluations has all of an ensemble's."""


@dataclass(frozen=True)
class Entry:
    """Whether an ensemble takes the place of the one before."""

    vote: Vote
    previous: ModelId | None
    previous_score: float | None
    is_better: bool
    reason: str


@dataclass(frozen=True)
class Study:
    """Ensembles that were built, with all that was measured."""

    name: str
    seats: Sequence[Seat]
    documents: Mapping[Vote, Document]
    contest: Contest
    entries: Sequence[Entry]
    rivals: Collection[str]
    """Names of the ensembles before."""

    def model(self, vote: Vote) -> ModelId:
        """Return the identity of the ensemble that votes so."""
        return ModelId(self.name, VOTES.index(vote))

    @property
    def span(self) -> tuple[datetime, datetime]:
        """(first decision, end of the bars) of the contest."""
        closed_at = self.contest.episode.closed_at
        return as_datetime(closed_at[0]), as_datetime(closed_at[-1])


def stored(reader: Reader, study: str) -> tuple[ModelId, ...] | None:
    """Return the ensembles of a study that entered, None when there is no such study."""
    rows = reader.query("select trial, is_better from lab.ensembles where study = $study order by trial", study=study)
    return tuple(ModelId(study, trial) for trial, is_in in rows.iter_rows() if is_in) if len(rows) else None


def read_previous(reader: Reader, now: datetime) -> dict[Vote, ModelId]:
    """Return the newest ensemble of each kind that had entered at `now`."""
    rows = reader.query(
        """
        select vote, arg_max(study, (built_at_utc, study)) as study, arg_max(trial, (built_at_utc, study)) as trial
        from lab.ensembles
        where is_better and built_at_utc <= $now
        group by vote
        """,
        now=now,
    )
    return {vote: ModelId(study, trial) for vote, study, trial in rows.iter_rows()}


def store(warehouse: Warehouse, settings: Settings, study: Study, now: datetime, until: datetime) -> None:
    """Write the folders of the ensembles that enter, then every row in one transaction."""
    saved = {entry.vote: _save(settings, study, entry.vote) for entry in study.entries if entry.is_better}
    judged = _judged(study, settings)
    with warehouse.read() as reader:
        row = _study_row(reader, study, settings, now, until)
    with warehouse.write() as writer:
        writer.append("lab.studies", _frame([row]))
        writer.append("lab.trials", _frame([_trial_row(study, one, saved, settings, now) for one in study.entries]))
        store_judged(writer, judged)
        writer.append("lab.ensembles", _frame([_ensemble_row(study, entry, now) for entry in study.entries]))
        writer.append("lab.ensemble_scores", _frame(_score_rows(study)))


def manifest_of(study: Study, vote: Vote, settings: Settings) -> Manifest:
    """Return what an ensemble says about itself: of its members together, wherever they differ."""
    manifests = [seat.candidate.manifest for seat in study.seats]
    first, document = manifests[0], study.documents[vote]
    recall = asdict(document.recall) if vote == "adaptive" else {}
    spec = FeatureSpec(
        tuple(dict.fromkeys(name for one in manifests for name in one.features.indicators)),
        tuple(dict.fromkeys(name for one in manifests for name in one.features.extras)),
        study.seats[0].candidate.market.inputs,
    )
    return Manifest(
        study=study.name,
        trial=VOTES.index(vote),
        hyper={"vote": vote, "n_members": len(manifests), **asdict(document.wish), **recall},
        features=ManifestFeatures(**spec.to_dict(), names=spec.names),
        scaler={},
        symbols=first.symbols,
        interval=first.interval,
        lookback=max(one.lookback for one in manifests),
        data_start=min(one.data_start for one in manifests),
        data_end=max(one.data_end for one in manifests),
        train_start=min(one.train_start for one in manifests),
        train_end=max(one.train_end for one in manifests),
        data_fingerprint="+".join(sorted({one.data_fingerprint for one in manifests})),
        code_version=code_version(),
        learner=LEARNER,
        simulated=settings.is_simulated or any(one.simulated for one in manifests),
        metrics={"score": study.contest.results[vote].score, **asdict(study.contest.results[vote].measures)},
    )


def _save(settings: Settings, study: Study, vote: Vote) -> Manifest:
    folder = folder_of(settings.artifacts, study.model(vote))
    # A folder that is there is of a build that died before its rows were written.
    return save_document(
        folder, manifest_of(study, vote, settings), to_json(study.documents[vote]), replace_unused=True
    )


def _study_row(reader: Reader, study: Study, settings: Settings, now: datetime, until: datetime) -> Row:
    manifest, panel = manifest_of(study, "mean", settings), study.contest.panel
    bars_from = as_datetime(panel.opened_at[0])
    known = reader.one("select max(closed_at_utc) from market.bars_all where closed_at_utc <= $now", now=now)
    return {
        "study": study.name,
        "kind": "ensemble",
        "state": "complete",
        "as_of_utc": now,
        "seed": settings.training.seed,
        "trial_cap": len(VOTES),
        "symbols": list(manifest.symbols),
        "interval": manifest.interval.value,
        "lookback": manifest.lookback,
        "is_simulated": manifest.simulated,
        "data_start_utc": manifest.data_start,
        "data_end_utc": known[0] if known and known[0] else study.span[1],
        "train_end_utc": manifest.train_end,
        "holdout_from_utc": until,
        "data_fingerprint": manifest.data_fingerprint,
        "bars_from_utc": bars_from,
        "bars_fingerprint": bars_fingerprint(reader, manifest.symbols, bars_from, manifest.train_end),
        "code_version": manifest.code_version,
        "packages": json.dumps(package_versions()),
        "settings": settings.model_dump_json(),
        "finished_at_utc": now,
    }


def _trial_row(study: Study, entry: Entry, saved: Mapping[Vote, Manifest], settings: Settings, now: datetime) -> Row:
    """Return an ensemble as a trial: complete when it enters, pruned when the one before stays."""
    manifest, result = manifest_of(study, entry.vote, settings), study.contest.results[entry.vote]
    model = study.model(entry.vote)
    done: Row = dict.fromkeys(TRIAL_TYPES)
    if entry.is_better:
        done |= {
            "score": result.score,
            "artifact": str(model),
            "weight_sha256": saved[entry.vote].weight_sha256,
            "equity_sha256": equity_sha256([_alone(study.contest.episode, result)]),
        }
    return {
        **done,
        "study": model.study,
        "trial": model.trial,
        "state": "complete" if entry.is_better else "pruned",
        "interval": manifest.interval.value,
        "lookback": manifest.lookback,
        "parameters": json.dumps(manifest.hyper),
        "seed": settings.training.seed,
        "fold_scores": [result.score],
        "started_as_of_utc": now,
        "reason": None if entry.is_better else entry.reason,
        "collapsed": result.conduct.collapse,
        "action_spread": result.conduct.action_spread,
    }


def _judged(study: Study, settings: Settings) -> Judged:
    """Return measures and daily returns of the ensembles, and of the baselines on the same bars and costs."""
    contest, rules = study.contest, Rules.of(settings.risk, settings.costs)
    stretch = (contest.panel, contest.start, contest.stop)
    baselines = run_baselines(*stretch, rules, seed=settings.training.seed)
    benchmark = benchmark_returns(*stretch)
    subjects = [
        (VOTES.index(vote), "agent", contest.episode, contest.results[vote].account, contest.results[vote].measures)
        for vote in VOTES
    ]
    subjects += [(-1, name, baselines, n, baselines.measures(n, benchmark)) for n, name in enumerate(BASELINES)]
    rows, daily = [], []
    for trial, subject, episode, account, measures in subjects:
        key = (study.name, trial, subject, "validation", 0)
        rows.append(evaluation_row(*key, contest.panel.interval, study.span, measures))
        daily.append(daily_frame(*key, joined_daily([episode], account)))
    return Judged(evaluation_frame(rows), pl.concat(daily))


def _ensemble_row(study: Study, entry: Entry, now: datetime) -> Row:
    model, (start, stop) = study.model(entry.vote), study.span
    return {
        "study": model.study,
        "trial": model.trial,
        "vote": entry.vote,
        "n_members": len(study.seats),
        "score": study.contest.results[entry.vote].score,
        "previous": str(entry.previous) if entry.previous else None,
        "previous_score": entry.previous_score,
        "is_better": entry.is_better,
        "reason": entry.reason,
        "from_utc": start,
        "to_utc": stop,
        "built_at_utc": now,
    }


def _score_rows(study: Study) -> list[Row]:
    ranks = {str(seat.ranked.model): place for place, seat in enumerate(study.seats)}
    rows = []
    for subject, result in study.contest.results.items():
        role = "member" if subject in ranks else "previous" if subject in study.rivals else "ensemble"
        rows.append(
            {
                "study": study.name,
                "subject": subject,
                "role": role,
                "trial": study.model(_vote(subject)).trial if role == "ensemble" else None,
                "rank": ranks[subject] + 1 if role == "member" else None,
                "walk_forward_score": study.seats[ranks[subject]].ranked.score if role == "member" else None,
                "from_utc": study.span[0],
                "to_utc": study.span[1],
                **_shown(result.measures),
            }
        )
    return rows


def _vote(subject: str) -> Vote:
    return next(vote for vote in VOTES if vote == subject)


def _shown(measures: Measures) -> Row:
    return {name: getattr(measures, name) for name in SHOWN}


def _alone(episode: EpisodeResult, result: Result) -> EpisodeResult:
    """Return an episode with the equity of one account."""
    return replace(episode, equity_usd=episode.equity_usd[:, result.account : result.account + 1])


def _frame(rows: list[Row]) -> pl.DataFrame:
    """Return rows as a frame; a column that may be empty in all of them still has its type."""
    names = {name for row in rows for name in row}
    known: dict[str, Any] = {
        **dict.fromkeys([name for name in names if name.endswith("_utc")], TIME),
        **dict.fromkeys(("trial", "rank"), pl.Int64()),
        **dict.fromkeys(("previous_score", "walk_forward_score"), pl.Float64()),
        "previous": pl.String(),
        **TRIAL_TYPES,
    }
    return pl.DataFrame(rows, schema_overrides={name: kind for name, kind in known.items() if name in names})
