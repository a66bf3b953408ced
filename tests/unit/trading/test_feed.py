"""The feed on a venue that is late, wrong, down or busy; its bars are those that models were trained on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cappuccino.errors import DataError, SourceError
from cappuccino.market.inputs import NO_INPUTS
from cappuccino.market.interval import DAY, Interval
from cappuccino.market.panel import BarPanel, as_datetime
from cappuccino.market.quotes import Quote
from cappuccino.market.source import check_frame
from cappuccino.market.sync import load_panel
from cappuccino.rl.agent import Market
from cappuccino.settings import MarketSettings, TraderSettings
from cappuccino.store.models import build
from cappuccino.store.warehouse import Warehouse
from cappuccino.trading.feed import SLACK, Feed, Needed, file_name
from tests.unit.small_market import SCHEMA, SOURCE, SYMBOLS, sync

HOUR = timedelta(hours=1)
NOW = datetime(2025, 3, 20, 12, tzinfo=UTC)
MARKET = MarketSettings(symbols=SYMBOLS, base_interval=Interval.H1)
SETTINGS = TraderSettings(settle_s=0.0)
A, B = SYMBOLS
ALL = SOURCE.bars(SYMBOLS, Interval.H1, NOW - 60 * DAY, NOW + 30 * DAY)

Bend = Callable[[pl.DataFrame], pl.DataFrame]


@dataclass
class Venue:
    """A source whose answers a test may bend; it counts the questions."""

    bend: Bend = field(default=lambda bars: bars)
    is_down: bool = False
    asked: list[tuple[datetime, datetime]] = field(default_factory=list)
    name: str = "simulated"
    is_simulated: bool = True
    chunk_bars: int = 1_000_000

    def symbols(self) -> tuple[str, ...]:
        return SYMBOLS

    def span(self) -> None:
        return

    def bars(self, symbols: tuple[str, ...], interval: Interval, start: datetime, stop: datetime) -> pl.DataFrame:
        self.asked.append((start, stop))
        if self.is_down:
            raise SourceError("the venue does not answer")
        inside = pl.col("opened_at_utc").is_between(start, stop, closed="left") & pl.col("symbol").is_in(symbols)
        return check_frame(self.bend(ALL.filter(inside)), interval, "venue")

    def quotes(self, symbols: tuple[str, ...]) -> Mapping[str, Quote]:
        if self.is_down:
            raise SourceError("the venue has no quotes")
        return {symbol: Quote(symbol, 1.0, 1.0, NOW) for symbol in symbols}


@pytest.fixture
def venue() -> Venue:
    return Venue()


@pytest.fixture
def feed(tmp_path: Path, venue: Venue) -> Feed:
    return make_feed(tmp_path, venue)


def make_feed(folder: Path, venue: Venue, market: MarketSettings = MARKET, settings: TraderSettings = SETTINGS) -> Feed:
    return Feed(folder / "desk", Warehouse(folder / "cappuccino.duckdb"), venue, venue, market, settings)


def need(interval: Interval = Interval.H1, history_bars: int = 50) -> Needed:
    return Needed(Market(interval, SYMBOLS, NO_INPUTS), history_bars)


def without(symbol: str, start: datetime, stop: datetime) -> Bend:
    """Return how bars of `symbol` that opened in [start, stop) are left out."""
    is_out = (pl.col("symbol") == symbol) & pl.col("opened_at_utc").is_between(start, stop, closed="left")
    return lambda bars: bars.filter(~is_out)


def panel_at(feed: Feed, now: datetime, wanted: Needed | None = None) -> BarPanel:
    wanted = wanted or need()
    feed.update([wanted], now)
    return feed.panel(wanted, wanted.market.interval.floor(now), now)


def assert_equal(found: BarPanel, expected: BarPanel) -> None:
    assert found.fingerprint() == expected.fingerprint()


@pytest.mark.parametrize("interval", [Interval.H1, Interval.H4, Interval.D1])
def test_panels_are_those_of_a_warehouse_bit_for_bit(
    feed: Feed, venue: Venue, new_warehouse: Warehouse, interval: Interval
) -> None:
    """Holes included, with all tables built over all bars."""
    venue.bend = without(A, NOW - 30 * HOUR, NOW - 27 * HOUR)
    wanted = need(interval)
    start = wanted.start(interval.floor(NOW))
    sync(new_warehouse, start - 9 * DAY, NOW, source=venue)
    with new_warehouse.write() as writer:
        for name in ("market.intervals", "market.bars_all"):
            build(writer, SCHEMA.models[name])
    with new_warehouse.read() as reader:
        expected = load_panel(reader, SYMBOLS, interval, NOW, start)
    found = panel_at(feed, NOW, wanted)
    assert found.is_filled.any()
    assert_equal(found, expected)


def test_bars_that_have_not_closed_are_not_there(feed: Feed, venue: Venue) -> None:
    panel = panel_at(feed, NOW + timedelta(minutes=59))
    assert as_datetime(panel.closed_at[-1]) == NOW
    assert venue.asked[-1][1] == NOW


def test_a_bar_is_not_asked_for_before_it_has_settled(tmp_path: Path, venue: Venue) -> None:
    feed = make_feed(tmp_path, venue, settings=TraderSettings(settle_s=10.0))
    feed.update([need()], NOW + timedelta(seconds=9))
    assert venue.asked[-1][1] == NOW - HOUR
    feed.update([need()], NOW + timedelta(seconds=10))
    assert venue.asked[-1][1] == NOW


def test_nothing_is_asked_for_between_two_bars(feed: Feed, venue: Venue) -> None:
    panel_at(feed, NOW)
    n_asked = len(venue.asked)
    for minute in range(1, 60):
        panel_at(feed, NOW + timedelta(minutes=minute))
    assert len(venue.asked) == n_asked


def test_a_new_bar_is_asked_for_with_the_few_before_it(feed: Feed, venue: Venue) -> None:
    panel_at(feed, NOW)
    venue.asked.clear()
    panel = panel_at(feed, NOW + HOUR)
    assert as_datetime(panel.closed_at[-1]) == NOW + HOUR
    (asked,) = venue.asked
    assert asked[1] - asked[0] <= 6 * HOUR


def test_closes_are_those_of_the_newest_bars(feed: Feed) -> None:
    assert dict(feed.closes) == {}
    feed.update([need()], NOW)
    newest = ALL.filter(pl.col("opened_at_utc") == NOW - HOUR).select("symbol", "close")
    assert dict(feed.closes) == dict(newest.iter_rows())


def test_after_a_start_the_closes_of_before_are_known_at_once(tmp_path: Path, feed: Feed, venue: Venue) -> None:
    feed.update([need()], NOW)
    venue.is_down = True
    again = make_feed(tmp_path, venue)
    assert dict(again.closes) == dict(feed.closes)
    assert not again.failure


# Late bars


def test_a_symbol_without_its_newest_bar_is_waited_for(feed: Feed, venue: Venue) -> None:
    venue.bend = without(A, NOW - HOUR, NOW)
    with pytest.raises(DataError, match=r"BTC/USD lacks its 1 newest 1h bars up to .* they may still come"):
        panel_at(feed, NOW)
    venue.bend = lambda bars: bars
    panel = panel_at(feed, NOW + timedelta(seconds=59))
    assert not panel.is_filled[-1].any()


def test_a_newest_bar_that_never_comes_is_filled_after_a_poll(feed: Feed, venue: Venue) -> None:
    venue.bend = without(A, NOW - HOUR, NOW)
    feed.update([need()], NOW)
    panel = panel_at(feed, NOW + timedelta(seconds=60))
    assert panel.is_filled[-1].tolist() == [True, False]
    assert panel.close[-1, 0] == panel.close[-2, 0] == panel.open[-1, 0] == panel.high[-1, 0]
    assert panel.volume[-1, 0] == 0.0


def test_too_many_absent_bars_of_one_symbol_are_not_filled(feed: Feed, venue: Venue) -> None:
    venue.bend = without(A, NOW - 3 * HOUR, NOW)
    with pytest.raises(DataError, match=r"BTC/USD lacks its 3 newest 1h bars .* at most 2 may be missing"):
        panel_at(feed, NOW + timedelta(minutes=5))


def test_a_venue_that_is_late_with_all_symbols_is_not_traded_on(feed: Feed, venue: Venue) -> None:
    venue.bend = lambda bars: bars.filter(pl.col("opened_at_utc") < NOW - HOUR)
    with pytest.raises(DataError, match=r"no symbol has its 1h bar .* the venue is late"):
        panel_at(feed, NOW + timedelta(minutes=5))
    venue.bend = lambda bars: bars
    assert not panel_at(feed, NOW + timedelta(minutes=6)).is_filled[-1].any()


def test_a_symbol_without_any_bar_is_named(feed: Feed, venue: Venue) -> None:
    venue.bend = lambda bars: bars.filter(pl.col("symbol") == A)
    with pytest.raises(DataError, match="no 1h bar of ETH/USD is known"):
        panel_at(feed, NOW)


# Wrong bars


def test_a_corrected_bar_counts_from_the_next_sync_on(feed: Feed, venue: Venue) -> None:
    is_bad = (pl.col("symbol") == A) & (pl.col("opened_at_utc") == NOW - HOUR)
    absurd = [pl.when(is_bad).then(pl.col(name) * 100.0).otherwise(pl.col(name)) for name in ("high", "close")]
    venue.bend = lambda bars: bars.with_columns(absurd)
    first = panel_at(feed, NOW)
    assert first.close[-1, 0] > 50 * first.close[-2, 0]
    venue.bend = lambda bars: bars
    second = panel_at(feed, NOW + HOUR)
    assert second.close[-2, 0] == pytest.approx(first.close[-1, 0] / 100.0)


@pytest.mark.parametrize(
    "bend",
    [
        lambda bars: pl.concat([bars, bars[-1:]]),
        lambda bars: bars.with_columns(close=pl.lit(float("nan"))),
        lambda bars: bars.with_columns(low=-pl.col("low")),
        lambda bars: bars.with_columns(pl.col("opened_at_utc") + timedelta(minutes=7)),
        lambda bars: bars.reverse(),
    ],
    ids=["twice", "nan", "negative", "off the grid", "turned round"],
)
def test_an_answer_that_cannot_be_true_changes_nothing(feed: Feed, venue: Venue, bend: Bend) -> None:
    before = panel_at(feed, NOW)
    venue.bend = bend
    feed.update([need()], NOW + HOUR)
    assert feed.failure.startswith("venue:")
    assert_equal(feed.panel(need(), NOW, NOW), before)
    venue.bend = lambda bars: bars
    assert as_datetime(panel_at(feed, NOW + HOUR).closed_at[-1]) == NOW + HOUR
    assert not feed.failure


def test_bars_of_the_future_are_refused(feed: Feed, venue: Venue) -> None:
    before = panel_at(feed, NOW)
    ahead = ALL.filter(pl.col("opened_at_utc").is_between(NOW + HOUR, NOW + 5 * HOUR))
    venue.bend = lambda bars: pl.concat([bars, ahead]).sort("symbol", "opened_at_utc")
    feed.update([need()], NOW + HOUR)
    assert "market.bars" in feed.failure
    assert_equal(feed.panel(need(), NOW, NOW), before)


# Outages


def test_half_an_hour_without_the_venue_costs_nothing_but_the_time(feed: Feed, venue: Venue) -> None:
    before = panel_at(feed, NOW - HOUR)
    venue.is_down = True
    for minute in range(0, 30, 5):
        feed.update([need()], NOW + timedelta(minutes=minute))
        assert feed.quotes() == {}
        assert feed.failure == "the venue has no quotes; the venue does not answer"
    assert_equal(feed.panel(need(), NOW - HOUR, NOW), before)
    venue.is_down = False
    assert set(feed.quotes()) == set(SYMBOLS)
    assert as_datetime(panel_at(feed, NOW + timedelta(minutes=30)).closed_at[-1]) == NOW
    assert not feed.failure


def test_a_failure_of_quotes_ends_with_the_next_quote(feed: Feed, venue: Venue) -> None:
    panel_at(feed, NOW)
    venue.is_down = True
    feed.quotes()
    venue.is_down = False
    feed.quotes()
    assert not feed.failure


def test_a_start_while_the_venue_is_down_trades_on_what_is_stored(tmp_path: Path, feed: Feed, venue: Venue) -> None:
    before = panel_at(feed, NOW)
    venue.is_down = True
    again = make_feed(tmp_path, venue)
    assert_equal(panel_at(again, NOW), before)


def test_a_first_start_while_the_venue_is_down_says_so_and_recovers(feed: Feed, venue: Venue) -> None:
    venue.is_down = True
    feed.update([need()], NOW)
    with pytest.raises(DataError, match="no 1h bar of BTC/USD, ETH/USD is known"):
        feed.panel(need(), NOW, NOW)
    assert feed.failure == "the venue does not answer"
    venue.is_down = False
    assert len(panel_at(feed, NOW + timedelta(minutes=1))) > 300


def test_before_the_first_update_there_are_no_bars(feed: Feed) -> None:
    with pytest.raises(DataError, match="no bars are known yet; the feed has not been read"):
        feed.panel(need(), NOW, NOW)


def test_without_anybody_who_trades_nothing_is_asked(feed: Feed, venue: Venue) -> None:
    feed.update([], NOW)
    assert not venue.asked


# Longer histories


def test_a_model_with_a_longer_history_gets_it(feed: Feed, venue: Venue) -> None:
    panel_at(feed, NOW)
    longer = need(history_bars=700)
    feed.update([need(), longer], NOW + timedelta(minutes=1))
    assert len(feed.panel(longer, NOW, NOW)) == 702
    assert len(feed.panel(need(), NOW, NOW)) == 14 * 24 + 2


def test_a_model_with_a_slightly_longer_history_gets_it(feed: Feed) -> None:
    """Less than a day more would lie within what was fetched in advance."""
    assert len(panel_at(feed, NOW, need(history_bars=350))) == 352
    assert len(panel_at(feed, NOW, need(history_bars=360))) == 362


def test_panels_of_two_histories_on_one_market_are_two(feed: Feed) -> None:
    short, long = need(history_bars=340), need(history_bars=400)
    feed.update([short, long], NOW)
    assert (len(feed.panel(short, NOW, NOW)), len(feed.panel(long, NOW, NOW))) == (342, 402)


def test_daily_bars_stand_beside_hourly_ones(feed: Feed) -> None:
    daily = need(Interval.D1, 20)
    feed.update([need(), daily], NOW)
    panel = feed.panel(daily, Interval.D1.floor(NOW), NOW)
    assert (len(panel), panel.interval) == (22, Interval.D1)
    assert as_datetime(panel.closed_at[-1]) == Interval.D1.floor(NOW)


# The main warehouse


def test_borrowed_bars_are_not_asked_for(feed: Feed, venue: Venue, new_warehouse: Warehouse) -> None:
    sync(new_warehouse, NOW - 40 * DAY, NOW - 2 * HOUR, source=venue)
    venue.asked.clear()
    found = panel_at(feed, NOW)
    (asked,) = venue.asked
    assert asked[0] >= NOW - 8 * HOUR
    assert np.array_equal(found.close, _closes(len(found)))


def _closes(n_bars: int) -> np.ndarray:
    wide = ALL.filter(pl.col("opened_at_utc") < NOW).pivot("symbol", index="opened_at_utc", values="close")
    return wide.sort("opened_at_utc").select(SYMBOLS)[-n_bars:].to_numpy()


def test_bars_of_another_source_are_not_borrowed(feed: Feed, venue: Venue, new_warehouse: Warehouse) -> None:
    sync(new_warehouse, NOW - 40 * DAY, NOW, source=venue)
    venue.asked.clear()
    venue.name = "elsewhere"
    panel_at(feed, NOW)
    assert venue.asked[0][0] < NOW - 14 * DAY


def test_a_main_warehouse_that_cannot_be_read_keeps_nobody_waiting(tmp_path: Path, feed: Feed) -> None:
    (tmp_path / "cappuccino.duckdb").write_bytes(b"no database" * 500)
    assert len(panel_at(feed, NOW)) == 14 * 24 + 2
    assert not feed.failure


# Its own file


def test_a_damaged_file_is_made_anew(tmp_path: Path, venue: Venue) -> None:
    (tmp_path / "desk").mkdir()
    (tmp_path / "desk" / file_name("simulated", Interval.M15)).write_bytes(b"no database" * 500)
    feed = make_feed(tmp_path, venue)
    assert dict(feed.closes) == {}
    assert len(panel_at(feed, NOW)) == 14 * 24 + 2
    assert not feed.failure


def test_the_file_stays_small_over_weeks(tmp_path: Path, feed: Feed, venue: Venue) -> None:
    """Old bars and the record of how each was asked for are forgotten; a start asks for nothing but the newest."""
    for hour in range(0, 24 * 20, 48):
        feed.update([need()], NOW + hour * HOUR)
        assert not feed.failure
    until = NOW + hour * HOUR
    own = Warehouse(next((tmp_path / "desk").glob("feed-*.duckdb")))
    assert own.query("select count(*) as n from ops.syncs")["n"][0] < 20
    oldest = own.query("select min(opened_at_utc) as at from market.bars")["at"][0]
    assert until - oldest < 15 * DAY + 3 * SLACK
    expected = panel_at(feed, until)
    venue.asked.clear()
    assert_equal(panel_at(make_feed(tmp_path, venue), until), expected)
    assert all(start > until - 8 * HOUR for start, _ in venue.asked)
