"""What an agent knows of its account, by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from cappuccino.env.observation import LARGEST, N_GLOBAL, N_SYMBOL, account_features
from cappuccino.portfolio.account import open_accounts

HELD = replace(
    open_accounts(1, 2, 1_000.0),
    cash_usd=torch.tensor([400.0], dtype=torch.float64),
    units=torch.tensor([[3.0, 0.0]], dtype=torch.float64),
    average_entry_usd=torch.tensor([[160.0, 0.0]], dtype=torch.float64),
    peak_price_usd=torch.tensor([[210.0, 0.0]], dtype=torch.float64),
    cycle_base_usd=torch.tensor([980.0], dtype=torch.float64),
    cycle_peak_usd=torch.tensor([1010.0], dtype=torch.float64),
    in_cycle=torch.tensor([True]),
    took_profit=torch.tensor([True]),
    out_until_us=torch.tensor([50]),
)
MARK = torch.tensor([200.0, 7.0], dtype=torch.float64)


def test_an_account_with_a_position_by_hand() -> None:
    # Value 400 + 3 * 200 = 1,000.
    weight, profit, no_weight, no_profit, cash, gain, fall, in_cycle, took, out = account_features(HELD, MARK, 49)[
        0
    ].tolist()
    assert [weight, no_weight, no_profit, cash] == pytest.approx([0.6, 0, 0, 0.4])
    assert profit == pytest.approx(math.log(200 / 160) / 0.05)
    assert gain == pytest.approx(math.log(1000 / 980) / 0.03)
    assert fall == pytest.approx(math.log(1000 / 1010) / 0.015)
    assert [in_cycle, took, out] == [1, 1, 1]


def test_move_to_cash_ends_at_its_moment() -> None:
    assert account_features(HELD, MARK, 50)[0, -1] == 0


def test_a_flat_account_is_all_cash_and_nothing_else() -> None:
    seen = account_features(open_accounts(3, 2, 10_000.0), MARK, 0)
    assert seen.shape == (3, 2 * N_SYMBOL + N_GLOBAL)
    assert seen.dtype == torch.float32
    assert seen[0].tolist() == [0, 0, 0, 0, 1, 0, 0, 0, 0, 0]


def test_wild_gains_are_cut_off() -> None:
    lucky = replace(HELD, average_entry_usd=torch.tensor([[1.0, 0.0]], dtype=torch.float64))
    assert account_features(lucky, MARK, 0)[0, 1] == LARGEST
