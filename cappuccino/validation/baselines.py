"""What anybody could have done on the same bars at the same costs: the strategies beside every agent.

A baseline is a table of target weights (T, A), one row per bar of the range; NaN keeps what is held. Row k
looks at closes up to bar `start + k` only. Baselines pay costs and know no risk rules.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

import numpy as np
import polars as pl
import torch
from torch import Tensor

from cappuccino.market.panel import BarPanel, BoolArray, FloatArray
from cappuccino.portfolio.account import Accounts
from cappuccino.risk.rules import Rules
from cappuccino.validation.evaluate import EpisodeResult, Policy, run

DAYS_PER_WEEK = 7
MOMENTUM_DAYS = 28
MOMENTUM_TOP = 3
REVERSION_DAYS = 5
REVERSION_MIN_BARS = 20
REVERSION_ENTRY_Z = -1.0
REVERSION_EXIT_Z = 0.0
RANDOM_DAYS_BETWEEN = 7
SIXTY = 0.60
SIXTY_BASES = ("BTC", "ETH")

Baseline = Callable[[BarPanel, int, int, int], FloatArray]
"""(panel, start, stop, seed) -> target weights (stop - start, A), NaN = hold."""


def equal_weight(panel: BarPanel, start: int, stop: int, seed: int) -> FloatArray:
    """Buy and hold all symbols in equal parts, rebalanced weekly."""
    n_assets = len(panel.symbols)
    return _weekly(np.full((stop - start, n_assets), 1.0 / n_assets), panel)


def momentum(panel: BarPanel, start: int, stop: int, seed: int) -> FloatArray:
    """Hold the three symbols that rose most in four weeks (or all history), chosen weekly; equal parts."""
    lookback = MOMENTUM_DAYS * panel.interval.per_day
    n_top = min(MOMENTUM_TOP, len(panel.symbols))
    rows = np.arange(start, stop)
    rise = panel.close[rows] / panel.close[np.maximum(rows - lookback, 0)]
    rank = np.argsort(np.argsort(-rise, axis=1, kind="stable"), axis=1, kind="stable")
    return _weekly(np.where(rank < n_top, 1.0 / n_top, 0.0), panel)


def mean_reversion(panel: BarPanel, start: int, stop: int, seed: int) -> FloatArray:
    """Buy a symbol one standard deviation below its mean of five days, sell it at the mean; equal parts."""
    window = max(REVERSION_DAYS * panel.interval.per_day, REVERSION_MIN_BARS)
    close = pl.DataFrame(panel.close[max(start - window + 1, 0) : stop])
    mean = close.select(pl.all().rolling_mean(window))
    deviation = close.select(pl.all().rolling_std(window))
    # A row without a whole window, or without any movement, has no z-score: it neither enters nor leaves.
    z = ((close - mean) / deviation).to_numpy()[-(stop - start) :]
    signal = np.select([z < REVERSION_ENTRY_Z, z >= REVERSION_EXIT_Z], [1.0, 0.0], default=np.nan)
    is_held = pl.DataFrame(signal).select(pl.all().fill_nan(None).forward_fill().fill_null(0.0)).to_numpy()
    return _on_change(is_held / len(panel.symbols))


def sixty_forty(panel: BarPanel, start: int, stop: int, seed: int) -> FloatArray:
    """60 % in BTC and ETH (or the first two symbols), 40 % in cash, rebalanced weekly."""
    bases = [symbol.partition("/")[0] for symbol in panel.symbols]
    chosen = [bases.index(base) for base in SIXTY_BASES if base in bases] or list(range(min(2, len(bases))))
    weights = np.zeros((stop - start, len(bases)))
    weights[:, chosen] = SIXTY / len(chosen)
    return _weekly(weights, panel)


def random_entry(panel: BarPanel, start: int, stop: int, seed: int) -> FloatArray:
    """Buy an equal part of a symbol at random, about once a week each, and sell it a day later."""
    per_day = panel.interval.per_day
    rng = np.random.default_rng(seed)
    entries = rng.random((stop - start, len(panel.symbols))) < 1.0 / (RANDOM_DAYS_BETWEEN * per_day)
    n_entries = np.cumsum(entries, axis=0)
    n_before = np.vstack([np.zeros((per_day, len(panel.symbols)), dtype=int), n_entries])[: stop - start]
    return _on_change(np.where(n_entries > n_before, 1.0 / len(panel.symbols), 0.0))


def cash(panel: BarPanel, start: int, stop: int, seed: int) -> FloatArray:
    """Do nothing."""
    return np.zeros((stop - start, len(panel.symbols)))


BASELINES: MappingProxyType[str, Baseline] = MappingProxyType(
    {
        "equal_weight": equal_weight,
        "momentum": momentum,
        "mean_reversion": mean_reversion,
        "sixty_forty": sixty_forty,
        "random_entry": random_entry,
        "cash": cash,
    }
)


def run_baselines(
    panel: BarPanel, start: int, stop: int, rules: Rules, *, seed: int, cash_usd: float = 10_000.0
) -> EpisodeResult:
    """Run all baselines as one batch over rows [start, stop): account n is the n-th name of `BASELINES`.

    Costs are those of `rules`, its protections are off. Raises DataError when the range has no step.
    """
    tables = np.stack([table(panel, start, stop, seed) for table in BASELINES.values()], axis=1)
    policy = table_policy(panel, start, tables)
    return run(policy, panel, start, stop, rules.without_protection(), n_accounts=len(BASELINES), cash_usd=cash_usd)


def table_policy(panel: BarPanel, start: int, weights: FloatArray) -> Policy:
    """Return the policy that follows `weights` (T, N, A) from row `start` on, NaN keeping what is held."""
    table = torch.tensor(weights, dtype=torch.float64)
    holds = torch.isnan(table)
    anything_held = holds.flatten(1).any(1).tolist()
    closes = torch.tensor(panel.close[start : start + len(weights)], dtype=torch.float64)

    def policy(t: int, accounts: Accounts) -> Tensor:
        k = t - start
        if not anything_held[k]:
            return table[k]
        return torch.where(holds[k], accounts.weights(closes[k]), table[k])

    return policy


def benchmark_returns(panel: BarPanel, start: int, stop: int) -> FloatArray:
    """Return what equal-weight buy-and-hold without rebalancing or costs earned at each step of rows [start,
    stop).

    (stop - start - 1,), from close[start] to close[stop - 1]: alpha is a net return minus this one's.
    """
    worth = (panel.close[start:stop] / panel.close[start]).mean(axis=1)
    returns: FloatArray = worth[1:] / worth[:-1] - 1.0
    return returns


def _weekly(weights: FloatArray, panel: BarPanel) -> FloatArray:
    """Return `weights` at the first bar and every seven days after it, NaN between."""
    is_due = np.arange(len(weights)) % (DAYS_PER_WEEK * panel.interval.per_day) == 0
    return np.where(is_due[:, None], weights, np.nan)


def _on_change(weights: FloatArray) -> FloatArray:
    """Return `weights` where they differ from the row before, NaN elsewhere."""
    changes: BoolArray = np.ones(weights.shape, dtype=bool)
    changes[1:] = weights[1:] != weights[:-1]
    return np.where(changes, weights, np.nan)
