"""Bars that cannot be true, as a venue may send them: left out, counted, and never mended."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from cappuccino.errors import SourceError
from cappuccino.market.interval import Interval
from tests.loopback.conftest import MakeSource
from tests.loopback.exchange import Edit, Exchange, Row

INTERVAL = Interval.M15
START = datetime(2024, 3, 1, tzinfo=UTC)
STOP = START + timedelta(hours=6)
SYMBOL = ("BTC/USD",)
BAD = START + timedelta(hours=1)
"""The bar that the edits spoil."""


def spoil(**values: Any) -> Edit:
    return lambda rows: [replace(row, **values) if row.opened_at == BAD else row for row in rows]


def move(by: timedelta) -> Edit:
    return lambda rows: [row.moved(by) if row.opened_at == BAD else row for row in rows]


def without_the_bad(exchange: Exchange) -> pl.DataFrame:
    return exchange.truth(SYMBOL, INTERVAL, START, STOP).filter(pl.col("opened_at_utc") != BAD)


UNTRUE = {
    "close not a number": (spoil(close=float("nan")), "close is nan"),
    "open infinite": (spoil(open=float("inf")), "open is inf"),
    "low zero": (spoil(low=0.0), "low is 0.0"),
    "high negative": (spoil(high=-1.5), "high is -1.5"),
    "close absent": (spoil(close=None), "close is None"),
    "volume negative": (spoil(volume=-3.0), "volume is -3.0"),
    "volume not a number": (spoil(volume=float("nan")), "volume is nan"),
    "low above close": (spoil(low=1e9), "low 1000000000.0 and high"),
    "off the grid": (move(timedelta(minutes=7)), "not on the grid of 15m bars"),
    "from the future": (move(timedelta(days=200)), "opens in the future, now is 2024-06-01 12:34:56 UTC"),
    "from another time": (move(-timedelta(days=5)), "asked for was 2024-03-01 00:00 UTC to 2024-03-01 06:00 UTC"),
}


@pytest.mark.parametrize(("edit", "words"), UNTRUE.values(), ids=UNTRUE.keys())
def test_a_bar_that_cannot_be_true_becomes_a_hole_and_is_counted(
    make_source: MakeSource, exchange: Exchange, edit: Edit, words: str
) -> None:
    exchange.edit = edit
    source = make_source()
    assert_frame_equal(source.bars(SYMBOL, INTERVAL, START, STOP), without_the_bad(exchange), check_exact=True)
    row = source.drain().row(by_predicate=pl.col("outcome") == "bad_bar", named=True)
    assert (row["endpoint"], row["calls"], row["share_frac"]) == ("bars", 1, 1 / 24)
    assert row["example"].startswith("BTC/USD at 2024-")
    assert words in row["example"]


def test_a_symbol_that_nobody_asked_for_is_left_out(make_alpaca: MakeSource, exchange: Exchange) -> None:
    exchange.edit = spoil(symbol="ZZZ/USD")
    source = make_alpaca()
    assert_frame_equal(source.bars(SYMBOL, INTERVAL, START, STOP), without_the_bad(exchange), check_exact=True)
    example = source.drain().row(by_predicate=pl.col("outcome") == "bad_bar", named=True)["example"]
    assert example == "ZZZ/USD at 2024-03-01 01:00 UTC: the symbol was not asked for"


def test_two_different_bars_of_the_same_time_are_both_left_out(make_source: MakeSource, exchange: Exchange) -> None:
    exchange.edit = lambda rows: [*rows, *(replace(row, volume=row.volume + 1) for row in rows if row.opened_at == BAD)]
    source = make_source()
    assert_frame_equal(source.bars(SYMBOL, INTERVAL, START, STOP), without_the_bad(exchange), check_exact=True)
    row = source.drain().row(by_predicate=pl.col("outcome") == "bad_bar", named=True)
    assert (row["calls"], "several times with different values" in row["example"]) == (2, True)


def shuffled_twice(rows: list[Row]) -> list[Row]:
    both = rows * 2
    random.Random(3).shuffle(both)
    return both


def with_neighbours(rows: list[Row]) -> list[Row]:
    """Return the bars with one more on either side, as a venue that counts ends differently gives them."""
    return [rows[0].moved(-INTERVAL.duration), *rows, rows[-1].moved(INTERVAL.duration)]


@pytest.mark.parametrize("edit", [shuffled_twice, with_neighbours], ids=["order and repetition", "ends counted in"])
def test_habits_of_venues_change_nothing_and_are_not_counted(
    make_source: MakeSource, exchange: Exchange, edit: Edit
) -> None:
    exchange.edit = edit
    source = make_source()
    bars = source.bars(SYMBOL, INTERVAL, START, STOP)
    assert_frame_equal(bars, exchange.truth(SYMBOL, INTERVAL, START, STOP), check_exact=True)
    assert source.drain()["outcome"].to_list() == ["ok"]


def test_the_bar_in_progress_is_left_out_without_a_word(make_source: MakeSource, exchange: Exchange) -> None:
    exchange.now = now = START + timedelta(hours=3, minutes=20)
    unfinished = exchange.truth(SYMBOL, INTERVAL, now - INTERVAL.duration, now).rows()[-1]
    exchange.edit = lambda rows: [*rows, replace(Row(*unfinished), high=float("nan"))]
    source = make_source(now)
    bars = source.bars(SYMBOL, INTERVAL, START, STOP)
    assert bars["opened_at_utc"].max() == START + timedelta(hours=3)
    assert len(bars) == 13
    assert source.drain()["outcome"].to_list() == ["ok"]


def test_an_absent_bar_stays_a_hole(make_source: MakeSource, exchange: Exchange) -> None:
    exchange.edit = lambda rows: [row for row in rows if row.opened_at != BAD]
    bars = make_source().bars(SYMBOL, INTERVAL, START, STOP)
    assert_frame_equal(bars, without_the_bad(exchange), check_exact=True)


def test_an_answer_with_too_many_bad_bars_is_refused_as_a_whole(make_source: MakeSource, exchange: Exchange) -> None:
    exchange.edit = lambda rows: [replace(row, low=-1.0) if n < 11 else row for n, row in enumerate(rows)]
    source = make_source()
    expected = r"15m bars of BTC/USD .*: 11 of 24 bars cannot be true.* BTC/USD at 2024-03-01 00:00 UTC: low is -1.0"
    with pytest.raises(SourceError, match=expected):
        source.bars(SYMBOL, INTERVAL, START, STOP)
    assert source.drain()["calls"].to_list() == [11, 1]


def test_an_answer_to_another_question_is_refused_as_a_whole(make_source: MakeSource, exchange: Exchange) -> None:
    exchange.edit = lambda rows: [row.moved(timedelta(days=30)) for row in rows]
    with pytest.raises(SourceError, match=r"24 of 24 bars cannot be true.* asked for was 2024-03-01 00:00 UTC"):
        make_source().bars(SYMBOL, INTERVAL, START, STOP)
