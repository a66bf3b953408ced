"""A market with a planted pattern: seeded, so that learners can be compared on what there is to find.

Each symbol drifts up or down, `DRIFT` a bar, and turns round once in `STAY_BARS` bars on average. Nobody sees the
drift. Two of the eleven features show it under noise, one `LAGS[0]` and one `LAGS[1]` bars late, and returns carry it
as well. Two features imitate the real ones and mean nothing. Prices end every stretch where they began it: to hold
earns nothing.

The pattern is stronger than any real one: strong enough that Stable-Baselines3 finds some of it within 200,000 steps,
without which there would be no score to race to. A straight line therefore finds most of it in five bars. A longer
lookback adds little to know and much noise to be told from it, which is what separates learners here.

Run it to see what a policy that knows the drift, one that fits a straight line to the window, and holding earn.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cappuccino.env.market import MarketArrays, market_arrays
from cappuccino.market.interval import Interval
from cappuccino.market.panel import BarPanel, FloatArray
from cappuccino.portfolio.account import Accounts
from cappuccino.portfolio.engine import actions_to_targets
from cappuccino.portfolio.measures import sharpe
from cappuccino.risk.rules import Rules
from cappuccino.settings import CostSettings, RiskSettings
from cappuccino.validation.evaluate import Policy, run

INTERVAL = Interval.H1
VALIDATION_DAYS = 60
WARM_BARS = 240
"""Bars before the first that is trained on: longest lookback and slowest feature."""
STAY_BARS = 96
"""Mean time between two turns of a symbol's drift."""
DRIFT, NOISE = 0.0025, 0.005
"""Log return of a bar: what is planted, and the standard deviation of the rest."""
LAGS = (2, 6)
"""Bars by which the two observations of the drift are late."""
OBSERVATION_NOISE = 1.5
"""Standard deviation of an observation's noise; the drift is -1 or 1 in the same unit."""
MAX_WEIGHT = 0.3
FEATURES = (
    "log_return",
    "return_12",
    "return_48",
    "range",
    "volatility",
    "volume",
    "planted_soon",
    "imitation_soon",
    "planted_late",
    "imitation_late",
    "hour",
)


@dataclass(frozen=True)
class Planted:
    """T bars of A symbols: warm-up, training, validation."""

    panel: BarPanel
    features: npt.NDArray[np.float32]
    """(T, A, F) with mean 0 and standard deviation 1."""
    drift: npt.NDArray[np.float64]
    """(T, A) of the NEXT bar, -1 or 1: hidden from every learner."""
    train: tuple[int, int]
    """Rows [start, stop) that may be learned from; windows may reach back before `start`."""
    validation: tuple[int, int]
    """Rows [start, stop) that nobody trains on."""

    @cached_property
    def arrays(self) -> MarketArrays:
        """The market as our learner sees it."""
        return market_arrays(self.panel, self.features)

    def range_for(self, lookback: int) -> tuple[int, int]:
        """Return rows whose first complete window of `lookback` ends on the first row of training."""
        return self.train[0] - lookback + 1, self.train[1]

    def save(self, file: Path) -> None:
        """Write what the peers need as plain arrays."""
        panel = self.panel
        np.savez(
            file,
            features=self.features,
            open_usd=panel.open,
            close_usd=panel.close,
            train=self.train,
            validation=self.validation,
        )


def planted_market(n_days: int, n_symbols: int = 7, seed: int = 1) -> Planted:
    """Return `n_days` of training and `VALIDATION_DAYS` of validation; equal arguments give equal bits."""
    rng = np.random.default_rng([seed, n_days, n_symbols])
    train = (WARM_BARS, WARM_BARS + n_days * INTERVAL.per_day)
    validation = (train[1], train[1] + VALIDATION_DAYS * INTERVAL.per_day)
    shape = (validation[1], n_symbols)
    drift = _drift(rng, shape)
    returns = np.roll(DRIFT * drift, 1, axis=0) + rng.normal(0.0, NOISE, shape)
    for start, stop in ((0, train[0]), train, validation):
        returns[start:stop] -= returns[start:stop].mean(axis=0)
    panel = _panel(rng, returns)
    return Planted(panel, _features(rng, panel, returns, drift), drift, train, validation)


def rules() -> Rules:
    """Return the rules of every benchmark of a learner: default costs, no protection."""
    return Rules.of(RiskSettings(), CostSettings()).without_protection()


def oracle(market: Planted) -> Policy:
    """Return the policy that knows the drift: the most of every symbol that rises."""
    actions = torch.tensor(market.drift)

    def policy(t: int, accounts: Accounts) -> Tensor:
        return actions_to_targets(actions[t].expand(len(accounts), -1), MAX_WEIGHT)

    return policy


def straight_line(market: Planted, lookback: int, band: float = 0.5) -> Policy:
    """Return the policy of a ridge regression on the training windows; it turns when its forecast passes `band`."""
    forecast = _forecast(market, lookback)

    def policy(t: int, accounts: Accounts) -> Tensor:
        threshold = torch.where(accounts.units > 0, -band, band)
        return actions_to_targets((torch.tensor(forecast[t]) > threshold).double(), MAX_WEIGHT)

    return policy


def hold(market: Planted) -> Policy:
    """Return the policy that buys equal weights once."""
    close, n_symbols = torch.tensor(market.panel.close), market.panel.close.shape[1]

    def policy(t: int, accounts: Accounts) -> Tensor:
        is_flat = ~accounts.in_cycle[:, None]
        return torch.where(is_flat, 1.0 / n_symbols, accounts.weights(close[t]))

    return policy


def score(market: Planted, policy: Policy) -> float:
    """Return the annualised Sharpe ratio of `policy` over the validation bars, after costs."""
    returns = run(policy, market.panel, *market.validation, rules()).returns[:, 0]
    return sharpe(returns, INTERVAL.per_year)


def _drift(rng: np.random.Generator, shape: tuple[int, int]) -> FloatArray:
    """Return -1 or 1, turning at random moments."""
    signs = np.where(rng.random(shape) < 1.0 / STAY_BARS, -1.0, 1.0)
    signs[0] = np.where(rng.random(shape[1]) < 0.5, -1.0, 1.0)
    drift: FloatArray = np.multiply.accumulate(signs, axis=0)
    return drift


def _panel(rng: np.random.Generator, returns: FloatArray) -> BarPanel:
    close = 100.0 * np.exp(np.cumsum(returns, axis=0))
    open_ = np.concatenate([close[:1], close[:-1]]) * np.exp(rng.normal(0.0, 1e-4, close.shape))
    wick = np.exp(np.abs(rng.normal(0.0, NOISE / 2, (2, *close.shape))))
    opened_at = np.datetime64("2024-01-01", "us") + np.arange(len(close)) * np.timedelta64(INTERVAL.us, "us")
    return BarPanel(
        INTERVAL,
        tuple(f"S{n:02}/USD" for n in range(close.shape[1])),
        opened_at,
        open_,
        np.maximum(open_, close) * wick[0],
        np.minimum(open_, close) / wick[1],
        close,
        np.exp(_smooth_noise(rng, close.shape, 24)),
        np.zeros(close.shape, dtype=bool),
    )


def _features(
    rng: np.random.Generator, panel: BarPanel, returns: FloatArray, drift: FloatArray
) -> npt.NDArray[np.float32]:
    def observed(state: FloatArray, lag: int) -> FloatArray:
        late: FloatArray = np.roll(state, lag, axis=0) + rng.normal(0.0, OBSERVATION_NOISE, state.shape)
        return late

    imitation = _drift(rng, (len(drift), drift.shape[1]))
    hour = np.broadcast_to(np.sin(np.arange(len(drift)) * 2 * np.pi / INTERVAL.per_day)[:, None], drift.shape)
    columns = (
        returns,
        _trailing_mean(returns, 12),
        _trailing_mean(returns, 48),
        np.log(panel.high / panel.low),
        np.sqrt(_trailing_mean(returns**2, 24)),
        np.log(panel.volume),
        observed(drift, LAGS[0]),
        observed(imitation, LAGS[0]),
        observed(drift, LAGS[1]),
        observed(imitation, LAGS[1]),
        hour,
    )
    stacked = np.stack(columns, axis=2)
    scaled: npt.NDArray[np.float32] = ((stacked - stacked.mean((0, 1))) / stacked.std((0, 1))).astype(np.float32)
    return scaled


def _trailing_mean(values: FloatArray, n_bars: int) -> FloatArray:
    """Return the mean of up to `n_bars` rows that end on each row."""
    total = np.cumsum(values, axis=0)
    before = np.concatenate([np.zeros((n_bars, values.shape[1])), total[:-n_bars]])
    mean: FloatArray = (total - before) / n_bars
    return mean


def _smooth_noise(rng: np.random.Generator, shape: tuple[int, int], n_bars: int) -> FloatArray:
    return _trailing_mean(rng.normal(0.0, np.sqrt(n_bars), shape), n_bars)


def _forecast(market: Planted, lookback: int, penalty: float = 100.0) -> FloatArray:
    """Return the drift (T, A) that a ridge regression on windows expects, one line for all symbols.

    It learns from the drift itself, not from returns: what could be known, not what is easily found.
    """
    windows = np.lib.stride_tricks.sliding_window_view(market.features, lookback, axis=0)
    rows = windows.reshape(*windows.shape[:2], -1)
    start, stop = (row - lookback + 1 for row in market.train)
    x, y = rows[start:stop].reshape(-1, rows.shape[2]).astype(np.float64), market.drift[slice(*market.train)].ravel()
    weights = np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ y)
    forecast: FloatArray = np.concatenate([np.zeros((lookback - 1, rows.shape[1])), rows @ weights])
    return forecast


def main() -> None:
    columns = ("knows", "line 1", "line 20", "line 60", "line 180", "holds")
    print(f"{'days':>5} {'seed':>5}", *(f"{column:>8}" for column in columns))
    for n_days in (60, 730):
        for seed in (1, 2):
            market = planted_market(n_days, seed=seed)
            lines = [score(market, straight_line(market, lookback)) for lookback in (1, 20, 60, 180)]
            figures = [score(market, oracle(market)), *lines, score(market, hold(market))]
            print(f"{n_days:5} {seed:5}", *(f"{figure:8.2f}" for figure in figures), flush=True)


if __name__ == "__main__":
    main()
