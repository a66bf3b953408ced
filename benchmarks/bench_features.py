"""Our features against TA-Lib alone, on the same bars in memory: seconds for a million bars, peak memory, ratio.

Run with `make bench` or `python benchmarks/bench_features.py`; `--full` takes 730 days and adds 100 symbols. TA-Lib
computes the indicators among our features that it has (macd, rsi, cci, dx, roc, the deviation of log returns), once
over each symbol's whole history, from arrays to arrays. Ours are all features of the default configuration, block by
block, each with its own warm-up, which is what makes them the same bits for training and trading.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec

import numpy as np
from apart import Spent, apart

from cappuccino.features.compute import compute
from cappuccino.features.spec import FeatureSpec
from cappuccino.market.interval import Interval
from cappuccino.market.panel import BarPanel, FloatArray

START = datetime(2024, 1, 1, tzinfo=UTC)
INTERVAL = Interval.M15
SMALL, FULL = (120, (1, 7, 30)), (730, (1, 7, 30, 100))
"""(days, symbols)."""


def ours(n_symbols: int, n_days: int) -> float:
    """Return the seconds of the features of the configuration's defaults."""
    # Here, because settings load much that TA-Lib does without.
    from cappuccino.settings import FeatureSettings

    panel, spec = market(n_symbols, n_days), FeatureSpec.from_settings(FeatureSettings())
    compute(panel.rows(0, 1), spec)  # probes the indicators, once a process
    return seconds(lambda: compute(panel, spec))


def talib_alone(n_symbols: int, n_days: int) -> float:
    """Return the seconds of TA-Lib."""
    panel = market(n_symbols, n_days)
    columns = [np.ascontiguousarray(prices.T) for prices in (panel.high, panel.low, panel.close)]
    indicators(*(prices[0] for prices in columns))  # imports TA-Lib
    return seconds(lambda: [indicators(*(prices[a] for prices in columns)) for a in range(n_symbols)])


def indicators(high: FloatArray, low: FloatArray, close: FloatArray) -> list[FloatArray]:
    """Return what TA-Lib has of our features, each (T,)."""
    import talib

    returns = np.diff(np.log(close), prepend=np.nan)
    returns[0] = 0.0
    return [
        *talib.MACD(close, 12, 26, 9),
        talib.RSI(close, 14),
        talib.CCI(high, low, close, 20),
        talib.DX(high, low, close, 14),
        talib.ROC(close, 12),
        talib.STDDEV(returns, 24),
    ]


def market(n_symbols: int, n_days: int) -> BarPanel:
    """Return a random walk of each symbol."""
    n_bars, rng = n_days * INTERVAL.per_day, np.random.default_rng(1)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.002, (n_bars, n_symbols)), axis=0))
    open_ = close * np.exp(rng.normal(0, 0.001, close.shape))
    high, low = np.maximum(open_, close) * 1.001, np.minimum(open_, close) * 0.999
    opened_at = np.datetime64(START.replace(tzinfo=None), "us") + np.arange(n_bars) * np.timedelta64(INTERVAL.us, "us")
    names = tuple(f"S{n:02}/USD" for n in range(n_symbols))
    volume, is_filled = np.exp(rng.normal(3, 0.5, close.shape)), np.zeros(close.shape, dtype=bool)
    return BarPanel(INTERVAL, names, opened_at, open_, high, low, close, volume, is_filled)


def seconds(work: Callable[[], object]) -> float:
    """Return processor time: both work on one thread, and others may use the machine as well."""
    started_s = time.process_time()
    work()
    return time.process_time() - started_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="730 days, up to 100 symbols")
    n_days, sizes = FULL if parser.parse_args().full else SMALL
    has_talib = find_spec("talib") is not None
    if not has_talib:
        print("TA-Lib is not installed (pip install ta-lib), so there is nothing to compare with")
    print(f"{'symbols':>8} {'bars':>10} {'way':>12} {'s/1e6 bars':>11} {'peak MB':>9} {'x TA-Lib':>9}")
    for n_symbols in sizes:
        peer = apart(talib_alone, n_symbols, n_days) if has_talib else None
        own = apart(ours, n_symbols, n_days)
        if peer:
            show("TA-Lib", peer, 1.0, n_symbols, n_days)
        show("ours", own, own.result / peer.result if peer else None, n_symbols, n_days)


def show(way: str, spent: Spent, ratio: float | None, n_symbols: int, n_days: int) -> None:
    n_bars = n_symbols * n_days * timedelta(days=1) // INTERVAL.duration
    times = "-" if ratio is None else f"{ratio:.0f}"
    print(
        f"{n_symbols:8} {n_bars:10,} {way:>12} {spent.result * 1e6 / n_bars:11.2f} "
        f"{spent.peak_mb or float('nan'):9,.0f} {times:>9}",
        flush=True,
    )


if __name__ == "__main__":
    main()
