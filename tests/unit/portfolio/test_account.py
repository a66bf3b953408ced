"""Batches of accounts as values."""

from __future__ import annotations

import torch

from cappuccino.portfolio.account import FRESH, Accounts, open_accounts


def test_a_new_account_is_all_cash():
    accounts = open_accounts(3, 2, 500.0)
    prices = torch.tensor([7.0, 11.0], dtype=torch.float64)
    assert (len(accounts), accounts.n_assets) == (3, 2)
    assert accounts.value(prices).tolist() == [500.0] * 3
    assert not accounts.weights(prices).any()
    assert not accounts.in_cycle.any()


def test_accounts_may_open_with_different_cash():
    cash = torch.tensor([1.0, 2.0], dtype=torch.float64)
    assert open_accounts(2, 1, cash).cash_usd.tolist() == [1.0, 2.0]


def test_weights_of_an_account_worth_nothing_are_zero():
    assert open_accounts(1, 2, 0.0).weights(torch.ones(2)).tolist() == [[0.0, 0.0]]


def test_select_takes_accounts_in_the_order_asked():
    accounts = open_accounts(3, 2, torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64))
    assert accounts.select([2, 0]).cash_usd.tolist() == [3.0, 1.0]
    assert accounts.select(torch.tensor([False, True, False])).cash_usd.tolist() == [2.0]
    assert accounts.select(slice(0, 2)).units.shape == (2, 2)


def test_where_mixes_two_batches_account_by_account():
    ours, theirs = open_accounts(2, 2, 1.0), open_accounts(2, 2, 9.0)
    mixed = ours.where(torch.tensor([True, False]), theirs)
    assert mixed.cash_usd.tolist() == [1.0, 9.0]
    assert mixed.units.shape == (2, 2)


def test_detached_accounts_forget_their_gradients():
    cash = torch.tensor([1.0], dtype=torch.float64, requires_grad=True)
    accounts = open_accounts(1, 1, cash)
    assert accounts.cash_usd.requires_grad
    assert not accounts.detach().cash_usd.requires_grad


def test_an_account_that_was_stored_before_there_were_limits_is_new_to_them():
    accounts = open_accounts(2, 2, torch.tensor([1.0, 2.0], dtype=torch.float64))
    rows = [{name: value for name, value in row.items() if name not in FRESH} for row in accounts.to_rows()]
    assert Accounts.from_rows(rows).to_rows() == accounts.to_rows()
