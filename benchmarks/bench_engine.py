"""The batched engine against the plain-Python account that the tests hold it to: account-bars a second.

Run with `make bench` or `python benchmarks/bench_engine.py`. Only the ratio means something.
"""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from cappuccino.portfolio.account import open_accounts
from cappuccino.portfolio.engine import step
from cappuccino.risk.rules import Rules
from cappuccino.settings import CostSettings, RiskSettings

N_ASSETS, N_BARS, INTERVAL_US = 7, 50, 3_600_000_000
ORACLE = Path(__file__).resolve().parents[1] / "tests/unit/portfolio/oracle.py"


def market(seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Return opens and closes, (T + 1, A)."""
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, (N_BARS + 1, N_ASSETS)), axis=0))
    return np.roll(close, 1, axis=0), close


def per_second(work: Callable[[], int], at_least_s: float = 1.0) -> float:
    """Return units of work a second, over whole calls for at least that long."""
    work()
    done, started = 0, time.perf_counter()
    while (spent := time.perf_counter() - started) < at_least_s:
        done += work()
    return done / spent


def batched(n: int, rules: Rules) -> Callable[[], int]:
    """Return the engine over all bars for `n` accounts."""
    opens, closes = (torch.tensor(prices) for prices in market())
    targets = torch.rand(N_BARS, n, N_ASSETS, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 0.2

    def work() -> int:
        accounts = open_accounts(n, N_ASSETS, 10_000.0)
        with torch.inference_mode():
            for t in range(N_BARS):
                times_us = (t * INTERVAL_US, (t + 1) * INTERVAL_US)
                accounts, _ = step(accounts, targets[t], closes[t], opens[t + 1], closes[t + 1], *times_us, rules)
        return n * N_BARS

    return work


def plain(rules: Rules) -> Callable[[], int]:
    """Return the oracle over all bars for one account."""
    spec = importlib.util.spec_from_file_location("oracle", ORACLE)
    assert spec is not None
    assert spec.loader is not None
    oracle = importlib.util.module_from_spec(spec)
    sys.modules["oracle"] = oracle
    spec.loader.exec_module(oracle)
    opens, closes = (prices.tolist() for prices in market())
    targets = np.random.default_rng(1).uniform(0, 0.2, (N_BARS, N_ASSETS)).tolist()

    def work() -> int:
        account = oracle.Oracle.opened(rules, 10_000.0, N_ASSETS)
        for t in range(N_BARS):
            account.step(targets[t], closes[t], opens[t + 1], closes[t + 1], t * INTERVAL_US)
        return N_BARS

    return work


def main() -> None:
    torch.set_num_threads(1)
    rules = Rules.of(RiskSettings(), CostSettings()).for_training()
    peer = per_second(plain(rules))
    setting = f"({N_ASSETS} assets, the rules of training, one thread)"
    print(f"{'accounts':>10} {'account-bars/s':>16} {'x plain Python':>15}   {setting}")
    print(f"{'plain, 1':>10} {peer:16,.0f} {1.0:15.1f}")
    for n in (1, 16, 256, 4096):
        rate = per_second(batched(n, rules))
        print(f"{n:>10,} {rate:16,.0f} {rate / peer:15.1f}")


if __name__ == "__main__":
    main()
