"""The votes that rewards are counted from are the same wherever a panel begins or ends."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from cappuccino.ensemble.agent import voter_of
from cappuccino.ensemble.reference import Reference
from cappuccino.env.wish import Wish
from cappuccino.errors import DataError
from cappuccino.market.panel import BarPanel
from cappuccino.portfolio.account import Accounts, open_accounts
from cappuccino.registry.identity import ModelId
from cappuccino.rl.agent import Agent
from tests.unit.ensemble.conftest import TRAINED, WISH
from tests.unit.small_lab import save_model


class Table:
    """A policy that votes what a table says, and only for a flat account."""

    def __init__(self, table: Tensor) -> None:
        self.table, self.wish = table, WISH

    def __call__(self, t: int, accounts: Accounts) -> Tensor:
        return self.targets(self.action(t, accounts), t, accounts)

    def action(self, t: int, accounts: Accounts) -> Tensor:
        assert not accounts.units.any()
        return self.table[t].expand(len(accounts), -1)

    def targets(self, action: Tensor, t: int, accounts: Accounts) -> Tensor:
        return Wish(1.0, 0.0, 0.0).weights(action, accounts.units)


@pytest.fixture
def agent(tmp_path: Path) -> Agent:
    save_model(tmp_path, ModelId("s", 3), TRAINED)
    return Agent.load(tmp_path, ModelId("s", 3))


def test_many_bars_at_once_vote_as_one_after_the_other(agent: Agent, panel: BarPanel) -> None:
    voter, flat = voter_of(agent, panel), open_accounts(1, 2, 500.0)
    start, stop = len(panel) - 150, len(panel)
    alone = torch.cat([voter.action(t, flat) for t in range(start, stop)]).double().numpy()
    np.testing.assert_allclose(Reference(voter, panel).votes(start, stop), alone, rtol=0, atol=1e-5)


def test_a_vote_has_the_same_bits_wherever_the_panel_begins_and_ends(agent: Agent, panel: BarPanel) -> None:
    whole = Reference(voter_of(agent, panel), panel)
    for first, last in ((0, 900), (1, 777), (17, 800), (63, 901), (24, len(panel))):
        cut = panel.rows(first, last)
        part = Reference(voter_of(agent, cut), cut).votes(last - first - 70, last - first)
        assert np.array_equal(part, whole.votes(last - 70, last))


def test_a_bar_without_a_whole_window_is_refused(agent: Agent, panel: BarPanel) -> None:
    reference = Reference(voter_of(agent, panel), panel)
    with pytest.raises(DataError, match="features without a value"):
        reference.votes(100, 110)
    with pytest.raises(DataError, match="load bars from earlier on"):
        reference.votes(-1, 2)
    with pytest.raises(DataError, match="load bars from earlier on"):
        reference.votes(0, len(panel) + 1)


def test_other_policies_are_asked_with_a_flat_account(panel: BarPanel) -> None:
    table = torch.rand(len(panel), 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert np.array_equal(Reference(Table(table), panel).votes(5, 9), table[5:9].numpy())
