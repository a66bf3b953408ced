"""Whatever is done to a record, each absent or repeated bar is counted once, as what it is, where it is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import duckdb
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from cappuccino.market import quality
from cappuccino.market.interval import Interval
from cappuccino.market.source import BAR_SCHEMA
from cappuccino.settings import MarketSettings
from cappuccino.store.schema import SQL_DIR, Schema

SYMBOLS = ("A/USD", "B/USD", "C/USD")
START = datetime(2024, 1, 1, tzinfo=UTC)
N_BARS, STEP = 40, timedelta(hours=4)
MARKET = MarketSettings(symbols=SYMBOLS, base_interval=Interval.H4)
SCHEMA = Schema.load(SQL_DIR)
inner = st.integers(1, N_BARS - 2)
"""Positions at which a hole cannot change what is listed."""
CLOCK = st.sets(inner, max_size=6)


def market_of(
    *, without: set[tuple[str, int]] = frozenset(), still: set[tuple[str, int]] = frozenset()
) -> pl.DataFrame:  # type: ignore[assignment]
    rows = [
        (symbol, START + t * STEP, 2.0, *((2.0, 2.0) if (symbol, t) in still else (3.0, 1.0)), 2.0, volume)
        for symbol in SYMBOLS
        for t in range(N_BARS)
        if (symbol, t) not in without
        for volume in [0.0 if (symbol, t) in still else 5.0]
    ]
    return pl.DataFrame(rows, schema=BAR_SCHEMA, orient="row")


def found_in(frame: pl.DataFrame) -> pl.DataFrame:
    stop = START + N_BARS * STEP
    return quality.check(frame, SYMBOLS, Interval.H4, START, stop, stop, MARKET)


def counts(frame: pl.DataFrame) -> dict[tuple[str, str], int]:
    found = found_in(frame)
    return {(check, symbol): n_bad for check, symbol, n_bad in found.select("check", "symbol", "n_bad").rows()}


def longest_run(times: set[int]) -> int:
    return max((next(n for n in range(1, N_BARS) if t + n not in times) for t in times), default=0)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(
    halted=CLOCK.filter(lambda times: longest_run(times) <= 6),
    lost=st.sets(st.tuples(st.sampled_from(SYMBOLS), inner), max_size=12),
    repeated=st.lists(st.tuples(st.sampled_from(SYMBOLS), st.integers(0, N_BARS - 1)), max_size=6),
)
def test_every_injected_hole_halt_and_duplicate_is_counted_exactly(
    halted: set[int], lost: set[tuple[str, int]], repeated: list[tuple[str, int]]
) -> None:
    absent = {(symbol, t) for symbol in SYMBOLS for t in halted} | lost
    frame = market_of(without=absent)
    again = [
        frame.filter((pl.col("symbol") == symbol) & (pl.col("opened_at_utc") == START + t * STEP))
        for symbol, t in repeated
    ]
    found = counts(pl.concat([frame, *again]))
    shared = {t for _, t in absent if all((symbol, t) in absent for symbol in SYMBOLS)}
    for symbol in SYMBOLS:
        own = {t for name, t in absent if name == symbol}
        if longest_run(shared) <= 6:
            assert found["halts", symbol] == len(own & shared)
            assert found["gaps", symbol] == len(own - shared)
        assert found["halts", symbol] + found["gaps", symbol] == len(own) == found["filled_share", symbol]
        assert found["duplicates", symbol] == sum(1 for s, t in repeated if s == symbol and (s, t) not in absent)


@settings(derandomize=True, deadline=None, max_examples=25)
@given(
    absent=st.sets(st.tuples(st.sampled_from(SYMBOLS), st.integers(0, N_BARS - 1)), max_size=60),
    still=st.sets(st.tuples(st.sampled_from(SYMBOLS), st.integers(0, N_BARS - 1)), max_size=40),
    silent=st.tuples(inner, st.integers(0, 9)),
    flat=st.sets(st.sampled_from(SYMBOLS), max_size=2),
    ended=st.dictionaries(st.sampled_from(SYMBOLS), st.integers(N_BARS - 12, N_BARS), max_size=2),
)
def test_the_model_in_sql_tells_halts_from_holes_as_the_checks_do(
    absent: set[tuple[str, int]],
    still: set[tuple[str, int]],
    silent: tuple[int, int],
    flat: set[str],
    ended: dict[str, int],
) -> None:
    """Together they fall silent, or flat; some of them never come back."""
    silence = {(symbol, t) for symbol in SYMBOLS for t in range(silent[0], silent[0] + silent[1])}
    quiet = {(symbol, t) for symbol, t in silence if symbol in flat}
    gone = {(symbol, t) for symbol, end in ended.items() for t in range(end, N_BARS)}
    frame = market_of(without=((absent | silence) - quiet) | gone, still=still | quiet)
    found = counts(frame)
    longest = dict(found_in(frame).filter(check="longest_hole").select("symbol", "figure").rows())
    days, runs = models_in_sql(frame)
    for symbol in frame["symbol"].unique():
        mine = days.filter(symbol=symbol)
        assert found["gaps", symbol] == (mine["absent_bars"] - mine["halted_bars"]).sum()
        assert found["halts", symbol] == mine["halted_bars"].sum()
        assert found["zero_volume", symbol] == mine["zero_volume_bars"].sum()
        assert mine["bars"].sum() == frame.filter(symbol=symbol).height
        assert longest[symbol] == 4 * (runs.filter(symbol=symbol)["run_bars"].max() or 0)


def models_in_sql(frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return market.days, and the holes of sources of market.absences."""
    incoming = frame.with_columns(
        pl.col("opened_at_utc").dt.replace_time_zone(None),
        closed_at_utc=pl.col("opened_at_utc").dt.replace_time_zone(None) + STEP,
    )
    with duckdb.connect(":memory:") as connection:
        connection.register("incoming", incoming)
        connection.execute("create schema market; create table market.bars as from incoming")
        for model in ("market.absences", "market.days"):
            connection.execute(SCHEMA.models[model].create_sql)
        return connection.sql("from market.days").pl(), connection.sql("from market.absences where not is_halt").pl()
