"""Real exchange bars, if they are at hand: the checks find their flaws to the bar, as they were measured before.

The figures are those of the README beside the files, typed in here.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pytest

from cappuccino.market import quality
from cappuccino.market.files import FileSource
from cappuccino.market.interval import Interval
from cappuccino.market.quality_holes import absences, halts, holes, moves_of, spans_of
from cappuccino.settings import MarketSettings

DATA = Path(__file__).parents[4] / "shared" / "data"
SOUND = ("missing_symbols", "duplicates", "ohlc_order", "non_positive", "jumps")


class Bars(NamedTuple):
    """What was measured about one symbol of a file."""

    n_bars: int
    first: str
    last: str
    n_absent: int
    n_holes: int
    longest: str
    """Length in bars, and the last bar before it."""
    n_zero_volume: int
    move: float
    moved_at: str


H1_OLD = ("2020-01-01 00:00", "2025-06-30 23:00", 32, 15, "5 after 2020-02-19 11:00", 2)
H1_YOUNG = (20, 10, "4 after 2020-12-21 13:00", 2)
M15 = ("2022-08-01 00:00", "2025-06-30 23:45")
M15_HALT = (*M15, 5, 1, "5 after 2023-03-24 12:30", 5)
WHOLE = (0, 0, "")
MEASURED: dict[str, tuple[Interval, dict[str, Bars]]] = {
    "bars_1h.parquet": (
        Interval.H1,
        {
            "AAVE/USDT": Bars(41_257, "2020-10-15 03:00", "2025-06-30 23:00", *H1_YOUNG, 0.269, "2021-05-19 12:00"),
            "AVAX/USDT": Bars(41_806, "2020-09-22 06:00", "2025-06-30 23:00", *H1_YOUNG, 0.329, "2020-09-22 08:00"),
            "BCH/USDT": Bars(48_160, *H1_OLD, 0.291, "2021-05-19 12:00"),
            "BTC/USDT": Bars(48_160, *H1_OLD, 0.201, "2020-03-12 10:00"),
            "ETH/USDT": Bars(48_160, *H1_OLD, 0.234, "2020-03-12 10:00"),
            "LINK/USDT": Bars(48_160, *H1_OLD, 0.262, "2021-05-19 12:00"),
            "LTC/USDT": Bars(48_160, *H1_OLD, 0.300, "2021-05-19 12:00"),
            "SOL/USDT": Bars(42_814, "2020-08-11 06:00", "2025-06-30 23:00", *H1_YOUNG, 0.267, "2020-09-09 14:00"),
            "UNI/USDT": Bars(41_929, "2020-09-17 03:00", "2025-06-30 23:00", *H1_YOUNG, 0.436, "2024-02-23 14:00"),
        },
    ),
    "bars_15m.parquet": (
        Interval.M15,
        {
            "AAVE/USDT": Bars(93_091, *M15, 9_149, 2, "9144 after 2023-09-27 17:45", 5, 0.153, "2023-08-17 21:30"),
            "AVAX/USDT": Bars(102_235, *M15_HALT, 0.241, "2023-06-10 04:15"),
            "BCH/USDT": Bars(83_108, *M15, 19_132, 3, "9984 after 2024-09-07 02:00", 5, 0.168, "2023-08-17 21:30"),
            "BTC/USDT": Bars(102_235, *M15_HALT, 0.094, "2023-08-17 21:30"),
            "ETH/USDT": Bars(102_235, *M15_HALT, 0.098, "2025-02-03 01:45"),
            "LINK/USDT": Bars(102_235, *M15_HALT, 0.154, "2023-06-10 04:15"),
            "LTC/USDT": Bars(102_235, *M15_HALT, 0.234, "2023-08-17 21:30"),
            "SOL/USDT": Bars(102_235, *M15_HALT, 0.183, "2023-01-02 07:00"),
            "UNI/USDT": Bars(101_910, *M15, 330, 2, "325 after 2023-12-28 14:30", 5, 0.229, "2024-02-23 14:15"),
        },
    ),
    "bars_5m.parquet": (
        Interval.M5,
        {
            "AAVE/USDT": Bars(72_030, "2024-01-01 00:00", "2024-09-07 02:25", *WHOLE, 0, 0.108, "2024-04-13 20:05"),
            "AVAX/USDT": Bars(72_031, "2024-01-01 00:00", "2024-09-07 02:30", *WHOLE, 0, 0.098, "2024-06-07 18:00"),
            "BCH/USDT": Bars(72_029, "2024-01-01 00:00", "2024-09-07 02:20", *WHOLE, 1, 0.075, "2024-06-07 18:00"),
            "BTC/USDT": Bars(71_769, "2024-01-01 00:00", "2024-09-06 04:40", *WHOLE, 0, 0.050, "2024-01-03 12:05"),
            "ETH/USDT": Bars(71_769, "2024-01-01 00:00", "2024-09-06 04:40", *WHOLE, 0, 0.074, "2024-08-05 01:05"),
            "LINK/USDT": Bars(72_029, "2024-01-01 00:00", "2024-09-07 02:20", *WHOLE, 0, 0.125, "2024-01-03 12:05"),
            "LTC/USDT": Bars(71_769, "2024-01-01 00:00", "2024-09-06 04:40", *WHOLE, 0, 0.094, "2024-01-03 12:05"),
            "SOL/USDT": Bars(72_028, "2024-01-01 00:00", "2024-09-07 02:15", *WHOLE, 0, 0.144, "2024-01-03 12:05"),
            "UNI/USDT": Bars(72_029, "2024-01-01 00:00", "2024-09-07 02:20", *WHOLE, 0, 0.128, "2024-02-23 14:25"),
        },
    ),
    "bars_1m.parquet": (
        Interval.M1,
        {
            "BCH/USDT": Bars(43_199, "2024-12-26 20:13", "2025-01-25 20:11", *WHOLE, 97, 0.020, "2025-01-19 22:48"),
            "BTC/USDT": Bars(
                86_457,
                "2024-07-26 14:15",
                "2025-01-19 02:37",
                167_726,
                1,
                "167726 after 2024-08-25 14:23",
                0,
                0.030,
                "2024-08-05 01:10",
            ),
            "ETH/USDT": Bars(
                86_456,
                "2024-07-26 14:16",
                "2025-01-19 02:38",
                167_727,
                1,
                "167727 after 2024-08-25 14:23",
                0,
                0.088,
                "2024-08-05 01:10",
            ),
            "LTC/USDT": Bars(52_938, "2024-12-20 01:51", "2025-01-25 20:08", *WHOLE, 0, 0.035, "2025-01-19 22:48"),
        },
    ),
    "bars_1m_perp.parquet": (
        Interval.M1,
        {
            f"{name}/USDT:USDT": Bars(n_bars, f"2025-05-04 {first}", f"2025-{last}", *WHOLE, 0, move, f"2025-05-{at}")
            for name, n_bars, first, last, move, at in (
                ("AVAX", 43_199, "15:37", "06-03 15:35", 0.025, "22 10:00"),
                ("BCH", 43_199, "15:34", "06-03 15:32", 0.032, "07 23:11"),
                ("BTC", 43_199, "15:33", "06-03 15:31", 0.006, "12 07:00"),
                ("ETH", 60_191, "15:33", "06-15 10:43", 0.028, "18 20:00"),
                ("LINK", 43_200, "15:34", "06-03 15:33", 0.021, "30 00:58"),
                ("LTC", 43_199, "15:35", "06-03 15:33", 0.015, "10 00:06"),
                ("SOL", 43_200, "15:33", "06-03 15:32", 0.014, "31 01:34"),
            )
        },
    ),
}
"""By file, all that its README says about the bars."""

HALTS_1H = {
    "2020-02-09 01:00": 1,
    "2020-02-19 11:00": 5,
    "2020-03-04 09:00": 1,
    "2020-04-25 01:00": 2,
    "2020-06-28 01:00": 3,
    "2020-11-30 05:00": 1,
    "2020-12-21 13:00": 4,
    "2020-12-25 01:00": 1,
    "2021-02-11 03:00": 1,
    "2021-03-06 01:00": 1,
    "2021-04-20 01:00": 2,
    "2021-04-25 04:00": 3,
    "2021-08-13 01:00": 4,
    "2021-09-29 06:00": 2,
    "2023-03-24 12:00": 1,
}
"""Last bar before each halt of the exchange: bars that are absent."""


def source(name: str) -> FileSource:
    file = DATA / name
    if not file.is_file():
        pytest.skip(f"no real bars: {name} is not in shared/data beside the project")
    return FileSource(file)


@cache
def bars_of(name: str) -> pl.DataFrame:
    files = source(name)
    return files.bars(files.symbols(), files.interval(), *files.span())


@cache
def found_in(name: str) -> dict[tuple[str, str], dict[str, object]]:
    files = source(name)
    interval, symbols, (start, stop) = files.interval(), files.symbols(), files.span()
    result = quality.check(bars_of(name), symbols, interval, start, stop, stop, MarketSettings())
    return {(row["check"], row["symbol"]): row for row in result.iter_rows(named=True)}


@cache
def absent_in(name: str) -> pl.DataFrame:
    files, bars = source(name), bars_of(name)
    found = halts(moves_of(bars), spans_of(bars), files.interval())
    return absences(bars, found, files.interval(), *files.span())


@pytest.mark.parametrize("name", MEASURED)
def test_a_file_holds_the_symbols_bars_and_times_that_were_measured(name: str) -> None:
    interval, measured = MEASURED[name]
    files = source(name)
    assert files.interval() == interval
    assert files.symbols() == tuple(measured)
    times = "%Y-%m-%d %H:%M"
    held = (
        bars_of(name)
        .group_by("symbol", maintain_order=True)
        .agg(
            pl.len(),
            first=pl.col("opened_at_utc").min().dt.strftime(times),
            last=pl.col("opened_at_utc").max().dt.strftime(times),
        )
    )
    assert held.rows() == [(symbol, *bars[:3]) for symbol, bars in measured.items()]


@pytest.mark.parametrize("name", MEASURED)
def test_the_checks_find_in_a_file_what_was_measured_to_the_bar(name: str) -> None:
    found = found_in(name)
    for symbol, bars in MEASURED[name][1].items():
        gaps, halts, jumps = (found[check, symbol] for check in ("gaps", "halts", "jumps"))
        assert gaps["n_bad"] + halts["n_bad"] == bars.n_absent, symbol
        assert gaps["n_checked"] == halts["n_checked"] == bars.n_bars + bars.n_absent
        assert found["zero_volume", symbol]["n_bad"] == bars.n_zero_volume
        assert round(jumps["figure"], 3) == bars.move
        assert f"at {bars.moved_at} UTC" in jumps["detail"]
        assert [check for check in SOUND if not found[check, symbol]["passed"]] == []
        share = bars.n_absent / (bars.n_bars + bars.n_absent)
        assert found["filled_share", symbol]["figure"] == pytest.approx(share)
        assert found["filled_share", symbol]["passed"] == (share <= 0.01)


@pytest.mark.parametrize("name", MEASURED)
def test_the_holes_of_a_file_are_as_many_and_as_long_as_was_measured(name: str) -> None:
    found = holes(bars_of(name), MEASURED[name][0]).sort("hole_bars", descending=True, maintain_order=True)
    for symbol, bars in MEASURED[name][1].items():
        mine = found.filter(symbol=symbol)
        assert (mine.height, mine["hole_bars"].sum()) == (bars.n_holes, bars.n_absent)
        longest = f"{mine['hole_bars'][0]} after {mine['after_utc'][0]:%Y-%m-%d %H:%M}" if mine.height else ""
        assert longest == bars.longest


def test_every_absent_hour_is_one_of_the_fifteen_halts_of_the_exchange() -> None:
    absent = absent_in("bars_1h.parquet")
    assert absent["is_halt"].all()
    after = pl.col("after_utc").dt.strftime("%Y-%m-%d %H:%M").alias("after")
    for symbol, bars in MEASURED["bars_1h.parquet"][1].items():
        mine = absent.filter(symbol=symbol).group_by(after).len()
        listed = {time: n for time, n in HALTS_1H.items() if time >= bars.first}
        assert dict(mine.rows()) == listed, symbol
    assert all(found_in("bars_1h.parquet")["gaps", symbol]["passed"] for symbol in MEASURED["bars_1h.parquet"][1])


def test_at_a_quarter_of_an_hour_the_halt_of_march_2023_is_told_from_the_holes_of_three_symbols() -> None:
    absent, at = absent_in("bars_15m.parquet"), pl.col("opened_at_utc")
    halted = absent.filter("is_halt").group_by(at, maintain_order=True).len().sort("opened_at_utc")
    start = datetime(2023, 3, 24, 12, 45, tzinfo=UTC)
    assert halted.rows() == [(start + n * timedelta(minutes=15), 9) for n in range(5)]
    lost = (
        absent.filter(~pl.col("is_halt"))
        .group_by("symbol", "after_utc")
        .agg(at.min(), at.max().alias("last"), pl.len())
    )
    assert lost.select("symbol", "opened_at_utc", "last", "len").sort("opened_at_utc", "symbol").rows() == [
        ("AAVE/USDT", utc("2023-09-27 18:00"), utc("2023-12-31 23:45"), 9_144),
        ("BCH/USDT", utc("2023-09-27 18:15"), utc("2023-12-31 23:45"), 9_143),
        ("UNI/USDT", utc("2023-12-28 14:45"), utc("2023-12-31 23:45"), 325),
        ("BCH/USDT", utc("2024-09-07 02:15"), utc("2024-12-20 02:00"), 9_984),
    ]


def test_only_holes_of_a_source_are_errors_and_they_say_where() -> None:
    found = found_in("bars_15m.parquet")
    failed = {symbol for check, symbol in found if check == "longest_hole" and not found[check, symbol]["passed"]}
    assert failed == {"AAVE/USDT", "BCH/USDT", "UNI/USDT"}
    assert found["longest_hole", "UNI/USDT"]["detail"] == (
        "largest hole of 325 bars (81.25 h) after 2023-12-28 14:30 UTC, limit 24; on 4 days"
    )
    assert found["longest_hole", "BCH/USDT"]["figure"] == 9_984 / 4
    assert found["halts", "BTC/USDT"]["detail"] == "hole of 5 bars (1.25 h) after 2023-03-24 12:30 UTC"
    assert found["halts", "BTC/USDT"]["n_bad"] == 5


def test_the_space_between_two_sessions_of_all_symbols_is_a_hole_and_no_halt() -> None:
    found = found_in("bars_1m.parquet")
    assert {symbol: found["halts", symbol]["n_bad"] for symbol in ("BTC/USDT", "ETH/USDT")} == {
        "BTC/USDT": 0,
        "ETH/USDT": 0,
    }
    assert not found["longest_hole", "BTC/USDT"]["passed"]


@pytest.mark.parametrize("name", ["bars_5m.parquet", "bars_1m_perp.parquet"])
def test_where_nothing_is_absent_nothing_is_found(name: str) -> None:
    assert absent_in(name).is_empty()
    assert all(found_in(name)[check, symbol]["passed"] for symbol in MEASURED[name][1] for check in ("gaps", "halts"))


def test_the_halt_is_flat_before_it_is_silent() -> None:
    still = bars_of("bars_15m.parquet").filter((pl.col("volume") == 0) & (pl.col("high") == pl.col("low")))
    times = still.filter(symbol="BTC/USDT")["opened_at_utc"].to_list()
    assert times == [utc("2023-03-24 11:30") + n * timedelta(minutes=15) for n in range(5)]
    hours = bars_of("bars_1h.parquet").filter(pl.col("volume") == 0)
    assert set(hours["opened_at_utc"]) == {utc("2021-02-11 03:00"), utc("2023-03-24 12:00")}


def test_a_day_of_real_bars_comes_without_reading_the_others_into_the_answer() -> None:
    files = source("bars_15m.parquet")
    stop = files.span()[1]
    day = files.bars(("BTC/USDT", "ETH/USDT"), Interval.M15, stop - Interval.D1.duration, stop)
    assert day.group_by("symbol").len().sort("symbol")["len"].to_list() == [96, 96]
    assert day["opened_at_utc"].max() == stop - Interval.M15.duration


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
