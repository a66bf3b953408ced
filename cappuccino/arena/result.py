"""A match: who meets whom, and what came of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

from cappuccino.clock import require_utc
from cappuccino.registry.identity import ModelId


@dataclass(frozen=True)
class Pairing:
    """The next match. Its identity follows from the two models: a repeated attempt is the same match."""

    champion: ModelId
    challenger: ModelId
    sequence: int
    """The how-manieth match of the ladder, from 1."""

    @property
    def match_id(self) -> str:
        """The same for the same two models in the same parts."""
        return self._digest().hex()[:16]

    @property
    def seed(self) -> int:
        """Seed of everything random in the match."""
        return int.from_bytes(self._digest()[8:15], "big")

    def _digest(self) -> bytes:
        return hashlib.blake2b(f"{self.champion}|{self.challenger}".encode(), digest_size=16).digest()


@dataclass(frozen=True)
class WindowScore:
    """One window [start, stop) and what each side made of it."""

    start_utc: datetime
    stop_utc: datetime
    champion_score: float
    challenger_score: float


@dataclass(frozen=True)
class MatchResult:
    """A match that was played. Most windows won wins; as many on both sides is a draw."""

    pairing: Pairing
    score: str
    """What was compared, see `ArenaSettings.score`."""
    windows: tuple[WindowScore, ...]
    played_at_utc: datetime

    def __post_init__(self) -> None:
        require_utc(self.played_at_utc)

    @property
    def champion_wins(self) -> int:
        return sum(w.champion_score > w.challenger_score for w in self.windows)

    @property
    def challenger_wins(self) -> int:
        return sum(w.challenger_score > w.champion_score for w in self.windows)

    @property
    def winner(self) -> ModelId | None:
        """None after a draw."""
        if self.champion_wins == self.challenger_wins:
            return None
        won = self.champion_wins > self.challenger_wins
        return self.pairing.champion if won else self.pairing.challenger
