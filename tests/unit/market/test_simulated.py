"""The simulated market is the same for everybody, and behaves like a market."""

import hashlib
import time
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from cappuccino.market.interval import Interval
from cappuccino.market.simulated import SimulatedSource
from cappuccino.market.simulated_days import MARKET_VOLATILITY, market_days, symbol_path
from cappuccino.market.simulated_minutes import bridge
from cappuccino.market.source import PRICES
from cappuccino.settings import MarketSettings

SYMBOLS = MarketSettings().symbols
TODAY = datetime(2025, 7, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def log_returns(seed: int, interval: Interval, days: int) -> np.ndarray:
    """Return log returns of all symbols, (T, A)."""
    frame = SimulatedSource(seed).bars(SYMBOLS, interval, TODAY - days * DAY, TODAY)
    close = frame.pivot(on="symbol", index="opened_at_utc", values="close").drop("opened_at_utc").to_numpy()
    return np.diff(np.log(close), axis=0)


def aggregated(frame: pl.DataFrame, interval: Interval) -> pl.DataFrame:
    """Return longer bars from shorter ones, the obvious way."""
    bucket = pl.col("opened_at_utc").dt.truncate(interval.value)
    return frame.group_by("symbol", bucket, maintain_order=True).agg(
        pl.col("open").first(),
        pl.col("high").max(),
        pl.col("low").min(),
        pl.col("close").last(),
        pl.col("volume").sum(),
    )


def test_equal_seeds_give_equal_bars_and_other_seeds_others():
    range_ = (SYMBOLS, Interval.H1, TODAY - 3 * DAY, TODAY)
    assert_frame_equal(SimulatedSource(1).bars(*range_), SimulatedSource(1).bars(*range_), check_exact=True)
    different = SimulatedSource(1).bars(*range_)["close"] != SimulatedSource(2).bars(*range_)["close"]
    assert different.mean() > 0.99


def test_the_bars_of_a_seed_never_change():
    """A changed simulation makes other agents: whoever changes it changes this number, and says so."""
    frame = SimulatedSource(2026).bars(("BTC/USD", "SOL/USD"), Interval.H4, TODAY - 2 * DAY, TODAY)
    numbers = np.round(frame.select(PRICES).to_numpy(), 4)
    assert hashlib.sha256(numbers.tobytes()).hexdigest()[:16] == "1bb4528f270c7e51"


MOMENTS = st.integers(0, 2_200 * 1440).map(lambda m: datetime(2020, 1, 1, tzinfo=UTC) + timedelta(minutes=m))


@settings(derandomize=True, deadline=None, max_examples=25)
@given(
    start=MOMENTS,
    minutes=st.integers(0, 3 * 1440),
    before=st.integers(0, 40 * 1440),
    after=st.integers(0, 40 * 1440),
    symbols=st.sets(st.sampled_from((*SYMBOLS, "X/Y")), min_size=1, max_size=3),
    interval=st.sampled_from([Interval.M15, Interval.H1, Interval.D1]),
)
def test_a_bar_does_not_depend_on_the_range_or_on_other_symbols(start, minutes, before, after, symbols, interval):
    source, stop = SimulatedSource(7), start + timedelta(minutes=minutes)
    small = source.bars(tuple(symbols), interval, start, stop)
    wide_range = (start - timedelta(minutes=before), stop + timedelta(minutes=after))
    wide = source.bars((*symbols, "ETH/USD", "NEW/USD"), interval, *wide_range)
    is_asked = (
        pl.col("symbol").is_in(list(symbols)) & (pl.col("opened_at_utc") >= start) & (pl.col("opened_at_utc") < stop)
    )
    assert_frame_equal(small, wide.filter(is_asked), check_exact=True)


@pytest.mark.parametrize("shorter", [Interval.M1, Interval.M5, Interval.M15, Interval.H1])
def test_longer_bars_are_the_exact_aggregate_of_shorter_ones(shorter):
    source, range_ = SimulatedSource(3), (TODAY - 5 * DAY, TODAY)
    fine = source.bars(("ETH/USD", "BTC/USD"), shorter, *range_)
    for longer in (Interval.H4, Interval.D1):
        coarse = source.bars(("ETH/USD", "BTC/USD"), longer, *range_)
        assert_frame_equal(coarse, aggregated(fine, longer), check_exact=True)


def test_every_bar_opens_where_the_one_before_closed():
    frame = SimulatedSource(5).bars(("BTC/USD",), Interval.M15, TODAY - 40 * DAY, TODAY)
    assert len(frame) == 40 * 96
    np.testing.assert_array_equal(frame["open"][1:], frame["close"][:-1])
    assert (frame["volume"] > 0).all()


def test_there_is_nothing_before_2020_and_always_something_later():
    source = SimulatedSource(5)
    year_2020, year_2040 = datetime(2020, 1, 1, tzinfo=UTC), datetime(2040, 1, 1, tzinfo=UTC)
    assert source.bars(("BTC/USD",), Interval.D1, year_2020 - 9 * DAY, year_2020).is_empty()
    assert len(source.bars(("BTC/USD",), Interval.D1, year_2020 - 9 * DAY, year_2020 + DAY)) == 1
    assert len(source.bars(("BTC/USD",), Interval.D1, year_2040, year_2040 + 3 * DAY)) == 3


def test_prices_begin_where_people_expect_them_and_never_run_away():
    first = SimulatedSource(1).bars(
        ("BTC/USD", "UNI/USD"), Interval.M1, datetime(2020, 1, 1, tzinfo=UTC), TODAY - 2007 * DAY
    )
    assert first.group_by("symbol").first().sort("symbol")["open"].to_list() == [60_000.0, 8.0]
    for seed in range(5):
        path = symbol_path(seed, "BTC/USD", market_days(seed, 36_500)).midnights
        assert np.abs(path - path[0]).max() < 5  # a century, and still within a factor of 150


@pytest.mark.parametrize("seed", [1, 2, 2026])
def test_volatility_correlation_and_tails_are_those_of_crypto(seed):
    r = log_returns(seed, Interval.H1, 730)
    volatility = r.std(axis=0) * np.sqrt(Interval.H1.per_year)
    assert volatility.min() > 0.40
    assert volatility.max() < 1.20
    correlation = np.corrcoef(r.T)[np.triu_indices(len(SYMBOLS), 1)]
    assert correlation.min() > 0.3
    assert correlation.max() < 0.9
    kurtosis = ((r - r.mean(axis=0)) ** 4).mean(axis=0) / r.var(axis=0) ** 2
    assert kurtosis.min() > 4


def test_volatility_clusters_and_returns_do_not_repeat_themselves():
    r = log_returns(2026, Interval.H1, 365)[:, 0]
    size = np.abs(r)
    assert np.corrcoef(size[1:], size[:-1])[0, 1] > 0.1
    assert abs(np.corrcoef(r[1:], r[:-1])[0, 1]) < 0.04


def test_volume_goes_with_the_size_of_the_move():
    frame = SimulatedSource(2026).bars(("ETH/USD",), Interval.M15, TODAY - 90 * DAY, TODAY)
    move = np.abs(np.log(frame["close"] / frame["open"]).to_numpy())
    assert np.corrcoef(move, frame["volume"].to_numpy())[0, 1] > 0.4


def test_following_two_week_trends_earns_something_on_average_and_nobody_is_promised_a_gain():
    momentum, holding = [], []
    for seed in range(30):
        market = market_days(seed, 2000)
        path = np.stack([symbol_path(seed, symbol, market).midnights for symbol in SYMBOLS], axis=1)
        r = np.expm1(np.diff(path, axis=0))
        trend = np.lib.stride_tricks.sliding_window_view(r[:-1], 14, axis=0).sum(axis=-1)
        momentum.append(sharpe(((trend > 0) * r[14:]).mean(axis=1)))
        holding.append(sharpe(r.mean(axis=1)))
    assert 0.8 < np.mean(momentum) < 2.0
    assert np.mean(momentum) > np.mean(holding) + 0.5
    assert abs(np.mean(holding)) < 0.5
    assert min(holding) < -0.2
    assert min(momentum) < 0.7


def sharpe(daily: np.ndarray) -> float:
    return float(daily.mean() / daily.std() * np.sqrt(365))


def test_minutes_add_up_to_their_day_and_have_its_variance():
    days = market_days(4, 600)
    minutes = bridge(4, "", days, 0, 600)
    np.testing.assert_allclose(minutes.returns.sum(axis=1), days.smooth + days.jump, atol=1e-12)
    np.testing.assert_allclose(minutes.variance.sum(axis=1), days.volatility**2, rtol=1e-12)
    calm = days.jump == 0
    scaled = minutes.returns[calm] / np.sqrt(minutes.variance[calm])
    assert scaled.var() == pytest.approx(1, abs=0.03)
    pairs = np.corrcoef(scaled[:, :-1].ravel(), scaled[:, 1:].ravel())[0, 1]
    assert abs(pairs) < 0.01


def test_jumps_are_rare_large_and_in_one_minute():
    days = market_days(4, 5_000)
    jumped = days.jump != 0
    assert 0.012 < jumped.mean() < 0.028
    assert np.std(days.jump[jumped]) == pytest.approx(1.5 * MARKET_VOLATILITY, rel=0.3)
    day = int(np.flatnonzero(jumped)[np.abs(days.jump[jumped]).argmax()])
    minutes = bridge(4, "", days, day, day + 1).returns[0]
    assert np.abs(minutes).argmax() == days.jump_minute[day]


def test_two_years_of_seven_symbols_come_within_seconds():
    started = time.process_time()
    frame = SimulatedSource(2026).bars(SYMBOLS, Interval.M15, TODAY - 731 * DAY, TODAY)
    assert len(frame) == 7 * 731 * 96
    assert time.process_time() - started < 10  # about 1 s where nothing else runs
