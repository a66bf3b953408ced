"""What the search chooses for one forest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from cappuccino.env.wish import Wish
from cappuccino.errors import ArtifactError

LEARNER = "lightgbm"
"""What manifests and parameters of this family say of themselves."""

Target = Literal["return", "risk"]
"""What trees predict: the return, or the return in units of the recent volatility over the horizon."""

_KINDS: Mapping[str, Callable[[Any], Any]] = {"int": int, "float": float, "bool": bool}


@dataclass(frozen=True)
class TreeHyper:
    """Hyper-parameters of forest and decision; each default is a sensible start."""

    leaves: int = 15
    """Most leaves of a tree."""
    learning_rate: float = 0.05
    rounds: int = 100
    """Trees."""
    min_leaf_frac: float = 0.01
    """Smallest share of the training rows in a leaf. Neighbouring rows share most of their label: few of them are
    few independent cases."""
    feature_frac: float = 0.7
    """Share of the inputs that a tree may look at."""
    l2: float = 1.0
    """Penalty on the leaves' values."""
    horizon_bars: int = 12
    """How far ahead returns are predicted."""
    target: Target = "risk"
    sees_market: bool = True
    """Whether the trees see the means over all symbols beside a symbol's own features."""
    knows_symbol: bool = False
    """Whether the trees see which symbol a row is of."""
    entry_costs: float = 0.5
    """Smallest expected return worth a new position, in costs of a way in and out."""
    full_at: float = 1.0
    """Expected return that asks for `max_weight`, in root mean squares of those over the training rows."""
    max_weight: float = 0.3
    """Share of the portfolio that action 1 asks for; the risk layer caps it again. Not searched."""
    no_trade_band: float = 0.05
    """Distance of a wanted weight from the present one that is not worth a trade."""

    @property
    def wish(self) -> Wish:
        """How actions are read: as those of the networks, without a cash reserve."""
        return Wish(self.max_weight, 0.0, self.no_trade_band)

    @property
    def learner(self) -> str:
        """The family."""
        return LEARNER

    @property
    def batch_size(self) -> int:
        """0 in the record of attempts: a tree is grown from all rows at once."""
        return 0

    def to_dict(self) -> dict[str, bool | float | int | str]:
        """Return the family and the fields by name, for a manifest or a row."""
        return {"learner": self.learner, **asdict(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TreeHyper:
        """Return what `to_dict` gave; raises ArtifactError naming missing and unknown fields."""
        known = {field.name for field in fields(cls)} | {"learner"}
        if set(values) != known or values["learner"] != LEARNER:
            missing, unknown = sorted(known - set(values)), sorted(set(values) - known)
            raise ArtifactError(
                f"parameters of trees lack {missing}, have unknown {unknown}, and are of learner "
                f"{values.get('learner')}; use the version that wrote them"
            )
        # Numbers that came through SQL or JSON get the field's type back.
        return cls(**{field.name: _KINDS.get(str(field.type), str)(values[field.name]) for field in fields(cls)})
