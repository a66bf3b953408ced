"""Which features moved an action: each is taken away in turn, and the action looked at again (occlusion).

To be taken away is to be at the mean of the training range, for all symbols and all bars of the window; the account's
own features are taken away by deciding for an account that is all cash. An effect is the action less the one without
the group, so effects need not add up: what two features say alike, either one can do without.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor

from cappuccino.arena.candidate import Candidate
from cappuccino.ensemble.agent import Assembly, Ensemble, voter_of
from cappuccino.ensemble.votes import outcome
from cappuccino.env.market import MarketArrays
from cappuccino.env.observation import account_features
from cappuccino.features.spec import FeatureSpec
from cappuccino.market.panel import BarPanel
from cappuccino.portfolio.account import Accounts, open_accounts
from cappuccino.rl.agent import Agent, Decider
from cappuccino.trees.agent import TreeAgent, TreeDecider
from cappuccino.validation.evaluate import Policy

PRICE, ACCOUNT = "price", "account"
"""Groups that no configuration names: open, high, low, close and volume of the bars; what the account holds."""
N_STORED = 12
_DIGITS = 6

Single = Agent | TreeAgent


@dataclass(frozen=True)
class Effect:
    """By how much one group moved the action of each symbol."""

    group: str
    by_symbol: Mapping[str, float]

    @property
    def size(self) -> float:
        """Mean over the symbols, without signs."""
        return sum(map(abs, self.by_symbol.values())) / len(self.by_symbol)


@dataclass(frozen=True)
class Explanation:
    """What moved one action."""

    action: Mapping[str, float]
    effects: tuple[Effect, ...]
    """The largest first; of equal ones, in the order of the features."""

    def to_json(self, most: int = N_STORED) -> str:
        """Return the action and its `most` largest effects: {action, groups: [{group, effect}]}."""
        groups = [{"group": one.group, "effect": _rounded(one.by_symbol)} for one in self.effects[:most]]
        return json.dumps({"action": _rounded(self.action), "groups": groups})

    @classmethod
    def from_json(cls, text: str) -> Explanation:
        """Return what `to_json` stored; raises ValueError or KeyError for another text."""
        stored = json.loads(text)
        return cls(stored["action"], tuple(Effect(one["group"], one["effect"]) for one in stored["groups"]))


@torch.no_grad()
def explain(candidate: Candidate, panel: BarPanel, t: int, accounts: Accounts) -> Explanation:
    """Return what moved the candidate's action for the only one of `accounts` at row `t` of `panel`.

    Raises DataError as its policy does, ValueError for several accounts.
    """
    if len(accounts) != 1:
        raise ValueError(f"{len(accounts)} accounts; one decision of one account can be explained at a time")
    groups = tuple(dict.fromkeys(group for one in _singles(candidate) for group in _groups(one.features)))
    actions = _actions(candidate, groups, panel, t, accounts)
    effects = (actions[0] - actions[1:]).tolist()
    found = [_effect(*one, panel.symbols) for one in zip((*groups, ACCOUNT), effects, strict=True)]
    return Explanation(
        dict(zip(panel.symbols, actions[0].tolist(), strict=True)),
        tuple(sorted(found, key=lambda effect: -effect.size)),
    )


def _effect(group: str, values: Sequence[float], symbols: tuple[str, ...]) -> Effect:
    return Effect(group, dict(zip(symbols, values, strict=True)))


def _singles(candidate: Candidate) -> tuple[Single, ...]:
    """Return the models that features go into: the members of an ensemble, or the candidate itself."""
    return cast(tuple[Single, ...], candidate.members if isinstance(candidate, Ensemble) else (candidate,))


def _groups(spec: FeatureSpec) -> dict[str, tuple[int, ...]]:
    """Return the columns of each feature, in their order."""
    names = (PRICE, *spec.indicators, *spec.extras, *spec.inputs.names)
    columns = iter(range(len(spec.names)))
    return {
        name: tuple(next(columns) for _ in feature.names) for name, feature in zip(names, spec.features, strict=True)
    }


def _actions(candidate: Candidate, groups: tuple[str, ...], panel: BarPanel, t: int, accounts: Accounts) -> Tensor:
    """Return (1 + G + 1, A) float64 actions: as they are, without each group, without the account."""
    if not isinstance(candidate, Ensemble):
        (single,) = _singles(candidate)
        return _of_single(single, candidate.policy(panel), groups, t, accounts)
    votes = [
        _of_single(member, voter_of(cast(Candidate, member), panel), groups, t, accounts)
        for member in _singles(candidate)
    ]
    assembly: Assembly = candidate.policy(panel)
    # What would have been voted stands where a ballot has one account after the other.
    ballot = replace(assembly.ballot(t, accounts), votes=torch.stack(votes))
    return outcome(candidate.document.vote, ballot)


def _of_single(single: Single, policy: Policy, groups: tuple[str, ...], t: int, accounts: Accounts) -> Tensor:
    kept = _kept(single.features, groups)
    if isinstance(policy, Decider):
        return _of_network(policy, kept, t, accounts).double()
    assert isinstance(policy, TreeDecider)
    return _of_trees(policy, kept, t, accounts).double()


def _kept(spec: FeatureSpec, groups: tuple[str, ...]) -> Tensor:
    """Return (1 + G, F) factors of the features: 0 where a group's columns are taken away, all 1 in the first row."""
    own = _groups(spec)
    kept = torch.ones(1 + len(groups), len(spec.names))
    for row, group in enumerate(groups, start=1):
        kept[row, list(own.get(group, ()))] = 0.0
    return kept


def _of_network(decider: Decider, kept: Tensor, t: int, accounts: Accounts) -> Tensor:
    """Return all actions from one pass; what is seen of a window is linear in its features."""
    network, market = decider.policy, decider.market
    seen = network.see(market.windows(torch.tensor([t]), network.shape.lookback))
    n_features = network.shape.n_features
    rows = seen.reshape(1, market.n_assets, -1, n_features) * kept[:, None, None].to(seen.dtype)
    codes = network.encode_market(rows.flatten(start_dim=2))
    now_us = int(market.opened_us[t]) + market.interval.us
    own, flat = (account_features(one, market.close_usd[t], now_us) for one in (accounts, _flat(accounts)))
    account = torch.cat([own.expand(len(codes), -1), flat])
    return network.steer(torch.cat([codes, codes[:1]]), account.unsqueeze(1)).squeeze(1).clamp(-1.0, 1.0)


def _of_trees(decider: TreeDecider, kept: Tensor, t: int, accounts: Accounts) -> Tensor:
    """Return all actions, each from trees that are shown the window alone."""
    lookback = decider.forest.lookback
    window = _rows(decider.market, t - lookback + 1, t + 1)
    shown = [TreeDecider(decider.forest, replace(window, features=window.features * factors)) for factors in kept]
    asked = [(one, accounts) for one in shown] + [(shown[0], _flat(accounts))]
    return torch.cat([one.action(lookback - 1, account) for one, account in asked])


def _rows(market: MarketArrays, start: int, stop: int) -> MarketArrays:
    return replace(
        market,
        features=market.features[start:stop],
        open_usd=market.open_usd[start:stop],
        close_usd=market.close_usd[start:stop],
        opened_us=market.opened_us[start:stop],
        volume=None,
    )


def _flat(accounts: Accounts) -> Accounts:
    """Return an account that is all cash; how much of it no policy sees."""
    return open_accounts(1, accounts.n_assets, 1.0)


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, _DIGITS) for name, value in values.items()}
