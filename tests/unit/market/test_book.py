"""Order books: what may be stored, and where the simulated market's come from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from cappuccino.clock import FixedClock
from cappuccino.errors import DataError
from cappuccino.market.book import BOOK_SCHEMA, record_books
from cappuccino.market.book_sources import book_source_of
from cappuccino.market.simulated import SimulatedSource
from cappuccino.market.simulated_books import SimulatedBooks
from cappuccino.market.simulated_days import EPOCH
from cappuccino.store.models import run_tests
from cappuccino.store.warehouse import Warehouse
from tests.unit.small_market import SCHEMA, SOURCE, SYMBOLS, Canned, bars_between

NOW = datetime(2025, 3, 1, 12, 7, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
BTC = SYMBOLS[0]


@dataclass(frozen=True)
class Shelf:
    """A source of books that hands over what it was given."""

    frame: pl.DataFrame
    name: str = "shelf"

    def books(self, symbols: tuple[str, ...]) -> pl.DataFrame:
        return self.frame


def shelf(*rows: tuple[str | None, datetime | None, float | None, float | None]) -> Shelf:
    return Shelf(pl.DataFrame(list(rows), schema=BOOK_SCHEMA, orient="row"))


def stored(warehouse: Warehouse) -> list[tuple[object, ...]]:
    return warehouse.query("select * from market.books order by seen_at_utc, symbol").rows()


def test_books_are_added_to_those_seen_before(new_warehouse: Warehouse) -> None:
    assert record_books(new_warehouse, shelf((BTC, NOW, 3.0, 1.0)), SYMBOLS, NOW) == 1
    assert record_books(new_warehouse, shelf((BTC, NOW + MINUTE, 2.0, 0.0)), SYMBOLS, NOW) == 1
    assert stored(new_warehouse) == [(BTC, NOW, 3.0, 1.0, "shelf"), (BTC, NOW + MINUTE, 2.0, 0.0, "shelf")]
    with new_warehouse.read() as reader:
        assert all(result.passed for result in run_tests(reader, SCHEMA.contracts["market.books"]))


def test_a_book_that_is_recorded_twice_is_there_once(new_warehouse: Warehouse) -> None:
    for bid in (3.0, 4.0):
        record_books(new_warehouse, shelf((BTC, NOW, bid, 1.0)), SYMBOLS, NOW)
    assert stored(new_warehouse) == [(BTC, NOW, 4.0, 1.0, "shelf")]


def test_no_books_are_no_rows(new_warehouse: Warehouse) -> None:
    assert record_books(new_warehouse, shelf(), SYMBOLS, NOW) == 0


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ((BTC, NOW, float("nan"), 1.0), "bid_units is nan"),
        ((BTC, NOW, 1.0, float("inf")), "ask_units is inf"),
        ((BTC, NOW, 1.0, -2.0), "ask_units is -2.0"),
        ((BTC, NOW, None, 1.0), "bid_units is None"),
        ((BTC, NOW, 0.0, 0.0), "both sides are empty"),
        ((BTC, None, 1.0, 1.0), "seen_at_utc is missing"),
        (("DOGE/USD", NOW, 1.0, 1.0), "DOGE/USD at 2025-03-01 12:07:30 UTC: not one of BTC/USD, ETH/USD"),
    ],
)
def test_a_book_that_cannot_be_true_is_refused(
    new_warehouse: Warehouse, row: tuple[str, datetime, float, float], said: str
) -> None:
    with pytest.raises(DataError, match=f"shelf: book of .*{said}"):
        record_books(new_warehouse, shelf((BTC, NOW - MINUTE, 1.0, 1.0), row), SYMBOLS, NOW)
    assert stored(new_warehouse) == []


def test_repeated_books_and_other_columns_are_refused(new_warehouse: Warehouse) -> None:
    with pytest.raises(DataError, match="it is there twice"):
        record_books(new_warehouse, shelf((BTC, NOW, 1.0, 1.0), (BTC, NOW, 2.0, 1.0)), SYMBOLS, NOW)
    with pytest.raises(DataError, match="shelf: books have columns symbol String; they need symbol String, seen_at"):
        record_books(new_warehouse, Shelf(pl.DataFrame({"symbol": [BTC]})), SYMBOLS, NOW)


def test_only_sources_that_have_books_are_asked_for_them() -> None:
    clock = FixedClock(NOW)
    assert book_source_of(SOURCE, clock) == SimulatedBooks(SOURCE, clock)
    assert book_source_of(Canned(bars_between(EPOCH, EPOCH)), clock) is None


def simulated(now: datetime = NOW) -> SimulatedBooks:
    return SimulatedBooks(SOURCE, FixedClock(now))


def test_simulated_books_are_those_of_the_minute_and_the_same_each_time() -> None:
    books = simulated().books(SYMBOLS)
    assert books["seen_at_utc"].unique().to_list() == [NOW.replace(second=0)]
    assert books.equals(simulated(NOW + timedelta(seconds=20)).books(SYMBOLS[::-1]))
    assert not books.equals(simulated(NOW + MINUTE).books(SYMBOLS))
    alone = simulated().between((BTC,), NOW.replace(second=0), NOW, MINUTE)
    assert alone.equals(books.filter(pl.col("symbol") == BTC))


@dataclass(frozen=True)
class Forgetful(SimulatedSource):
    """The simulated market, whose bars may be asked for up to a moment only."""

    until: datetime = NOW

    def bars(self, symbols, interval, start, stop):  # type: ignore[no-untyped-def]
        assert stop <= self.until, f"asked for bars until {stop}, known are those until {self.until}"
        return super().bars(symbols, interval, start, stop)


def test_simulated_books_ask_for_bars_that_had_closed_only() -> None:
    history = simulated().between(SYMBOLS, NOW.replace(second=0) - timedelta(hours=30), NOW, MINUTE)
    for hours in (0, 1, 17):
        now = NOW - timedelta(hours=hours)
        books = SimulatedBooks(Forgetful(SOURCE.seed, now), FixedClock(now)).books(SYMBOLS)
        assert books.equals(history.filter(pl.col("seen_at_utc") == now.replace(second=0)))


def test_simulated_buyers_gather_where_the_price_has_risen_and_know_nothing_of_what_comes() -> None:
    start, hour = datetime(2024, 6, 1, tzinfo=UTC), timedelta(hours=1)
    books = simulated().between((BTC,), start, start + timedelta(days=60), hour)
    imbalance = ((books["bid_units"] - books["ask_units"]) / (books["bid_units"] + books["ask_units"])).to_numpy()
    close = (
        bars_between(start - 2 * hour, start + timedelta(days=60)).filter(pl.col("symbol") == BTC)["close"].to_numpy()
    )
    returns = np.diff(np.log(close))  # returns[k] ends where book k is seen
    assert np.corrcoef(imbalance, returns[: len(imbalance)])[0, 1] > 0.6
    assert abs(np.corrcoef(imbalance[:-1], returns[1 : len(imbalance)])[0, 1]) < 0.1
    assert 0.2 < np.abs(imbalance).mean() < 0.8


def test_the_simulated_market_has_books_from_its_second_hour_on_and_on_whole_minutes() -> None:
    first = simulated().between((BTC,), EPOCH, EPOCH + timedelta(hours=2), 10 * MINUTE)
    assert first["seen_at_utc"][0] == EPOCH + timedelta(minutes=80)
    assert simulated().between((BTC,), EPOCH, EPOCH + MINUTE, MINUTE).is_empty()
    with pytest.raises(ValueError, match="whole minutes"):
        simulated().between((BTC,), NOW, NOW + MINUTE, MINUTE)
