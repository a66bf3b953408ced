"""What a member would vote with a flat account, for many bars at once: what its rewards are counted from."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cappuccino.env.market import MarketArrays
from cappuccino.env.observation import account_features
from cappuccino.env.wish import Wish
from cappuccino.errors import DataError
from cappuccino.market.panel import BarPanel, BoolArray, FloatArray
from cappuccino.portfolio.account import Accounts, open_accounts
from cappuccino.rl.agent import TILE, Decider
from cappuccino.validation.conduct import Decides

FLAT_USD = 10_000.0
"""Value of the account that votes are asked for; no policy sees it."""
_EPOCH = np.datetime64(0, "us")


class Voter(Decides, Protocol):
    """The policy of a member, of whichever family: it tells actions from targets."""

    @property
    def wish(self) -> Wish:
        """How its actions are read."""
        ...

    def __call__(self, t: int, accounts: Accounts) -> Tensor:
        """Return target weights (N, A)."""
        ...


class Reference:
    """The votes of one member with a flat account; each bar is asked for once."""

    def __init__(self, voter: Voter, panel: BarPanel) -> None:
        self._panel = panel
        self._vote: Callable[[int], FloatArray] = (
            _Tiles(voter, panel) if isinstance(voter, Decider) else _RowByRow(voter, len(panel.symbols))
        )
        self._known: dict[int, FloatArray] = {}

    def votes(self, start: int, stop: int) -> FloatArray:
        """Return the votes (stop - start, A) at rows [start, stop); raises DataError where history is too short."""
        if not 0 <= start < stop <= len(self._panel):
            raise DataError(
                f"the votes of bars {start} to {stop} are needed, of a panel of {len(self._panel)}; "
                "load bars from earlier on"
            )
        for row in range(start, stop):
            if row not in self._known:
                self._known[row] = self._vote(row)
        return np.stack([self._known[row] for row in range(start, stop)])


class _RowByRow:
    """The votes of a policy that has nothing to gain from many bars at once: a table, or trees that filled one."""

    def __init__(self, voter: Voter, n_assets: int) -> None:
        self._voter, self._flat = voter, open_accounts(1, n_assets, FLAT_USD)

    def __call__(self, row: int) -> FloatArray:
        vote: FloatArray = self._voter.action(row, self._flat)[0].double().numpy()
        return vote


class _Tiles:
    """The votes of a network, computed in tiles that are counted from 1970.

    A bar has the same place in its tile wherever the panel begins or ends, and a tile has always the same height, other
    rows standing in for those that are not there: a product of matrices may round a row by its place, but not by its
    neighbours.
    """

    def __init__(self, decider: Decider, panel: BarPanel) -> None:
        self._decider, self._first = decider, bar_number(panel, 0)
        self._tiles: dict[int, FloatArray] = {}

    def __call__(self, row: int) -> FloatArray:
        """Return the vote (A,) at a row; raises DataError when its window is not complete."""
        if not self._is_complete[row]:
            self._decider.market.windows(torch.tensor([row]), self._decider.policy.shape.lookback)  # says what is amiss
        number, place = divmod(self._first + row, TILE)
        if number not in self._tiles:
            self._tiles[number] = self._computed(np.arange(TILE) + number * TILE - self._first)
        vote: FloatArray = self._tiles[number][place]
        return vote

    def _computed(self, rows: npt.NDArray[np.int64]) -> FloatArray:
        """Return votes (TILE, A); where a row is not there or not complete, those of another."""
        there = (rows >= 0) & (rows < len(self._is_complete))
        usable = there & self._is_complete[np.where(there, rows, 0)]
        return _flat_votes(self._decider, torch.from_numpy(np.where(usable, rows, rows[usable][0])))

    @cached_property
    def _is_complete(self) -> BoolArray:
        """(T,) whether a row and the bars that are seen with it have all features."""
        return _complete_windows(self._decider.market, self._decider.policy.shape.lookback)


@torch.no_grad()
def _flat_votes(decider: Decider, rows: Tensor) -> FloatArray:
    """Return the votes (B, A) of a network with a flat account at complete rows (B,)."""
    network, market = decider.policy, decider.market
    codes = network.encode_market(network.see(market.windows(rows, network.shape.lookback)))
    flat = open_accounts(1, market.n_assets, FLAT_USD)
    # A flat account looks the same at any price and time.
    seen = account_features(flat, market.close_usd[rows[0]], 0).expand(len(rows), 1, -1)
    votes: FloatArray = network.steer(codes, seen).squeeze(1).clamp(-1.0, 1.0).double().numpy()
    return votes


def _complete_windows(market: MarketArrays, lookback: int) -> BoolArray:
    bad = ~torch.isfinite(market.features).flatten(start_dim=1).all(dim=1).numpy()
    n_bad = np.concatenate([[0], bad.cumsum()])
    complete = np.zeros(len(bad), dtype=bool)
    complete[lookback - 1 :] = n_bad[lookback:] == n_bad[:-lookback]
    return complete


def bar_number(panel: BarPanel, row: int) -> int:
    """Return the number of bars from 1970 to the open of a row."""
    first_us = int((panel.opened_at[0] - _EPOCH) // np.timedelta64(1, "us"))
    return first_us // panel.interval.us + row
