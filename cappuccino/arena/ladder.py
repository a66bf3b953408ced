"""The arena's state, folded from what was recorded: who holds the ladder, whom he has beaten, who waits.

Models stand in one line in the order in which they came. The first is the champion, the second challenges.
The winner stays, the loser is eliminated for good. A draw is not enough to take the place: the challenger
goes, but does not count as beaten. A champion that has beaten `streak` different opponents in a row is due
for promotion; nobody plays before it has departed. Then the next in line is champion without a fight.

Nobody who was eliminated or has departed ever stands in the line again, and so no two models meet twice.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from cappuccino.arena.result import MatchResult, Pairing
from cappuccino.errors import StageError
from cappuccino.registry.identity import ModelId


@dataclass(frozen=True)
class Ladder:
    """The arena between two matches; every method returns the next state."""

    streak: int
    """Different opponents beaten in a row that promote."""
    line: tuple[ModelId, ...] = ()
    """Champion, challenger, and who waits behind them."""
    beaten: tuple[ModelId, ...] = ()
    """Whom the champion has beaten since it came to the front."""
    eliminated: Mapping[ModelId, MatchResult] = field(default_factory=dict)
    """Who lost, and the match that he lost."""
    departed: frozenset[ModelId] = frozenset()
    """Who left without losing: promoted, or retired by the operator."""
    n_matches: int = 0

    @property
    def champion(self) -> ModelId | None:
        return self.line[0] if self.line else None

    @property
    def waiting(self) -> tuple[ModelId, ...]:
        return self.line[1:]

    @property
    def promotion_due(self) -> ModelId | None:
        """The champion, once its row of victories is long enough."""
        return self.champion if len(self.beaten) >= self.streak else None

    def next_pairing(self) -> Pairing | None:
        """Return who plays next; None when a promotion is due or nobody waits."""
        return None if self.promotion_due else self._front()

    def enter(self, model: ModelId) -> Ladder:
        """Put `model` at the end of the line; raises StageError when it has been here before."""
        if model in self.line or model in self.eliminated or model in self.departed:
            raise StageError(f"model {model} has entered the arena before; nobody enters twice")
        return replace(self, line=(*self.line, model))

    def play(self, match: MatchResult) -> Ladder:
        """Return the ladder after `match`; raises StageError unless it is that of the first two in line."""
        due = self._front()
        if match.pairing != due:
            raise StageError(
                f"match {match.pairing.sequence} is {_versus(match.pairing)}, but the line calls for "
                f"{_versus(due)}; compare arena.matches with the decisions"
            )
        champion, challenger, *rest = self.line
        loser = champion if match.winner == challenger else challenger
        beaten = {champion: (*self.beaten, challenger), challenger: (champion,), None: self.beaten}[match.winner]
        return replace(
            self,
            line=(challenger if loser == champion else champion, *rest),
            beaten=beaten,
            eliminated=MappingProxyType({**self.eliminated, loser: match}),
            n_matches=self.n_matches + 1,
        )

    def depart(self, *models: ModelId) -> Ladder:
        """Return the ladder without `models`; who was eliminated before stays eliminated."""
        leaving = frozenset(models) - self.eliminated.keys()
        return replace(
            self,
            line=tuple(model for model in self.line if model not in leaving),
            beaten=() if self.champion in leaving else self.beaten,
            departed=self.departed | leaving,
        )

    def _front(self) -> Pairing | None:
        """Return the two in front. A history may hold matches beyond a `streak` that was lowered since."""
        if len(self.line) < 2:
            return None
        return Pairing(self.line[0], self.line[1], self.n_matches + 1)


def fold(
    entrants: Iterable[ModelId], matches: Iterable[MatchResult], departures: Collection[ModelId], streak: int
) -> Ladder:
    """Return the ladder that a history leads to.

    `entrants` come in the order of their entry, `matches` in any. `departures` need no time: whoever of them
    is in the way of a recorded match had left before it. Raises StageError when a match was not the one due.
    """
    left = frozenset(departures)
    ladder = Ladder(streak)
    for model in entrants:
        ladder = ladder.enter(model)
    for match in sorted(matches, key=lambda m: m.pairing.sequence):
        ladder = ladder.depart(*_in_the_way(ladder, match.pairing, left)).play(match)
    return ladder.depart(*left.intersection(ladder.line))


def _in_the_way(ladder: Ladder, pairing: Pairing, left: frozenset[ModelId]) -> list[ModelId]:
    """Return those of `left` who stand before the two of `pairing`."""
    players = (pairing.champion, pairing.challenger)
    n_before = ladder.line.index(pairing.challenger) if pairing.challenger in ladder.line else 0
    return [model for model in ladder.line[:n_before] if model in left and model not in players]


def _versus(pairing: Pairing | None) -> str:
    return f"{pairing.champion} against {pairing.challenger}" if pairing else "none"
