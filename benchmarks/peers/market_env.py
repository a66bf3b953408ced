"""The trading problem for peers: plain numpy, nothing of Cappuccino, and the same money to the last digit.

An account decides at close[t], fills at open[t + 1] with slippage and fee, and is marked at close[t + 1]. The
benchmark plays every peer's actions through Cappuccino's engine as well and compares the two equity curves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Observations = npt.NDArray[np.float32]
TINY_USD = 1e-12
POSITION_GAIN_UNIT, CYCLE_GAIN_UNIT, CYCLE_FALL_UNIT, LARGEST = 0.05, 0.03, 0.015, 5.0


@dataclass(frozen=True)
class Terms:
    """How actions are read and what trading costs."""

    max_weight: float
    no_trade_band: float
    fee_frac: float
    slippage_frac: float
    smallest_order_usd: float
    cash_usd: float = 10_000.0
    reward_scale: float = 100.0
    episode_bars: int = 512


@dataclass(frozen=True)
class Bars:
    """T bars of A symbols; row t of every array is one bar."""

    features: npt.NDArray[np.float32]
    """(T, A, F)."""
    open_usd: Floats
    """(T, A)."""
    close_usd: Floats
    """(T, A)."""
    train: tuple[int, int]
    validation: tuple[int, int]
    """Rows [start, stop)."""

    @classmethod
    def load(cls, file: str) -> Bars:
        with np.load(file) as stored:
            train, validation = (tuple(stored[name].tolist()) for name in ("train", "validation"))
            return cls(stored["features"], stored["open_usd"], stored["close_usd"], train, validation)


class Accounts:
    """N accounts in A symbols."""

    def __init__(self, n: int, n_assets: int, terms: Terms) -> None:
        self.terms = terms
        self.cash_usd = np.full(n, terms.cash_usd)
        self.units = np.zeros((n, n_assets))
        self.entry_usd = np.zeros((n, n_assets))
        self.base_usd, self.peak_usd = np.zeros(n), np.zeros(n)
        self.in_cycle: npt.NDArray[np.bool_] = np.zeros(n, dtype=bool)

    def reset(self, where: npt.NDArray[np.bool_]) -> None:
        self.cash_usd[where] = self.terms.cash_usd
        for array in (self.units, self.entry_usd, self.base_usd, self.peak_usd, self.in_cycle):
            array[where] = 0

    def value_usd(self, price_usd: Floats) -> Floats:
        value: Floats = self.cash_usd + (self.units * price_usd).sum(axis=1)
        return value

    def trade(self, action: Floats, close_usd: Floats, open_usd: Floats, next_close_usd: Floats) -> Floats:
        """Trade `action` (N, A) in [-1, 1]; prices (N, A); returns the log growth of each account's value (N,)."""
        terms, units = self.terms, self.units
        before = self.value_usd(close_usd)
        wanted = self._targets(action, units * close_usd / before[:, None])
        trade = wanted * (before[:, None] / close_usd) - units
        price = open_usd * (1.0 + np.sign(trade) * terms.slippage_frac)
        size = self._affordable(trade, price)
        notional = size * price
        self.cash_usd = np.maximum(self.cash_usd - (notional + np.abs(notional) * terms.fee_frac).sum(axis=1), 0.0)
        self._book(size, price, open_usd)
        after = self.value_usd(next_close_usd)
        self.peak_usd = np.maximum(self.peak_usd, after) * self.in_cycle
        growth: Floats = np.log(after / before)
        return growth

    def _targets(self, action: Floats, present: Floats) -> Floats:
        wanted = np.clip(action, 0.0, 1.0) * self.terms.max_weight
        wanted *= np.minimum(1.0 / np.maximum(wanted.sum(axis=1), TINY_USD), 1.0)[:, None]
        is_near = np.abs(wanted - present) < self.terms.no_trade_band
        return np.where(is_near & (wanted > 0.0), present, wanted)

    def _affordable(self, trade: Floats, price: Floats) -> Floats:
        terms = self.terms
        size = np.maximum(trade, -self.units)
        gross = size * price
        is_sale = (gross <= -terms.smallest_order_usd) | ((size == -self.units) & (gross < 0.0))
        sells, buys = np.where(is_sale, gross, 0.0), np.maximum(gross, 0.0)
        funds = self.cash_usd - sells.sum(axis=1) * (1.0 - terms.fee_frac)
        cost = buys.sum(axis=1) * (1.0 + terms.fee_frac)
        scale = np.clip(funds / np.maximum(cost, TINY_USD), 0.0, 1.0)[:, None]
        bought = np.where(buys * scale >= terms.smallest_order_usd, size * scale, 0.0)
        return np.where(sells < 0.0, size, bought)

    def _book(self, size: Floats, price: Floats, open_usd: Floats) -> None:
        self.units = self.units + size
        held = self.units > 0.0
        share = np.maximum(size, 0.0) / np.where(held, self.units, 1.0)
        self.entry_usd = (self.entry_usd + (price - self.entry_usd) * share) * held
        exposed: npt.NDArray[np.bool_] = held.max(axis=1)
        value = self.value_usd(open_usd)
        self.base_usd = np.where(self.in_cycle, self.base_usd, value) * exposed
        self.peak_usd = np.where(self.in_cycle, self.peak_usd, value) * exposed
        self.in_cycle = exposed

    def features(self, close_usd: Floats) -> Observations:
        """Return what an agent knows of its account, (N, 2 A + 6), with the meanings that Cappuccino gives them."""
        value = self.value_usd(close_usd)
        weights = self.units * close_usd / value[:, None]
        profit = np.log(close_usd / np.where(self.units > 0, self.entry_usd, close_usd)) / POSITION_GAIN_UNIT
        seen = np.zeros((len(value), 2 * self.units.shape[1] + 6), dtype=np.float32)
        seen[:, :-6:2], seen[:, 1:-6:2] = weights, profit
        seen[:, -6] = 1.0 - weights.sum(axis=1)
        seen[:, -5] = np.log(value / np.where(self.in_cycle, self.base_usd, value)) / CYCLE_GAIN_UNIT
        seen[:, -4] = np.log(value / np.where(self.in_cycle, self.peak_usd, value)) / CYCLE_FALL_UNIT
        seen[:, -3] = self.in_cycle  # the last two are flags of rules that are off
        return np.clip(seen, -LARGEST, LARGEST)


class MarketEnv:
    """N accounts, each on a bar of its own in the training rows, started flat at random places."""

    def __init__(self, bars: Bars, lookback: int, terms: Terms, n: int, seed: int) -> None:
        self.bars, self.lookback, self.terms, self.n = bars, lookback, terms, n
        self.n_assets, self.n_features = int(bars.features.shape[1]), int(bars.features.shape[2])
        self.rng = np.random.default_rng(seed)
        self.accounts = Accounts(n, self.n_assets, terms)
        self.bar, self.left = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
        self.restart(np.ones(n, dtype=bool))

    @property
    def n_seen(self) -> int:
        """Numbers in one observation."""
        return self.lookback * self.n_assets * self.n_features + 2 * self.n_assets + 6

    def restart(self, where: npt.NDArray[np.bool_]) -> None:
        """Begin a new episode of random place and length for the accounts `where` (N,)."""
        start, stop = self.bars.train
        n, longest = int(where.sum()), self.terms.episode_bars
        self.accounts.reset(where)
        self.bar[where] = self.rng.integers(start, stop - 1, n)
        self.left[where] = self.rng.integers(longest // 2, longest + 1, n)

    def observe(self) -> Observations:
        """Return the windows up to each account's bar, flat, then its account: (N, n_seen)."""
        seen = np.empty((self.n, self.n_seen), dtype=np.float32)
        n_market = self.n_seen - 2 * self.n_assets - 6
        for row, bar in zip(seen, self.bar, strict=True):
            row[:n_market] = self.bars.features[bar - self.lookback + 1 : bar + 1].ravel()
        seen[:, n_market:] = self.accounts.features(self.bars.close_usd[self.bar])
        return seen

    def step(self, action: npt.NDArray[np.floating]) -> tuple[Floats, npt.NDArray[np.bool_]]:
        """Trade one bar; returns rewards (N,) and where an episode was cut (N,). Call `restart` there."""
        close_usd, bar = self.bars.close_usd, self.bar
        prices = close_usd[bar], self.bars.open_usd[bar + 1], close_usd[bar + 1]
        reward = self.terms.reward_scale * self.accounts.trade(action.astype(np.float64), *prices)
        self.bar, self.left = bar + 1, self.left - 1
        return reward, (self.left <= 0) | (self.bar >= self.bars.train[1] - 1)


def play(
    act: Callable[[Observations], npt.NDArray[np.floating]], bars: Bars, lookback: int, terms: Terms
) -> tuple[Floats, Floats]:
    """Let `act`, (1, n_seen) -> (1, A), trade the validation rows; returns actions (T, A) and equity (T + 1,)."""
    env = MarketEnv(bars, lookback, terms, 1, seed=0)
    start, stop = bars.validation
    env.bar[:] = start
    actions, equity_usd = [], [terms.cash_usd]
    for t in range(start, stop - 1):
        actions.append(np.clip(act(env.observe()), -1.0, 1.0).astype(np.float64)[0])
        env.step(actions[-1][None])
        equity_usd.append(env.accounts.value_usd(bars.close_usd[t + 1]).item())
    return np.stack(actions), np.array(equity_usd)
