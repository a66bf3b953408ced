"""Decisions over history are those of live trading, bit for bit."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from cappuccino.env.market import MarketArrays
from cappuccino.errors import DataError
from cappuccino.portfolio.account import open_accounts
from cappuccino.rl.agent import TILE, Decider
from cappuccino.rl.hyper import Hyper
from cappuccino.rl.model import Policy
from cappuccino.rl.runner import policy_shape
from cappuccino.rl.view import View

LOOKBACK = 10
Make = Callable[..., MarketArrays]


def policy(hyper: Hyper) -> Policy:
    return Policy(policy_shape(3, 3, LOOKBACK, hyper), torch.Generator().manual_seed(0))


def rows(market: MarketArrays, start: int, stop: int) -> MarketArrays:
    arrays = (market.features, market.open_usd, market.close_usd, market.opened_us)
    return MarketArrays(market.interval, *(array[start:stop] for array in arrays))


@pytest.mark.parametrize("view", ["every_bar", "dyadic"])
@pytest.mark.parametrize("width", [16, 96])
def test_a_bar_decides_the_same_wherever_history_begins_and_ends(make_market: Make, view: View, width: int) -> None:
    market, hyper = make_market(3 * TILE), Hyper(view=view, width=width, depth=2)
    network, accounts = policy(hyper), open_accounts(2, 3, 10_000.0)
    whole = Decider(network, market, hyper)
    for t in range(TILE, 2 * TILE + 3):
        over_history = whole(t, accounts)
        live = Decider(network, rows(market, t - LOOKBACK - t % 7, t + 1), hyper)
        assert torch.equal(over_history, live(LOOKBACK + t % 7, accounts))


def test_a_bar_whose_window_has_gaps_is_refused_and_those_before_it_are_not(make_market: Make) -> None:
    market, hyper = make_market(60), Hyper(width=16)
    market.features[30] = torch.nan
    decide, accounts = Decider(policy(hyper), market, hyper), open_accounts(1, 3, 10_000.0)
    before = [decide(t, accounts) for t in range(20, 30)]
    assert all(torch.isfinite(weights).all() for weights in before)
    for t in (30, 39):
        with pytest.raises(DataError, match="without a value"):
            decide(t, accounts)
    assert torch.isfinite(decide(40, accounts)).all()
