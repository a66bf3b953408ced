"""Real exchange bars, if they are at hand: the figures that were measured when they were collected."""

import math
from pathlib import Path

import pytest

from cappuccino.market import quality
from cappuccino.market.files import FileSource
from cappuccino.market.interval import Interval
from cappuccino.settings import MarketSettings

DATA = Path(__file__).parents[4] / "shared" / "data"

# symbol: bars, missing, gaps, longest gap, bars without volume, largest log move, its time
MEASURED_15M = {
    "AAVE/USDT": (93_091, 9_149, 2, "9144 bars after 2023-09-27 17:45 UTC", 5, 0.153, "2023-08-17 21:30"),
    "AVAX/USDT": (102_235, 5, 1, "5 bars after 2023-03-24 12:30 UTC", 5, 0.241, "2023-06-10 04:15"),
    "BCH/USDT": (83_108, 19_132, 3, "9984 bars after 2024-09-07 02:00 UTC", 5, 0.168, "2023-08-17 21:30"),
    "BTC/USDT": (102_235, 5, 1, "5 bars after 2023-03-24 12:30 UTC", 5, 0.094, "2023-08-17 21:30"),
    "ETH/USDT": (102_235, 5, 1, "5 bars after 2023-03-24 12:30 UTC", 5, 0.098, "2025-02-03 01:45"),
    "LINK/USDT": (102_235, 5, 1, "5 bars after 2023-03-24 12:30 UTC", 5, 0.154, "2023-06-10 04:15"),
    "LTC/USDT": (102_235, 5, 1, "5 bars after 2023-03-24 12:30 UTC", 5, 0.234, "2023-08-17 21:30"),
    "SOL/USDT": (102_235, 5, 1, "5 bars after 2023-03-24 12:30 UTC", 5, 0.183, "2023-01-02 07:00"),
    "UNI/USDT": (101_910, 330, 2, "325 bars after 2023-12-28 14:30 UTC", 5, 0.229, "2024-02-23 14:15"),
}
MEASURED_1H = {
    "AAVE/USDT": (41_257, 20, 10, "4 bars after 2020-12-21 13:00 UTC", 2, 0.269, "2021-05-19 12:00"),
    "AVAX/USDT": (41_806, 20, 10, "4 bars after 2020-12-21 13:00 UTC", 2, 0.329, "2020-09-22 08:00"),
    "BCH/USDT": (48_160, 32, 15, "5 bars after 2020-02-19 11:00 UTC", 2, 0.291, "2021-05-19 12:00"),
    "BTC/USDT": (48_160, 32, 15, "5 bars after 2020-02-19 11:00 UTC", 2, 0.201, "2020-03-12 10:00"),
    "ETH/USDT": (48_160, 32, 15, "5 bars after 2020-02-19 11:00 UTC", 2, 0.234, "2020-03-12 10:00"),
    "LINK/USDT": (48_160, 32, 15, "5 bars after 2020-02-19 11:00 UTC", 2, 0.262, "2021-05-19 12:00"),
    "LTC/USDT": (48_160, 32, 15, "5 bars after 2020-02-19 11:00 UTC", 2, 0.300, "2021-05-19 12:00"),
    "SOL/USDT": (42_814, 20, 10, "4 bars after 2020-12-21 13:00 UTC", 2, 0.267, "2020-09-09 14:00"),
    "UNI/USDT": (41_929, 20, 10, "4 bars after 2020-12-21 13:00 UTC", 2, 0.436, "2024-02-23 14:00"),
}


def source(name: str) -> FileSource:
    file = DATA / name
    if not file.is_file():
        pytest.skip(f"no real bars: {name} is not in shared/data beside the project")
    return FileSource(file)


@pytest.mark.parametrize(
    ("name", "interval", "measured"),
    [("bars_15m.parquet", Interval.M15, MEASURED_15M), ("bars_1h.parquet", Interval.H1, MEASURED_1H)],
)
def test_the_checks_measure_what_was_measured_before(name, interval, measured):
    files = source(name)
    assert files.interval() == interval
    symbols, (start, stop) = files.symbols(), files.span()
    assert symbols == tuple(measured)
    bars = files.bars(symbols, interval, start, stop)
    result = quality.check(bars, symbols, interval, start, stop, stop, MarketSettings())
    found = {(row["check"], row["symbol"]): row for row in result.iter_rows(named=True)}
    for symbol, (n_bars, missing, n_gaps, longest, zero, move, moved_at) in measured.items():
        gaps, jumps = found["gaps", symbol], found["jumps", symbol]
        assert (gaps["n_bad"], gaps["n_checked"]) == (missing, n_bars + missing)
        assert gaps["detail"] == f"gaps: {n_gaps}, the longest of {longest}"
        assert found["zero_volume", symbol]["n_bad"] == zero
        assert math.isclose(jumps["figure"], move, abs_tol=0.0005)
        assert f"at {moved_at} UTC" in jumps["detail"]
        assert jumps["passed"]
        for clean in ("missing_symbols", "duplicates", "ohlc_order", "non_positive", "stale"):
            assert found[clean, symbol]["passed"], (clean, symbol)
        assert found["filled_share", symbol]["passed"] == (missing / (n_bars + missing) <= 0.01)


def test_a_day_of_real_bars_comes_without_reading_the_others_into_the_answer():
    files = source("bars_15m.parquet")
    stop = files.span()[1]
    day = files.bars(("BTC/USDT", "ETH/USDT"), Interval.M15, stop - Interval.D1.duration, stop)
    assert day.group_by("symbol").len().sort("symbol")["len"].to_list() == [96, 96]
    assert day["opened_at_utc"].max() == stop - Interval.M15.duration
