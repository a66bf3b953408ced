"""An agent is shown the inputs that it was trained with, whatever the settings say by now."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cappuccino.errors import DataError
from cappuccino.features.scaler import Scaler
from cappuccino.features.spec import FeatureSpec
from cappuccino.market.inputs import NO_INPUTS, Inputs
from cappuccino.market.interval import Interval
from cappuccino.market.simulated_books import SimulatedBooks
from cappuccino.market.sync import load_panel
from cappuccino.portfolio.account import open_accounts
from cappuccino.registry import artifacts
from cappuccino.registry.identity import ModelId
from cappuccino.registry.manifest import ManifestFeatures
from cappuccino.rl.agent import Agent
from cappuccino.rl.hyper import Hyper
from cappuccino.rl.model import Policy
from cappuccino.rl.runner import policy_shape
from cappuccino.store.warehouse import Warehouse
from tests.unit.small_lab import save_model
from tests.unit.small_market import END, HOUR, SOURCE, SYMBOLS

MODEL = ModelId("training-1", 3)
SPEC = FeatureSpec((), ("roc_12",), Inputs(("book_imbalance",), 2))


def agent_with_inputs(root: Path) -> Agent:
    plain = save_model(root / "plain", MODEL, END)
    shape = (len(SYMBOLS), len(SPEC.names))
    policy = Policy(
        policy_shape(*shape, plain.lookback, Hyper.from_dict(plain.hyper)), torch.Generator().manual_seed(3)
    )
    manifest = replace(
        plain,
        features=ManifestFeatures(**SPEC.to_dict(), names=SPEC.names),
        scaler=Scaler(np.zeros(shape), np.full(shape, 1e-3), SPEC.names, SYMBOLS).to_dict(),
    )
    artifacts.save(artifacts.folder_of(root, MODEL), manifest, policy.state_dict())
    return Agent.load(root, MODEL)


@pytest.fixture
def warehouse(full_warehouse: Warehouse) -> Warehouse:
    """Bars, and a book every hour of their last five days."""
    books = SimulatedBooks(SOURCE, clock=None).between(SYMBOLS, END - 120 * HOUR, END, HOUR)  # type: ignore[arg-type]
    with full_warehouse.write() as writer:
        writer.append("market.books", books.with_columns(source=np.repeat("simulated", len(books))))
    return full_warehouse


def test_the_market_of_an_agent_brings_its_inputs(tmp_path: Path, warehouse: Warehouse) -> None:
    agent = agent_with_inputs(tmp_path)
    assert agent.market.inputs == SPEC.inputs
    with warehouse.read() as reader:
        panel = agent.market.panel(reader, END)
        without = load_panel(reader, SYMBOLS, Interval.H1, END)
    assert panel.inputs["book_imbalance_known"].sum() == 2 * 121  # the last book is an hour old at the end
    flat, newest = open_accounts(1, len(SYMBOLS), 1000.0), len(panel) - 1
    weights = agent.policy(panel)(newest, flat)
    assert weights.shape == (1, 2)
    blind = replace(panel, inputs={name: np.zeros_like(values) for name, values in panel.inputs.items()})
    assert not torch.equal(weights, agent.policy(blind)(newest, flat))
    with pytest.raises(DataError, match="no book_imbalance, book_imbalance_known; load it with the inputs"):
        agent.policy(without)


def test_agents_share_a_panel_only_when_they_see_the_same_inputs(tmp_path: Path) -> None:
    save_model(tmp_path / "plain", MODEL, END)
    plain, other = Agent.load(tmp_path / "plain", MODEL), agent_with_inputs(tmp_path / "other")
    assert plain.market.inputs == NO_INPUTS
    assert plain.market != other.market
    assert other.market == agent_with_inputs(tmp_path / "again").market
