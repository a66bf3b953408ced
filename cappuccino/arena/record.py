"""The arena on the warehouse: candidates enter, matches are played on the bars known now, each stored at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import polars as pl

from cappuccino.arena.candidate import Candidate, ample_history, load_candidate
from cappuccino.arena.gates import Gate
from cappuccino.arena.match import play
from cappuccino.arena.result import MatchResult, Pairing
from cappuccino.arena.rows import match_of, match_row
from cappuccino.arena.season import Round, ladder_of, season
from cappuccino.arena.windows import draw_windows, mostly_traded
from cappuccino.market.interval import Interval
from cappuccino.market.panel import BarPanel
from cappuccino.registry import moves
from cappuccino.registry.artifacts import folder_of, read_manifest
from cappuccino.registry.identity import ModelId
from cappuccino.registry.record import append_decisions, read_book
from cappuccino.registry.stages import Action, Decision, Stage
from cappuccino.risk.rules import Rules
from cappuccino.rl.agent import Market
from cappuccino.settings import Settings
from cappuccino.store.warehouse import Reader, Warehouse, Writer
from cappuccino.validation.audit_record import audit_model
from cappuccino.validation.evaluate import Policy
from cappuccino.validation.seal import open_until

TIME = pl.Datetime("us", "UTC")


@dataclass(frozen=True)
class SeasonSummary:
    """What one call of `play_arena` did, and how the arena stands after it."""

    n_entered: int
    n_matches: int
    promoted: tuple[ModelId, ...]
    champion: ModelId | None


def play_arena(
    warehouse: Warehouse, settings: Settings, now: datetime, on_match: Callable[[str], None] | None = None
) -> SeasonSummary:
    """Let new candidates enter and play until no challenger is left; every round is stored when it is over.

    Raises ArtifactError when a model's folder is damaged, DataError when the bars do not reach for a match.
    """
    entered = enter_candidates(warehouse, settings, now)
    with warehouse.read() as reader:
        book, matches = read_book(reader), read_matches(reader)
    referee = Referee(warehouse, settings, book.in_stage(Stage.ARENA), now)

    def vet(model: ModelId) -> str | None:
        report = audit_model(warehouse, settings, model, now)
        return None if report.passed else f"failed its audit: {report.said}"

    rounds: list[Round] = []
    for played in season(book, matches, referee.play, settings.arena.streak, now, vet):
        with warehouse.write() as writer:
            store_round(writer, played)
        rounds.append(played)
        if on_match and played.match:
            on_match(_line(played.match))
    with warehouse.read() as reader:
        ladder = ladder_of(read_book(reader), read_matches(reader), settings.arena.streak)
    risen = [d.model for r in rounds for d in r.decisions if d.action is Action.PROMOTE]
    return SeasonSummary(len(entered), sum(r.match is not None for r in rounds), tuple(risen), ladder.champion)


def enter_candidates(warehouse: Warehouse, settings: Settings, now: datetime) -> tuple[ModelId, ...]:
    """Let every candidate into the arena that passes the gate, in the order of studies and trials.

    Candidates are completed trials of every family, ensembles only when they were better than the one before. Every
    judgement of the gate is stored.
    """
    gate = Gate.of(settings.arena)
    with warehouse.write() as writer:
        book = read_book(writer)
        decisions: list[Decision] = []
        judged: list[dict[str, Any]] = []
        for study, trial, sharpe, profit_factor in _candidates(writer).iter_rows():
            model = ModelId(study, trial)
            refusal = gate.refusal(sharpe, profit_factor)
            judged.append(
                {
                    "study": study,
                    "trial": trial,
                    "sharpe_annualized": sharpe,
                    "profit_factor": profit_factor,
                    "min_sharpe": gate.min_sharpe,
                    "min_profit_factor": gate.min_profit_factor,
                    "passed": refusal is None,
                    "reason": refusal,
                    "judged_at_utc": now,
                }
            )
            if refusal is None:
                reason = f"completed its trial with a Sharpe of {sharpe:.3f} and a profit factor of {profit_factor:.2f}"
                figures = {"sharpe_annualized": sharpe, "profit_factor": profit_factor}
                made = moves.enter(book, model, now, reason, figures, "rule")
                book = book.apply(*made)
                decisions += made
        if judged:
            frame = pl.DataFrame(judged, schema_overrides={"reason": pl.String, "judged_at_utc": TIME})
            writer.upsert("arena.gates", frame)
        append_decisions(writer, tuple(decisions))
    return tuple(decision.model for decision in decisions)


def _candidates(reader: Reader) -> pl.DataFrame:
    """Return (study, trial, Sharpe, profit factor) of every candidate that has not entered, in order."""
    return reader.query(
        """
        select lab.trials.study, lab.trials.trial, avg(sharpe_annualized), median(profit_factor)
        from lab.trials
        inner join lab.studies using (study)
        inner join lab.evaluations on lab.evaluations.study = lab.trials.study
            and lab.evaluations.trial = lab.trials.trial
            and lab.evaluations.subject = 'agent'
            and lab.evaluations.scope = 'validation'
        anti join promotion.decisions
            on promotion.decisions.study = lab.trials.study and promotion.decisions.trial = lab.trials.trial
        anti join lab.ensembles
            on lab.ensembles.study = lab.trials.study
            and lab.ensembles.trial = lab.trials.trial
            and not lab.ensembles.is_better
        where lab.studies.kind <> 'timeframe' and lab.studies.state in ('complete', 'converged')
            and lab.trials.state = 'complete'
        group by lab.studies.as_of_utc, lab.trials.study, lab.trials.trial
        order by lab.studies.as_of_utc, lab.trials.study, lab.trials.trial
        """
    )


def read_matches(reader: Reader) -> list[MatchResult]:
    """Return every match that was played, in order."""
    return [
        match_of(row) for row in reader.query("select * from arena.matches order by sequence").iter_rows(named=True)
    ]


def store_round(writer: Writer, played: Round) -> None:
    """Store a match together with the decisions that follow from it."""
    if played.match:
        rows = pl.DataFrame([match_row(played.match)], schema_overrides={"winner": pl.String, "played_at_utc": TIME})
        writer.append("arena.matches", rows)
    append_decisions(writer, played.decisions)


class Fighter:
    """A candidate in the arena; its features are computed once, not once a match."""

    def __init__(self, agent: Candidate, panel: BarPanel) -> None:
        self.agent, self.panel = agent, panel

    @property
    def interval(self) -> Interval:
        return self.agent.interval

    @property
    def lookback(self) -> int:
        return self.agent.lookback

    @cached_property
    def _policy(self) -> Policy:
        return self.agent.policy(self.panel)

    def policy(self, panel: BarPanel) -> Policy:
        """Return the agent's decisions over `panel`, which is the one it was made with."""
        if panel is not self.panel:
            raise ValueError("a fighter trades the panel that it was made with")
        return self._policy


class Referee:
    """Plays one pairing after the other on the bars before the holdout of one moment; it loads no later ones."""

    def __init__(self, warehouse: Warehouse, settings: Settings, models: tuple[ModelId, ...], now: datetime) -> None:
        self.warehouse, self.settings, self.now = warehouse, settings, now
        with warehouse.read() as reader:
            self.until = open_until(reader, settings, now)
        self.rules = Rules.of(settings.risk, settings.costs)
        manifests = [read_manifest(folder_of(settings.artifacts, model), model) for model in models]
        self._unseen_from = min((manifest.unseen_from for manifest in manifests), default=now)
        self._fighters: dict[ModelId, Fighter] = {}
        self._panels: dict[Market, BarPanel] = {}
        self._history: dict[Market, int] = {}

    def play(self, pairing: Pairing) -> MatchResult:
        """Return the match of `pairing` over windows that neither side trained on."""
        champion, challenger = fighters = self._fighter(pairing.champion), self._fighter(pairing.challenger)
        panels = (champion.panel, challenger.panel)
        longest = max((fighter.interval for fighter in fighters), key=lambda interval: interval.us)
        arena = self.settings.arena
        unseen_from = max(fighter.agent.manifest.unseen_from for fighter in fighters)
        windows = draw_windows(
            pairing.seed,
            unseen_from,
            self.until,
            arena.windows,
            arena.window_days,
            longest,
            mostly_traded(panels, self.settings.market.max_filled_frac),
        )
        cash_usd = self.settings.sandbox.cash_usd
        return play(
            pairing,
            champion,
            challenger,
            panels,
            windows,
            self.rules,
            arena.score,
            self.now,
            cash_usd=cash_usd,
        )

    def _fighter(self, model: ModelId) -> Fighter:
        if model not in self._fighters:
            agent = load_candidate(self.settings.artifacts, model)
            self._fighters[model] = Fighter(agent, self._panel(agent))
        return self._fighters[model]

    def _panel(self, agent: Candidate) -> BarPanel:
        """Return the bars from before the earliest window on, shared by all agents on that market."""
        # Who needs a longer history than who came before gets bars from further back; scores are the same.
        if agent.market not in self._panels or agent.history_bars > self._history[agent.market]:
            self._history[agent.market] = agent.history_bars
            start = self._unseen_from - ample_history(agent)
            with self.warehouse.read() as reader:
                self._panels[agent.market] = agent.market.panel(reader, self.until, start)
        return self._panels[agent.market]


def _line(match: MatchResult) -> str:
    pairing = match.pairing
    return (
        f"match {pairing.sequence}: {pairing.champion} against {pairing.challenger}, "
        f"{match.champion_wins}:{match.challenger_wins}, {match.winner or 'a draw'}"
    )
