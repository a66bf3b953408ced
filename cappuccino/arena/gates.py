"""The arena's door: figures that a candidate of any family needs on the bars that judged it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from cappuccino.settings import ArenaSettings


@dataclass(frozen=True)
class Gate:
    """Smallest figures, after costs."""

    min_sharpe: float
    min_profit_factor: float

    @classmethod
    def of(cls, arena: ArenaSettings) -> Self:
        return cls(arena.min_sharpe, arena.min_profit_factor)

    def refusal(self, sharpe: float, profit_factor: float) -> str | None:
        """Return why a candidate with these figures may not enter, or None."""
        wanting = []
        if not sharpe >= self.min_sharpe:  # NaN is not
            wanting.append(f"Sharpe {sharpe:.3f} below {self.min_sharpe:g}")
        if not profit_factor >= self.min_profit_factor:
            wanting.append(f"profit factor {profit_factor:.3f} below {self.min_profit_factor:g}")
        return " and ".join(wanting) or None
