"""The four ensembles of the newest candidates, judged beside their members and the ensembles before them on equal bars.

members' training | members have seen none of this | never asked for
                  start ------------------------ until
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median

import numpy as np

from cappuccino.arena.candidate import Candidate, ample_bars, load_candidate
from cappuccino.ensemble.agent import Assembly, LoadMember, voter_of
from cappuccino.ensemble.contest import Contest, compete
from cappuccino.ensemble.document import MIN_MEMBERS, Document, Member, to_json
from cappuccino.ensemble.members import SAMPLE_BARS, Passes, Ranked, Seat, choose, distinct, ranked_trials
from cappuccino.ensemble.record import Entry, Study, read_previous, store, stored
from cappuccino.ensemble.seasons import Recall
from cappuccino.ensemble.votes import VOTES, Vote, equal_shares, score_shares
from cappuccino.env.wish import Wish
from cappuccino.errors import ArtifactError
from cappuccino.market.panel import BarPanel, as_datetime64
from cappuccino.registry.identity import ModelId
from cappuccino.risk.rules import Rules
from cappuccino.rl.agent import Market
from cappuccino.settings import EnsembleSettings, Settings
from cappuccino.store.warehouse import Warehouse
from cappuccino.validation.conduct import Decides

MIN_STEPS = 10
"""Unseen bars below which there is nothing to compare."""

OnLine = Callable[[str], None]


@dataclass(frozen=True)
class Built:
    """What one call of `build_ensembles` did."""

    study: str | None
    """None when there is no ensemble."""
    n_members: int
    entered: tuple[ModelId, ...]
    """Those that take the place of the ones before them."""
    is_new: bool
    """False when the same members had been brought together before."""
    said: str
    """What came of it, or why there is none."""


@dataclass(frozen=True)
class _Rival:
    """The newest ensemble of a kind that entered before; without a candidate when it cannot be loaded."""

    model: ModelId
    candidate: Candidate | None


def build_ensembles(
    warehouse: Warehouse,
    settings: Settings,
    now: datetime,
    until: datetime,
    *,
    passes: Passes = lambda model: True,
    load: LoadMember = load_candidate,
    on_line: OnLine = lambda line: None,
) -> Built:
    """Bring the best candidates known at `now` together, and judge them on bars that closed up to `until`.

    `passes` says who passes the quality gates. The same members make the same study, once: calling again changes
    nothing. Raises ArtifactError when a candidate's folder is damaged, DataError when bars are missing.
    """
    if settings.ensembles.members < MIN_MEMBERS:
        return _nothing(f"ensembles.members is {settings.ensembles.members}")
    with warehouse.read() as reader:
        ranked = ranked_trials(reader, now)
    eligible = list(distinct(ranked, passes))
    if len(eligible) < MIN_MEMBERS:
        return _nothing(f"{len(eligible)} of {len(ranked)} completed trials may be members, {MIN_MEMBERS} are needed")
    panel, seats = _seated(warehouse, settings, eligible, until, load)
    if len(seats) < MIN_MEMBERS:
        return _nothing(f"{len(seats)} of {len(eligible)} eligible trials vote differently, {MIN_MEMBERS} are needed")
    documents = documents_of(seats, settings.ensembles)
    study = study_name(seats, documents)
    with warehouse.read() as reader:
        entered, previous = stored(reader, study), read_previous(reader, now)
    if entered is not None:
        return Built(study, len(seats), entered, False, "the same members were brought together before")
    rivals = _rivals(previous, settings, load)
    since = max(candidate.manifest.unseen_from for candidate in _all_candidates(seats, rivals))
    n_steps = len(panel) - row_closed_at(panel, since) - 1
    if n_steps < MIN_STEPS:
        return _nothing(f"{max(n_steps, 0)} bars that no member trained on, {MIN_STEPS} are needed")
    contest = _contest(seats, documents, rivals, panel, since, settings)
    scores = {**_scores(contest), **_elsewhere(warehouse, settings, rivals, seats[0].candidate.market, since, until)}
    entries = tuple(_entry(vote, contest, rivals.get(vote), scores, settings.ensembles) for vote in VOTES)
    for entry in entries:
        on_line(f"{entry.vote}: {entry.reason}")
    done = Study(study, seats, documents, contest, entries, {str(rival.model) for rival in rivals.values()})
    store(warehouse, settings, done, now, until)
    models = tuple(done.model(entry.vote) for entry in entries if entry.is_better)
    return Built(study, len(seats), models, True, f"{len(models)} of {len(entries)} enter")


def documents_of(seats: Sequence[Seat], settings: EnsembleSettings) -> dict[Vote, Document]:
    """Return one ensemble of the seats for each kind of vote; the wish is the middle of the members' wishes."""
    scores = [seat.ranked.score for seat in seats]
    shares = {vote: score_shares(scores) if vote == "score" else equal_shares(len(seats)) for vote in VOTES}
    wishes = [seat.voter.wish for seat in seats]
    wish = Wish(
        max_weight=median(one.max_weight for one in wishes),
        cash_reserve=median(one.cash_reserve for one in wishes),
        no_trade_band=median(one.no_trade_band for one in wishes),
    )
    recall = Recall(settings.reward_bars, settings.drop_every_bars, settings.keep)
    return {
        vote: Document(vote, wish, recall, tuple(_member(s, w) for s, w in zip(seats, weights.tolist(), strict=True)))
        for vote, weights in shares.items()
    }


def study_name(seats: Sequence[Seat], documents: Mapping[Vote, Document]) -> str:
    """Return the name of a study: that of its members, whenever they are brought together."""
    as_of = max(seat.ranked.as_of for seat in seats)
    text = "".join(to_json(document) for document in documents.values())
    return f"ensemble-{as_of:%Y%m%dT%H%M}-{hashlib.blake2b(text.encode(), digest_size=3).hexdigest()}"


def is_better(score: float, previous: float, min_improvement_frac: float) -> bool:
    """Return whether a score exceeds another by a share of its size, whatever its sign: -0.99 is 1 % better than -1."""
    return score > previous and score - previous >= min_improvement_frac * abs(previous)


def row_closed_at(panel: BarPanel, moment: datetime) -> int:
    """Return the first row that closed at `moment` or later; it may lie behind the end of the panel."""
    return int(np.searchsorted(panel.closed_at, as_datetime64(moment)))


def _nothing(why: str) -> Built:
    return Built(None, 0, (), False, f"no ensemble: {why}")


def _member(seat: Seat, weight: float) -> Member:
    ranked = seat.ranked
    return Member(ranked.model.study, ranked.model.trial, ranked.weight_sha256, ranked.score, weight)


def _panel(warehouse: Warehouse, candidate: Candidate, settings: EnsembleSettings, until: datetime) -> BarPanel:
    """Return the bars of a candidate's market that ensembles with it need before their first decision, and up to then.

    Ample for one candidate, since others may need more.
    """
    recall = Recall(settings.reward_bars, settings.drop_every_bars, settings.keep)
    n_bars = ample_bars(candidate) + recall.history_bars(settings.members) + SAMPLE_BARS
    with warehouse.read() as reader:
        start = candidate.manifest.unseen_from - n_bars * candidate.interval.duration
        return candidate.market.panel(reader, until, start)


def _seated(
    warehouse: Warehouse, settings: Settings, eligible: Sequence[Ranked], until: datetime, load: LoadMember
) -> tuple[BarPanel, list[Seat]]:
    """Return the bars to vote on, and those of `eligible` who become members."""
    first = load(settings.artifacts, eligible[0].model)
    panel = _panel(warehouse, first, settings.ensembles, until)
    before = min(row_closed_at(panel, first.manifest.unseen_from), len(panel))
    return panel, choose(_offered(eligible, first, panel, settings, load), panel, before, settings.ensembles.members)


def _offered(
    eligible: Sequence[Ranked], first: Candidate, panel: BarPanel, settings: Settings, load: LoadMember
) -> Iterator[Seat]:
    """Yield the candidates that trade the market of the first, ready to vote, in their order."""
    for ranked in eligible:
        candidate = first if ranked is eligible[0] else load(settings.artifacts, ranked.model)
        _require_recorded(ranked, candidate)
        if candidate.market == first.market:
            yield Seat(ranked, candidate, voter_of(candidate, panel))


def _require_recorded(ranked: Ranked, candidate: Candidate) -> None:
    if candidate.manifest.weight_sha256 != ranked.weight_sha256:
        raise ArtifactError(
            f"the weights of model {ranked.model} are not those of its trial: found sha256 "
            f"{candidate.manifest.weight_sha256}, lab.trials has {ranked.weight_sha256}; restore the folder, "
            "or retire the model"
        )


def _rivals(previous: Mapping[Vote, ModelId], settings: Settings, load: LoadMember) -> dict[Vote, _Rival]:
    rivals = {}
    for vote, model in previous.items():
        try:
            rivals[vote] = _Rival(model, load(settings.artifacts, model))
        except ArtifactError:  # what cannot trade any more keeps nobody out
            rivals[vote] = _Rival(model, None)
    return rivals


def _all_candidates(seats: Sequence[Seat], rivals: Mapping[Vote, _Rival]) -> list[Candidate]:
    return [seat.candidate for seat in seats] + [r.candidate for r in rivals.values() if r.candidate is not None]


def _contest(
    seats: Sequence[Seat],
    documents: Mapping[Vote, Document],
    rivals: Mapping[Vote, _Rival],
    panel: BarPanel,
    since: datetime,
    settings: Settings,
) -> Contest:
    """Return what ensembles, members and the rivals of their market do from `since` to the end of the panel."""
    voters = [seat.voter for seat in seats]
    policies: dict[str, Decides] = {vote: Assembly(one, voters, panel) for vote, one in documents.items()}
    policies |= {str(seat.ranked.model): seat.voter for seat in seats}
    policies |= {
        str(rival.model): voter_of(rival.candidate, panel)
        for rival in rivals.values()
        if rival.candidate is not None and rival.candidate.market == seats[0].candidate.market
    }
    start = row_closed_at(panel, since)
    return compete(policies, panel, start, len(panel), Rules.of(settings.risk, settings.costs))


def _scores(contest: Contest) -> dict[str, float]:
    return {name: result.score for name, result in contest.results.items()}


def _elsewhere(
    warehouse: Warehouse,
    settings: Settings,
    rivals: Mapping[Vote, _Rival],
    here: Market,
    since: datetime,
    until: datetime,
) -> dict[str, float]:
    """Return the scores, over the same time, of rivals that trade another market."""
    scores: dict[str, float] = {}
    for rival in rivals.values():
        if rival.candidate is not None and rival.candidate.market != here:
            panel = _panel(warehouse, rival.candidate, settings.ensembles, until)
            start = row_closed_at(panel, since)
            if len(panel) - start - 1 < MIN_STEPS:
                continue
            rules = Rules.of(settings.risk, settings.costs)
            name = str(rival.model)
            scores |= _scores(compete({name: voter_of(rival.candidate, panel)}, panel, start, len(panel), rules))
    return scores


def _entry(
    vote: Vote, contest: Contest, rival: _Rival | None, scores: Mapping[str, float], settings: EnsembleSettings
) -> Entry:
    score = contest.results[vote].score
    if rival is None:
        return Entry(vote, None, None, True, f"{score:.3f}, the first of its kind")
    previous = scores.get(str(rival.model))
    if previous is None:
        return Entry(vote, rival.model, None, True, f"{score:.3f}; {rival.model} before it cannot be judged any more")
    wins = is_better(score, previous, settings.min_improvement_frac)
    how = f"{'at least' if wins else 'not'} {100 * settings.min_improvement_frac:g} % better than {previous:.3f}"
    return Entry(vote, rival.model, previous, wins, f"{score:.3f} is {how} of {rival.model} on the same bars")
