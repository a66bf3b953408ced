"""Policies that have given up deciding are named, others are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from cappuccino.portfolio.account import Accounts, open_accounts
from cappuccino.validation.conduct import MIN_ACTION_SPREAD, Conduct, Watched, collapse_of, conduct_of

DECIDES = Conduct(action_spread=0.3, n_trading_bars=9)
CASH = Conduct(0.3, 0)
CONSTANT = Conduct(0.0, 9)
HELD = Conduct(0.3, 1)


def test_the_spread_is_the_mean_over_symbols_of_the_deviation_over_bars() -> None:
    actions = np.array([[1.0, 0.5], [-1.0, 0.5], [1.0, 0.5], [-1.0, 0.5]])
    units = np.array([[1.0, 0.0], [0.0, 0.0], [0.0, -2.0], [1.0, 1.0]])
    assert conduct_of(actions, units) == Conduct(action_spread=0.5, n_trading_bars=3)


def test_actions_and_units_of_different_steps_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(3, 2\), units \(4, 2\)"):
        conduct_of(np.zeros((3, 2)), np.zeros((4, 2)))


def test_the_plainest_word_comes_first() -> None:
    assert DECIDES.collapse is None
    assert (CASH.collapse, CONSTANT.collapse, HELD.collapse) == ("cash", "constant", "held")
    assert Conduct(0.0, 0).collapse == "cash"
    assert replace(CONSTANT, n_trading_bars=1).collapse == "constant"
    assert replace(DECIDES, action_spread=MIN_ACTION_SPREAD).collapse is None


def test_a_policy_has_collapsed_when_it_has_on_most_of_its_ranges() -> None:
    assert collapse_of([]) is None
    assert collapse_of([CASH]) == "cash"
    assert collapse_of([CASH, DECIDES]) is None
    assert collapse_of([DECIDES, CASH, CONSTANT]) == "cash"
    assert collapse_of([HELD, CONSTANT, CONSTANT]) == "constant"


@given(st.lists(st.sampled_from([DECIDES, CASH, CONSTANT, HELD])))
def test_one_more_range_on_which_it_decides_never_makes_it_collapse(ranges: list[Conduct]) -> None:
    if collapse_of(ranges) is None:
        assert collapse_of([*ranges, DECIDES]) is None
    assert collapse_of([DECIDES] * len(ranges) + ranges) is None


class Rising:
    """Wants the row's number, in hundredths."""

    def action(self, t: int, accounts: Accounts) -> Tensor:
        return torch.full((len(accounts), accounts.n_assets), t / 100)

    def targets(self, action: Tensor, t: int, accounts: Accounts) -> Tensor:
        return action * 0.5


def test_watching_changes_no_decision_and_remembers_the_first_account() -> None:
    watched, accounts = Watched(Rising()), open_accounts(2, 3, 1.0)
    targets = [watched(t, accounts) for t in (10, 20)]
    assert [tuple(target.shape) for target in targets] == [(2, 3)] * 2
    torch.testing.assert_close(targets[1], torch.full((2, 3), 0.1))
    np.testing.assert_allclose(watched.actions, [[0.1] * 3, [0.2] * 3], rtol=1e-6)
