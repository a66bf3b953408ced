"""Play the arena on: match by match, with the decisions that follow from each.

What a round yields belongs into one transaction. The ladder is folded from the stored rounds: a crash costs
at most the match that was being played.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from cappuccino.arena.ladder import Ladder, fold
from cappuccino.arena.result import MatchResult, Pairing
from cappuccino.registry import moves
from cappuccino.registry.identity import ModelId
from cappuccino.registry.stages import Action, Decision, Stage, StageBook

Vet = Callable[[ModelId], str | None]
"""Returns what speaks against a model's going to the sandbox, or None."""


@dataclass(frozen=True)
class Round:
    """One step of a season."""

    match: MatchResult | None
    """None when only decisions were due."""
    decisions: tuple[Decision, ...]


def ladder_of(book: StageBook, matches: Iterable[MatchResult], streak: int) -> Ladder:
    """Return the ladder of all who have entered; raises StageError when matches and decisions disagree."""
    entrants = [d.model for d in book.decisions if d.action is Action.ENTER]
    departures = [model for model in entrants if book.stage(model) is not Stage.ARENA]
    return fold(entrants, matches, departures, streak)


def season(
    book: StageBook,
    matches: Iterable[MatchResult],
    play: Callable[[Pairing], MatchResult],
    streak: int,
    now: datetime,
    vet: Vet,
) -> Iterator[Round]:
    """Play until one model is left in the line; yields each round after it was played, before the next.

    Losers retire; a champion with a long enough row goes to the sandbox if `vet` finds nothing against it, and retires
    otherwise. Stop iterating to stop the season.
    """
    ladder = ladder_of(book, matches, streak)
    match = None
    while True:
        decisions = arena_verdicts(book, ladder, now, vet)
        if match or decisions:
            yield Round(match, decisions)
        book = book.apply(*decisions)
        ladder = ladder.depart(*(d.model for d in decisions))
        pairing = ladder.next_pairing()
        if pairing is None:
            return
        match = play(pairing)
        ladder = ladder.play(match)


def arena_verdicts(book: StageBook, ladder: Ladder, now: datetime, vet: Vet) -> tuple[Decision, ...]:
    """Return what the ladder demands of who is still in the arena: losers retire, a due champion rises if vetted."""
    verdicts: tuple[Decision, ...] = ()
    for model in book.in_stage(Stage.ARENA):
        if model in ladder.eliminated:
            reason, figures = _defeat(ladder.eliminated[model], model)
            decided = moves.retire(book, model, now, reason, figures, "rule")
        elif model == ladder.promotion_due:
            reason = f"beat {len(ladder.beaten)} different opponents in a row"
            figures = {"n_beaten": float(len(ladder.beaten)), "streak": float(ladder.streak)}
            objection = vet(model)
            move = moves.retire if objection else moves.promote
            decided = move(book, model, now, objection or f"{reason}, and passed its audit", figures, "rule")
        else:
            continue
        book = book.apply(*decided)
        verdicts += decided
    return verdicts


def _defeat(match: MatchResult, loser: ModelId) -> tuple[str, dict[str, float]]:
    champion_lost = loser == match.pairing.champion
    won, lost = match.champion_wins, match.challenger_wins
    won, lost = (won, lost) if champion_lost else (lost, won)
    rival = match.pairing.challenger if champion_lost else match.pairing.champion
    verb = "lost to" if match.winner else "drew with the champion"
    figures = {"windows_won": float(won), "windows_lost": float(lost), "match": float(match.pairing.sequence)}
    return f"{verb} {rival}, {won}:{lost} windows", figures
