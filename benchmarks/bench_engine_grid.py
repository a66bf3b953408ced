"""A grid of thresholds in one run against one run for each of its points: account-bars a second.

Run with `make bench` or `python benchmarks/bench_engine_grid.py`. Only the ratio means something.
"""

from __future__ import annotations

import time

import numpy as np
import torch

from cappuccino.market.interval import Interval
from cappuccino.market.panel import BarPanel
from cappuccino.risk.rules import Rules
from cappuccino.settings import CostSettings, RiskSettings
from cappuccino.validation.baselines import table_policy
from cappuccino.validation.thresholds import grid, threshold_study

N_BARS, N_ASSETS, START = 1_000, 7, 400
N_ALONE = 4
"""Points that are run one by one; the others would take as long each."""


def panel_of() -> BarPanel:
    rng = np.random.default_rng(1)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, (N_BARS, N_ASSETS)), axis=0))
    opened_at = np.datetime64("2025-01-01", "us") + np.arange(N_BARS) * np.timedelta64(Interval.H1.us, "us")
    symbols = tuple(f"S{a}/USD" for a in range(N_ASSETS))
    volume = rng.uniform(0, 1e4, close.shape)
    is_filled = np.zeros(close.shape, dtype=bool)
    return BarPanel(Interval.H1, symbols, opened_at, close, close, close, close, volume, is_filled)


def main() -> None:
    torch.set_num_threads(1)
    panel = panel_of()
    wishes = np.random.default_rng(1).uniform(0, 0.2, (N_BARS - START, 1, N_ASSETS))
    policy = table_policy(panel, START, wishes)
    points = grid(
        portfolio_trailing_stop_frac=(0.0, 0.5, 1.0, 1.5),
        profit_take_frac=(0.0, 0.5, 1.0, 2.0),
        stop_loss_frac=(0.0, 0.05, 0.1, 0.2),
        position_trailing_stop_frac=(0.0, 0.05, 0.1),
        protection_scaled=(True,),
    )
    n_steps = N_BARS - START - 1
    peer = None
    print(f"{'thresholds of':>15} {'points':>8} {'account-bars/s':>16} {'x one by one':>13}   ({N_ASSETS} assets)")
    for name, costs in (("fixed costs", CostSettings()), ("market impact", CostSettings(impact=1.0))):
        rules = Rules.of(RiskSettings(), costs)
        for label, part in (("one by one", points[:N_ALONE]), (name, points)):
            runs = [[point] for point in part] if label == "one by one" else [part]
            started_s = time.perf_counter()
            for some in runs:
                threshold_study(policy, panel, START, N_BARS, rules, some)
            rate = len(part) * n_steps / (time.perf_counter() - started_s)
            peer = rate if label == "one by one" else peer
            assert peer is not None
            print(f"{label:>15} {len(part):>8} {rate:16,.0f} {rate / peer:13.1f}")


if __name__ == "__main__":
    main()
