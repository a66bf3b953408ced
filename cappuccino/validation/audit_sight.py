"""What a candidate sees and does on given bars, to the bit, and what differs between two such sights."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cappuccino.env.market import MarketArrays
from cappuccino.features.compute import compute
from cappuccino.features.spec import FeatureSpec
from cappuccino.market.panel import BarPanel
from cappuccino.portfolio.account import Accounts
from cappuccino.risk.rules import Rules
from cappuccino.validation.audit_fills import Play
from cappuccino.validation.audit_future import Window
from cappuccino.validation.conduct import Decides
from cappuccino.validation.evaluate import EpisodeResult, Policy, agreement_of

if TYPE_CHECKING:
    from cappuccino.arena.candidate import Candidate

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Sight:
    """What a candidate saw and did over the traded rows of a window, up to its cut."""

    features: Array
    """Of every row up to the cut, as the policy gets them."""
    actions: Array
    """Target weights and, where the policy has them, actions; those decided at the cut are the last."""
    fills: Array
    equity: Array


def watch(candidate: Candidate, panel: BarPanel, place: Window, rules: Rules, play: Play) -> Sight:
    """Let `candidate` trade rows [place.first, place.last] of `panel`, and decide once more at the last."""
    policy = _Noted(candidate.policy(panel))
    episode = play(policy, panel, place.first, place.last + 1, rules)
    policy(place.last, episode.final)
    seen = features_of(candidate, policy.policy, panel)[: place.last + 1]
    return Sight(seen, np.stack(policy.noted), _fills(episode), episode.equity_usd)


def features_of(candidate: Candidate, policy: Policy, panel: BarPanel) -> Array:
    """Return the features (T, A, F) that `policy` decides from: its own where it shows them, else its manifest's."""
    market = getattr(policy, "market", None)
    if isinstance(market, MarketArrays):
        return market.features.numpy()
    return compute(panel, FeatureSpec.from_dict(asdict(candidate.manifest.features)))


def moved(expected: Array, found: Array) -> tuple[int, str]:
    """Return how many values differ by a bit, and how many rows before the newest the first one is."""
    if expected.shape != found.shape:
        return max(expected.size, found.size), f"in shape: {expected.shape}, then {found.shape}"
    differs = (expected != found) & ~(np.isnan(expected) & np.isnan(found))
    if not differs.any():
        return 0, ""
    place = tuple(np.argwhere(differs)[0])
    back = len(expected) - 1 - int(place[0])
    return int(differs.sum()), f"{back} rows before the newest: {expected[place]:.9g}, then {found[place]:.9g}"


class _Noted:
    """A policy that keeps what it decided."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.noted: list[Array] = []

    def __call__(self, t: int, accounts: Accounts) -> Tensor:
        """Return target weights (N, A)."""
        if not hasattr(self.policy, "action"):
            targets = self.policy(t, accounts)
            self.noted.append(targets.cpu().numpy())
            return targets
        two_steps = cast(Decides, self.policy)
        action = two_steps.action(t, accounts)
        targets = two_steps.targets(action, t, accounts)
        self.noted.append(torch.cat([action.double(), targets], dim=-1).cpu().numpy())
        return targets

    def agreement(self, t: int, accounts: Accounts) -> Tensor | None:
        """Return how far those agree who decided, (N, A); None where nobody votes."""
        return agreement_of(self.policy, t, accounts)


def _fills(episode: EpisodeResult) -> Array:
    """Return what was traded in each step, (T, N, A, 4); prices where nothing was are left out."""
    price = np.where(episode.units != 0, episode.price_usd, 0.0)
    return np.stack([episode.units, price, episode.fee_usd, episode.slippage_usd], axis=-1)
