"""The whole chain against symbols and bars: time and peak memory of each stage, each in a process of its own.

Run with `make bench` or `python benchmarks/bench_scale.py`; `--full` goes up to 100 symbols x 730 days of 15m bars,
which takes about half an hour and 2 GB of disk. Seconds are those of the wall: whoever else uses the machine counts.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from apart import apart

from cappuccino.features.spec import FeatureSpec
from cappuccino.features.table import build_features
from cappuccino.market.interval import Interval
from cappuccino.market.record import check_record
from cappuccino.market.simulated import SimulatedSource
from cappuccino.market.sync import sync_bars
from cappuccino.settings import Settings, load
from cappuccino.store.models import build
from cappuccino.store.schema import SQL_DIR, Schema
from cappuccino.store.warehouse import Warehouse

NOW = datetime(2025, 7, 1, tzinfo=UTC)
SMALL = ((5, 200), (20, 200))
"""(symbols, days)."""
FULL = ((10, 730), (30, 730), (100, 730))
Stage = Callable[[Path, int, int], int]


def settings_of(folder: Path, n_symbols: int, n_days: int) -> Settings:
    """Return the specification's settings, but for the size of the market and of the studies."""
    return load(
        overrides={
            "profile": "paper",
            "warehouse": folder,
            "market": {"symbols": [f"S{n:02}/USD" for n in range(n_symbols)], "history_days": n_days, "end": NOW},
            "timeframe": {"intervals": ["15m"], "lookbacks": [20], "trials": 1, "updates": 2},
            "training": {"trials": 2, "updates": 2, "max_width": 64, "workers": 2, "startup_trials": 1},
        }
    )


def sync(folder: Path, n_symbols: int, n_days: int) -> int:
    """Return the bars that the source gave and the warehouse took."""
    settings, warehouse = opened(folder, n_symbols, n_days)
    warehouse.migrate(Schema.load(SQL_DIR))
    source, start = SimulatedSource(settings.simulated.seed), NOW - timedelta(days=n_days)
    return sync_bars(warehouse, source, settings.market, start, NOW, NOW).n_bars


def quality(folder: Path, n_symbols: int, n_days: int) -> int:
    """Return the findings of all checks."""
    settings, warehouse = opened(folder, n_symbols, n_days)
    return len(check_record(warehouse, settings.market, NOW))


def models(folder: Path, n_symbols: int, n_days: int) -> int:
    """Return the bars of all intervals, made with every other table that SQL makes of bars."""
    _, warehouse = opened(folder, n_symbols, n_days)
    with warehouse.write() as writer:
        for model in Schema.load(SQL_DIR).models.values():
            if model.schema == "market" and model.materialized == "table":
                build(writer, model)
    return int(warehouse.query("select count(*) as n from market.bars_all")["n"][0])


def features(folder: Path, n_symbols: int, n_days: int) -> int:
    """Return the rows of 15m and 1h features."""
    settings, warehouse = opened(folder, n_symbols, n_days)
    spec = FeatureSpec.from_settings(settings.features)
    built = build_features(warehouse, settings.market.symbols, (Interval.M15, Interval.H1), spec, NOW)
    return sum(one.n_rows for one in built)


def timeframe(folder: Path, n_symbols: int, n_days: int) -> int:
    """Return the completed trials of a search with one pair."""
    return study(folder, n_symbols, n_days, "timeframe")


def training(folder: Path, n_symbols: int, n_days: int) -> int:
    """Return the completed trials of a study, two at the same time."""
    return study(folder, n_symbols, n_days, "training")


def study(folder: Path, n_symbols: int, n_days: int, kind: Literal["timeframe", "training"]) -> int:
    # Here, because torch alone takes 400 MB, and only a study needs it.
    from cappuccino.search.coordinator import run_study
    from cappuccino.search.request import StudyRequest

    request = StudyRequest(settings_of(folder, n_symbols, n_days), kind, NOW)
    return run_study(request, lambda _: None).n_complete


def opened(folder: Path, n_symbols: int, n_days: int) -> tuple[Settings, Warehouse]:
    settings = settings_of(folder, n_symbols, n_days)
    return settings, Warehouse(settings.database)


STAGES: tuple[Stage, ...] = (sync, quality, models, features, timeframe, training)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="up to 100 symbols x 730 days")
    sizes = FULL if parser.parse_args().full else SMALL
    print(f"{'symbols':>8} {'days':>5} {'stage':>10} {'rows':>12} {'seconds':>8} {'rows/s':>10} {'peak MB':>8}")
    for n_symbols, n_days in sizes:
        with tempfile.TemporaryDirectory() as folder:
            for stage in STAGES:
                spent = apart(stage, Path(folder), n_symbols, n_days)
                rate, peak = spent.result / spent.seconds, spent.peak_mb or float("nan")
                print(
                    f"{n_symbols:8} {n_days:5} {stage.__name__:>10} {spent.result:12,} {spent.seconds:8.1f} "
                    f"{rate:10,.0f} {peak:8,.0f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
