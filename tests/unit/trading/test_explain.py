"""What moved an action, where the answer is known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cappuccino.market.panel import BarPanel
from cappuccino.portfolio.account import Accounts, open_accounts
from cappuccino.registry.artifacts import folder_of, load
from cappuccino.registry.artifacts import save as save_weights
from cappuccino.registry.identity import ModelId
from cappuccino.rl.agent import Agent, Decider
from cappuccino.trading.explain import ACCOUNT, PRICE, Effect, Explanation, explain
from cappuccino.trees.agent import TreeAgent, TreeDecider
from tests.unit.ensemble.conftest import TRAINED, Save, panel, save, save_member
from tests.unit.small_lab import SPEC
from tests.unit.small_market import SYMBOLS
from tests.unit.trees.test_tree_agent import MODEL as TREES
from tests.unit.trees.test_tree_agent import PLANTED, saved

__all__ = ["panel", "save"]
T = 900
N_PRICE = 5
"""Columns of the bars; `roc_12` is the only other one."""


def holding(units: tuple[float, float] = (0.01, 0.0), cash_usd: float = 900.0) -> Accounts:
    return replace(open_accounts(1, 2, cash_usd), units=torch.tensor([units], dtype=torch.float64))


def agent_that_sees(root: Path, columns: list[int], *, sees_account: bool) -> Agent:
    """Store a network of random weights that is blind but for `columns` of every bar."""
    model = ModelId("s", 1)
    manifest = save_member(root, model, TRAINED)
    state = load(folder_of(root, model), model).state_dict
    first = state["encoder.0.weight"]
    is_seen = torch.isin(torch.arange(first.shape[1]) % len(SPEC.names), torch.tensor(columns))
    state["encoder.0.weight"] = first * is_seen
    if not sees_account:
        state["actor_account.weight"] = torch.zeros_like(state["actor_account.weight"])
    save_weights(folder_of(root, model), manifest, state, replace_unused=True)
    return Agent.load(root, model)


def sizes(found: Explanation) -> dict[str, float]:
    return {effect.group: effect.size for effect in found.effects}


def test_who_sees_one_feature_is_moved_by_that_feature_alone(tmp_path: Path, panel: BarPanel) -> None:
    agent = agent_that_sees(tmp_path, [N_PRICE], sees_account=False)
    found = explain(agent, panel, T, holding())
    assert [effect.group for effect in found.effects] == ["roc_12", PRICE, ACCOUNT]
    assert found.effects[0].size > 1e-3
    assert sizes(found) == {"roc_12": found.effects[0].size, PRICE: 0.0, ACCOUNT: 0.0}
    decider = agent.policy(panel)
    assert list(found.action.values()) == pytest.approx(decider.action(T, holding())[0].tolist(), abs=1e-6)
    blind = Decider(decider.policy, replace(decider.market, features=decider.market.features * 0.0), agent.hyper)
    without = blind.action(T, holding())[0].tolist()
    expected = [a - b for a, b in zip(found.action.values(), without, strict=True)]
    assert list(found.effects[0].by_symbol.values()) == pytest.approx(expected, abs=1e-6)


def test_who_looks_at_nothing_but_the_account_is_moved_by_it_alone(tmp_path: Path, panel: BarPanel) -> None:
    agent = agent_that_sees(tmp_path, [], sees_account=True)
    found = explain(agent, panel, T, holding())
    assert found.effects[0].group == ACCOUNT
    assert [effect.size for effect in found.effects[1:]] == [0.0, 0.0]
    flat = agent.policy(panel).action(T, open_accounts(1, 2, 5.0))[0].tolist()
    expected = [a - b for a, b in zip(found.action.values(), flat, strict=True)]
    assert list(found.effects[0].by_symbol.values()) == pytest.approx(expected, abs=1e-6)
    assert max(sizes(explain(agent, panel, T, open_accounts(1, 2, 70.0))).values()) == pytest.approx(0.0, abs=1e-9)


def test_all_bars_of_the_window_are_taken_away_and_none_before(tmp_path: Path, panel: BarPanel) -> None:
    agent = agent_that_sees(tmp_path, list(range(N_PRICE)), sees_account=True)
    decider = agent.policy(panel)
    features = decider.market.features.clone()
    features[T - agent.lookback + 1 : T + 1, :, :N_PRICE] = 0.0
    without = Decider(decider.policy, replace(decider.market, features=features), agent.hyper).action(T, holding())[0]
    (effect,) = (one for one in explain(agent, panel, T, holding()).effects if one.group == PRICE)
    expected = decider.action(T, holding())[0] - without
    assert list(effect.by_symbol.values()) == pytest.approx(expected.tolist(), abs=1e-6)


def test_trees_are_moved_by_what_they_split_on(tmp_path: Path) -> None:
    saved(tmp_path)
    agent = TreeAgent.load(tmp_path, TREES)
    t, account = 1_400, holding((1.0, 0.0))
    found = explain(agent, PLANTED.panel, t, account)
    # The market was made so that volume, one of the price columns, tells everything.
    assert found.effects[0].group == PRICE
    decider = agent.policy(PLANTED.panel)
    assert list(found.action.values()) == pytest.approx(decider.action(t, account)[0].tolist(), abs=1e-12)
    features = decider.market.features.clone()
    features[..., :N_PRICE] = 0.0
    blind = TreeDecider(agent.forest, replace(decider.market, features=features))
    expected = decider.action(t, account)[0] - blind.action(t, account)[0]
    assert list(found.effects[0].by_symbol.values()) == pytest.approx(expected.tolist(), abs=1e-12)


@pytest.mark.parametrize("vote", ["mean", "score", "adaptive", "median"])
def test_an_ensemble_is_moved_by_what_moves_its_members_by_their_shares(save: Save, panel: BarPanel, vote) -> None:
    ensemble, account = save(vote, 5), holding()
    found = explain(ensemble, panel, T, account)
    policy = ensemble.policy(panel)
    assert list(found.action.values()) == pytest.approx(policy.action(T, account)[0].tolist(), abs=1e-6)
    if vote == "median":
        return
    shares = policy.ballot(T, account).weights
    parts = [explain(member, panel, T, account) for member in ensemble.members]
    for effect in found.effects:
        each = [next(one for one in part.effects if one.group == effect.group) for part in parts]
        for symbol in SYMBOLS:
            expected = float(np.dot(shares, [one.by_symbol[symbol] for one in each]))
            assert effect.by_symbol[symbol] == pytest.approx(expected, abs=1e-6)


def test_what_is_stored_are_the_largest_effects_and_comes_back() -> None:
    effects = tuple(Effect(f"f{n}", {"A": 0.5 - n / 100, "B": -1 / 3}) for n in range(20))
    text = Explanation({"A": 0.25, "B": -1.0}, effects).to_json(most=3)
    assert json.loads(text)["groups"][2] == {"group": "f2", "effect": {"A": 0.48, "B": -0.333333}}
    back = Explanation.from_json(text)
    assert [effect.group for effect in back.effects] == ["f0", "f1", "f2"]
    assert back.action == {"A": 0.25, "B": -1.0}


def test_one_account_is_explained_at_a_time(tmp_path: Path, panel: BarPanel) -> None:
    agent = agent_that_sees(tmp_path, [0], sees_account=True)
    with pytest.raises(ValueError, match="2 accounts"):
        explain(agent, panel, T, open_accounts(2, 2, 100.0))
