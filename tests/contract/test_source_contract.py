"""What every source of bars must do. A new source joins by one line in SOURCES."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from cappuccino.clock import FixedClock
from cappuccino.market.files import FileSource
from cappuccino.market.interval import Interval
from cappuccino.market.simulated import SimulatedSource
from cappuccino.market.source import BAR_SCHEMA, BarSource, RemoteSource, check_frame
from cappuccino.market.venues.alpaca import AlpacaSource
from cappuccino.market.venues.coinbase import CoinbaseSource
from cappuccino.settings import AlpacaSettings, CoinbaseSettings
from tests.loopback.exchange import Exchange, running

SYMBOLS = ("BTC/USD", "ETH/USD", "LTC/USD")
INTERVAL = Interval.M15
START = datetime(2024, 3, 1, tzinfo=UTC)
STOP = START + timedelta(days=3)
LONG_AFTER = FixedClock(STOP + timedelta(days=11_000))
Reopen = Callable[[], BarSource]


@dataclass(frozen=True)
class Place:
    """Where a source finds its bars."""

    folder: Path
    exchange: Exchange


def stored_bars() -> pl.DataFrame:
    """Return bars with two holes, as a user may have them."""
    frame = SimulatedSource(1).bars(SYMBOLS, INTERVAL, START, STOP)
    return frame.filter(pl.int_range(pl.len()).is_in([50, 51, 400]).not_())


def parquet_file(place: Place) -> BarSource:
    stored_bars().rename({"opened_at_utc": "ts"}).write_parquet(place.folder / "bars.parquet")
    return FileSource(place.folder / "bars.parquet")


def csv_file(place: Place) -> BarSource:
    stored_bars().write_csv(place.folder / "bars.csv")
    return FileSource(place.folder / "bars.csv")


def folder_of_files(place: Place) -> BarSource:
    for (symbol,), bars in stored_bars().partition_by("symbol", as_dict=True).items():
        bars.drop("symbol").write_csv(place.folder / f"{str(symbol).replace('/', '-')}.csv")
    return FileSource(place.folder)


def simulated(place: Place) -> BarSource:
    return SimulatedSource(2026)


def alpaca(place: Place) -> BarSource:
    return AlpacaSource(AlpacaSettings(data_url=place.exchange.alpaca_url, requests_per_minute=1e6), LONG_AFTER)


def coinbase(place: Place) -> BarSource:
    return CoinbaseSource(CoinbaseSettings(base_url=place.exchange.coinbase_host, requests_per_minute=1e6), LONG_AFTER)


SOURCES = [simulated, parquet_file, csv_file, folder_of_files, alpaca, coinbase]


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchange]:
    """The venues, on this machine; see tests/loopback."""
    with running(tmp_path_factory.mktemp("exchange")) as exchange:
        yield exchange


@pytest.fixture(params=SOURCES, ids=lambda make: make.__name__)
def reopen(request: pytest.FixtureRequest, tmp_path: Path, exchange: Exchange) -> Reopen:
    """Return a function that opens the same source again."""
    return lambda: request.param(Place(tmp_path, exchange))


@pytest.fixture
def source(reopen: Reopen) -> BarSource:
    return reopen()


def test_it_says_what_it_is(source):
    assert source.name
    assert source.is_simulated is isinstance(source, SimulatedSource)
    assert set(SYMBOLS) <= set(source.symbols())


def test_bars_worth_asking_for_at_once_are_more_than_a_day_of_minutes(source):
    assert source.chunk_bars > Interval.M1.per_day


def test_a_remote_source_says_how_its_calls_went(source):
    source.bars(SYMBOLS, INTERVAL, START, STOP)
    if not isinstance(source, RemoteSource):
        assert isinstance(source, FileSource | SimulatedSource)
        return
    outcomes = source.drain()
    assert outcomes.select("source", "endpoint", "outcome", "share_frac").rows() == [(source.name, "bars", "ok", 1.0)]
    assert source.drain().is_empty()


def test_its_span_has_zones_and_holds_all_bars(source):
    span = source.span()
    if span is None:
        assert len(source.bars(SYMBOLS[:1], INTERVAL, STOP + timedelta(days=9999), STOP + timedelta(days=10000)))
        return
    first, end = span
    assert first.utcoffset() == end.utcoffset() == timedelta(0)
    bars = source.bars(SYMBOLS, INTERVAL, first - timedelta(days=9), end + timedelta(days=9))
    assert bars["opened_at_utc"].min() == first
    assert bars["opened_at_utc"].max() == end - INTERVAL.duration


def test_bars_fulfil_the_contract_of_the_frame(source):
    bars = source.bars(SYMBOLS, INTERVAL, START, STOP)
    assert bars.schema == BAR_SCHEMA
    assert len(bars) > 800
    assert_frame_equal(check_frame(bars, INTERVAL, "contract"), bars)


def test_bars_open_from_the_start_up_to_but_not_including_the_stop(source):
    six, seven = START + timedelta(hours=6), START + timedelta(hours=7)
    opened = source.bars(SYMBOLS[-1:], INTERVAL, six, seven)["opened_at_utc"].to_list()
    assert opened == [six + n * INTERVAL.duration for n in range(4)]


def test_a_range_may_begin_and_end_between_two_bars(source):
    early, late = START + timedelta(minutes=1), START + timedelta(minutes=46)
    opened = source.bars(SYMBOLS[:1], INTERVAL, early, late)["opened_at_utc"].to_list()
    assert opened == [START + n * INTERVAL.duration for n in (1, 2, 3)]


def test_only_the_symbols_asked_for_come_sorted_and_once(source):
    bars = source.bars(("LTC/USD", "BTC/USD", "LTC/USD"), INTERVAL, START, STOP)
    assert bars["symbol"].unique(maintain_order=True).to_list() == ["BTC/USD", "LTC/USD"]


def test_a_part_is_the_same_as_that_part_of_the_whole(source):
    whole = source.bars(SYMBOLS, INTERVAL, START, STOP)
    middle = (START + timedelta(hours=20), STOP - timedelta(hours=20))
    part = source.bars(SYMBOLS[1:2], INTERVAL, *middle)
    expected = whole.filter(
        (pl.col("symbol") == SYMBOLS[1])
        & (pl.col("opened_at_utc") >= middle[0])
        & (pl.col("opened_at_utc") < middle[1])
    )
    assert len(part) > 100
    assert_frame_equal(part, expected, check_exact=True)


def test_the_same_question_has_the_same_answer_tomorrow(reopen):
    first = reopen().bars(SYMBOLS, INTERVAL, START, STOP)
    assert_frame_equal(reopen().bars(SYMBOLS, INTERVAL, START, STOP), first, check_exact=True)


def test_a_range_without_bars_gives_no_bars_in_the_right_columns(source):
    long_ago = datetime(2009, 1, 3, tzinfo=UTC)
    for start, stop in [(long_ago, long_ago + timedelta(days=1)), (START, START)]:
        bars = source.bars(SYMBOLS, INTERVAL, start, stop)
        assert bars.is_empty()
        assert bars.schema == BAR_SCHEMA
    assert source.bars((), INTERVAL, START, STOP).is_empty()


def test_any_zone_will_do_but_one_is_needed(source):
    tokyo = timezone(timedelta(hours=9))
    bars = source.bars(SYMBOLS, INTERVAL, START.astimezone(tokyo), STOP.astimezone(tokyo))
    assert_frame_equal(bars, source.bars(SYMBOLS, INTERVAL, START, STOP), check_exact=True)
    with pytest.raises(ValueError, match="no time zone"):
        source.bars(SYMBOLS, INTERVAL, START.replace(tzinfo=None), STOP)


def test_a_range_turned_round_is_refused(source):
    with pytest.raises(ValueError, match="the end is before the start"):
        source.bars(SYMBOLS, INTERVAL, STOP, START)
