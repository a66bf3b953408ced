"""How a policy behaved on bars that it was judged on, and whether it still decides anything at all.

A search finds policies that have given up: one that never buys has no losses, one that always wants the same has no
noise. Their scores may even look well, so they are named beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from torch import Tensor

from cappuccino.market.panel import FloatArray
from cappuccino.portfolio.account import Accounts
from cappuccino.validation.evaluate import agreement_of

MIN_ACTION_SPREAD = 0.02
"""A hundredth of an action's range [-1, 1]. At a weight of 0.3 for action 1 that moves a target by 0.6 % of the
portfolio, a fraction of any no-trade band that pays for its costs."""

Collapse = Literal["cash", "constant", "held"]
"""cash: it never traded; constant: its action hardly moved; held: all it ever did was to trade on one bar."""


class Decides(Protocol):
    """A policy whose decision has two steps: what it would do, and what that means for the account."""

    def action(self, t: int, accounts: Accounts) -> Tensor:
        """Return the actions (N, A) in [-1, 1]."""

    def targets(self, action: Tensor, t: int, accounts: Accounts) -> Tensor:
        """Return target weights (N, A)."""


class Watched:
    """A policy, for `evaluate.run`, that remembers the actions of its first account."""

    def __init__(self, policy: Decides) -> None:
        self._policy = policy
        self._actions: list[Tensor] = []

    def __call__(self, t: int, accounts: Accounts) -> Tensor:
        """Return target weights (N, A)."""
        action = self._policy.action(t, accounts)
        self._actions.append(action[0])
        return self._policy.targets(action, t, accounts)

    def agreement(self, t: int, accounts: Accounts) -> Tensor | None:
        """Return how far those agree who decided, (N, A); None where nobody votes."""
        return agreement_of(self._policy, t, accounts)

    @property
    def actions(self) -> FloatArray:
        """(T, A) actions so far."""
        return np.array([action.tolist() for action in self._actions])


@dataclass(frozen=True)
class Conduct:
    """What a policy did on one range of bars."""

    action_spread: float
    """Standard deviation of the action over the bars, mean over symbols."""
    n_trading_bars: int
    """Bars with at least one fill."""

    @property
    def collapse(self) -> Collapse | None:
        """How it has collapsed, the plainest word first; None when it decides."""
        if self.n_trading_bars == 0:
            return "cash"
        if self.action_spread < MIN_ACTION_SPREAD:
            return "constant"
        return "held" if self.n_trading_bars == 1 else None


def conduct_of(actions: FloatArray, units: FloatArray) -> Conduct:
    """Return the conduct of one account from its actions in [-1, 1] and the units that it traded, both (T, A)."""
    if actions.shape != units.shape:
        raise ValueError(f"actions are {actions.shape}, units {units.shape}; give those of the same steps")
    return Conduct(
        action_spread=float(actions.std(axis=0).mean()),
        n_trading_bars=int(units.any(axis=1).sum()),
    )


def collapse_of(conducts: Sequence[Conduct]) -> Collapse | None:
    """Return how a policy has collapsed that was judged on several ranges: what most of them agree on, or None.

    Collapsed on most ranges, but in several ways: the commonest, of equals the first in time.
    """
    found = [conduct.collapse for conduct in conducts]
    ways = [way for way in found if way is not None]
    if 2 * len(ways) <= len(found):
        return None
    return max(ways, key=ways.count)
