"""What the search chooses for one training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from cappuccino.env.reward import RewardWeights
from cappuccino.env.wish import Wish
from cappuccino.errors import ArtifactError
from cappuccino.rl.view import View

Learner = Literal["ppo", "apg"]
_KINDS: Mapping[str, Callable[[Any], Any]] = {"int": int, "float": float}
_BEFORE = {
    "learner": "ppo",
    "view": "every_bar",
    "account_depth": 0,
    "max_kl": 0.03,
    "variance_penalty": 0.0,
}
"""What models did that were trained before there was a choice; their manifests do not say."""


@dataclass(frozen=True)
class Hyper:
    """Hyper-parameters of network, learner and reward; each default is a sensible start."""

    learner: Learner = "ppo"
    """`ppo`: proximal policy optimisation; `apg`: analytic policy gradients, through the engine."""
    view: View = "dyadic"
    """What the network sees of a window: `every_bar`, or means over ever longer stretches."""
    width: int = 64
    """Units of each hidden layer of the market tower."""
    depth: int = 1
    """Hidden layers of the encoder that reads one symbol's window."""
    account_depth: int = 0
    """Layers of `width` in which market and account meet; 0 = in one narrow layer of each head."""
    learning_rate: float = 1e-3
    max_grad_norm: float = 0.5
    """Longest gradient that an optimiser step takes."""
    batch_size: int = 2048
    """Transitions of a minibatch; all accounts on a bar stay together."""
    epochs: int = 4
    """ppo: passes over a rollout, fewer when the policy has moved far; apg looks at each once."""
    max_kl: float = 0.03
    """ppo: an epoch that moved the policy further than this is the update's last. Not searched."""
    gae_lambda: float = 0.9
    entropy_weight: float = 1e-3
    discount: float = 0.97
    max_weight: float = 0.3
    """Share of the portfolio that action 1 asks for; the risk layer caps it again. Not searched."""
    no_trade_band: float = 0.05
    """Distance of a wanted weight from the present one that is not worth a trade."""
    reward_scale: float = 100.0
    """Reward of one log return of 1: at 100, a percent of value is a reward of 1."""
    cash_reserve: float = 0.0
    """Share of the portfolio that targets leave in cash."""
    concentration_penalty: float = 0.0
    """Log return charged a bar for holding everything in one symbol (times the sum of squared weights)."""
    turnover_penalty: float = 0.0
    """Log return charged for trading the whole portfolio once, beside its real costs."""
    time_decay: float = 0.0
    """Log return charged for each bar of full exposure: a position has to earn its time."""
    variance_penalty: float = 0.0
    """Charged for squared log returns; 0.5 halves the wish for risk of who wants to grow fastest."""

    @property
    def wish(self) -> Wish:
        """How the policy's actions are read."""
        return Wish(self.max_weight, self.cash_reserve, self.no_trade_band)

    @property
    def reward(self) -> RewardWeights:
        return RewardWeights(
            scale=self.reward_scale,
            cash_reserve=self.cash_reserve,
            concentration=self.concentration_penalty,
            turnover=self.turnover_penalty,
            time_decay=self.time_decay,
            variance=self.variance_penalty,
        )

    def to_dict(self) -> dict[str, float | int | str]:
        """Return the fields by name, for a manifest or a row."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Hyper:
        """Return what `to_dict` gave; raises ArtifactError naming missing and unknown fields."""
        values = {**_BEFORE, **values}
        known = {field.name for field in fields(cls)}
        if set(values) != known:
            missing, unknown = sorted(known - set(values)), sorted(set(values) - known)
            raise ArtifactError(
                f"hyper-parameters lack {missing} and have unknown {unknown}; use the version that wrote them"
            )
        # Numbers that came through SQL or JSON get the field's type back.
        return cls(**{field.name: _KINDS.get(str(field.type), str)(values[field.name]) for field in fields(cls)})
