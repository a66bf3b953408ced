"""The probability of backtest overfitting by sums of blocks, beside a plain loop and beside ffn: seconds and ratio.

Run with `make bench` or `python benchmarks/bench_overfitting.py`; `--full` adds 1,000 trials. Two years of days, 16
blocks, 12,870 combinations. The plain loop is the one that the tests hold ours to; it does a part of the combinations,
and its time is what all would take. ffn runs in benchmarks/.peers/oracles where that was made, and on 20 trials only.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import time
from collections.abc import Callable
from math import comb
from pathlib import Path

import numpy as np

from cappuccino.market.panel import FloatArray
from cappuccino.validation.pbo import N_BLOCKS, probability_of_backtest_overfitting

ROOT = Path(__file__).resolve().parents[1]
SLOW = ROOT / "tests/unit/validation/slow_cscv.py"
PEER = ROOT / "benchmarks/.peers/oracles/bin/python"
N_DAYS, SLOW_BLOCKS = 730, 8
SMALL, FULL = (20, 100), (20, 100, 1_000)
FFN_TRIALS = 20
ASK_FFN = """
import time, ffn, numpy as np, pandas as pd
returns = pd.DataFrame(np.random.default_rng(1).normal(0, 0.01, ({n_days}, {n_trials})))
started_s = time.perf_counter()
ffn.calc_prob_backtest_overfitting(returns, n_blocks={n_blocks})
print(time.perf_counter() - started_s)
"""


def study(n_trials: int) -> FloatArray:
    """Return daily returns (T, N) of noise."""
    return np.random.default_rng(1).normal(0, 0.01, (N_DAYS, n_trials))


def seconds(work: Callable[[], object], n_times: int = 3) -> float:
    """Return the least time of a few."""
    spent = []
    for _ in range(n_times):
        started_s = time.perf_counter()
        work()
        spent.append(time.perf_counter() - started_s)
    return min(spent)


def plain_loop(returns: FloatArray) -> float:
    """Return the seconds of the plain loop over all combinations of 16 blocks, reckoned from those of 8."""
    spec = importlib.util.spec_from_file_location("slow_cscv", SLOW)
    assert spec is not None
    assert spec.loader is not None
    slow = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(slow)
    per_combination = seconds(lambda: slow.slow_logits(returns, SLOW_BLOCKS), 1) / comb(SLOW_BLOCKS, SLOW_BLOCKS // 2)
    return per_combination * comb(N_BLOCKS, N_BLOCKS // 2)


def ffn() -> float | None:
    """Return the seconds of ffn, None where it is not installed."""
    if not PEER.exists():
        return None
    asked = ASK_FFN.format(n_days=N_DAYS, n_trials=FFN_TRIALS, n_blocks=N_BLOCKS)
    return float(subprocess.run([PEER, "-c", asked], check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="1,000 trials as well")
    sizes = FULL if parser.parse_args().full else SMALL
    print("PBO of two years of days, 12,870 combinations")
    print(f"{'trials':>8}{'ours s':>10}{'loop s':>10}{'ratio':>10}")
    for n_trials in sizes:
        returns = study(n_trials)
        ours = seconds(lambda returns=returns: probability_of_backtest_overfitting(returns))  # type: ignore[misc]
        loop = plain_loop(returns)
        print(f"{n_trials:>8}{ours:>10.4f}{loop:>10.1f}{loop / ours:>10.0f}")
        if n_trials == FFN_TRIALS and (theirs := ffn()) is not None:
            print(f"{'ffn':>8}{ours:>10.4f}{theirs:>10.1f}{theirs / ours:>10.0f}")


if __name__ == "__main__":
    main()
