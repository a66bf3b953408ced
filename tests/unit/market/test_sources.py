from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from cappuccino.market.files import FileSource
from cappuccino.market.simulated import SimulatedSource
from cappuccino.market.source import RemoteSource, empty_frame
from cappuccino.market.sources import clock_of, present_clock, record_end, source_of
from cappuccino.market.sync import sync_bars
from cappuccino.settings import MarketSettings, load
from cappuccino.store.warehouse import Warehouse
from tests.unit.small_market import DAY, HOUR, MARKET, SOURCE, START, SYMBOLS, Canned, bars_between

END = START + DAY
ENDED = Canned(empty_frame(), known=(START, END))


@pytest.fixture
def nothing(tmp_path: Path) -> Path:
    """A configuration file without a key."""
    file = tmp_path / "empty.toml"
    file.write_text("")
    return file


def until(end: datetime | None) -> MarketSettings:
    return MARKET.model_copy(update={"end": end})


def test_the_configured_source_is_the_one_that_is_asked(nothing: Path, tmp_path: Path) -> None:
    assert source_of(load(nothing, {"simulated": {"seed": 9}})) == SimulatedSource(9)
    files = load(nothing, {"market": {"source": "files", "path": tmp_path}})
    assert source_of(files) == FileSource(tmp_path)


@pytest.mark.parametrize(
    ("market", "source", "expected"),
    [
        (until(None), SOURCE, None),
        (until(END), SOURCE, END),
        (until(None), ENDED, END),
        (until(END + HOUR), ENDED, END),
        (until(END - HOUR), ENDED, END - HOUR),
    ],
)
def test_the_record_ends_where_configuration_or_source_does(
    market: MarketSettings, source: Canned, expected: datetime | None
) -> None:
    assert record_end(market, source) == expected


def test_the_present_of_a_market_that_ended_is_its_end() -> None:
    assert clock_of(until(None), ENDED).now() == END


def test_the_present_of_a_market_that_goes_on_is_the_wall_clock_s() -> None:
    before = datetime.now(UTC)
    for end in (None, datetime(9999, 1, 1, tzinfo=UTC)):
        assert before <= clock_of(until(end), SOURCE).now() <= datetime.now(UTC)


def test_a_file_s_present_is_its_last_close(tmp_path: Path) -> None:
    file = tmp_path / "bars.parquet"
    bars_between(START, END).write_parquet(file)
    assert clock_of(until(None), FileSource(file)).now() == END


def test_the_warehouse_remembers_the_present_of_its_newest_sync(new_warehouse: Warehouse) -> None:
    before = datetime.now(UTC)
    with new_warehouse.read() as reader:
        assert before <= present_clock(reader).now() <= datetime.now(UTC)
    frame = bars_between(START, END)
    for end, now in ((END, END), (END + 2 * HOUR, END + HOUR)):
        market = MARKET.model_copy(update={"end": end, "symbols": SYMBOLS})
        sync_bars(new_warehouse, Canned(frame), market, START, END, now)
    with new_warehouse.read() as reader:
        assert present_clock(reader).now() == END + 2 * HOUR
    sync_bars(new_warehouse, Canned(frame), MARKET, START, END, END + 3 * HOUR)
    with new_warehouse.read() as reader:
        assert present_clock(reader).now() >= before


def test_venues_are_sources_that_are_asked_over_a_network(nothing: Path) -> None:
    for name in ("alpaca", "coinbase"):
        source = source_of(load(nothing, {"market": {"source": name}}))
        assert (source.name, source.is_simulated, source.span()) == (name, False, None)
        assert isinstance(source, RemoteSource)
    assert not isinstance(SOURCE, RemoteSource)
