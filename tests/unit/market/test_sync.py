from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from cappuccino.errors import ContractError, DataError, SourceError
from cappuccino.market.interval import EPOCH, Interval
from cappuccino.market.panel import as_datetime
from cappuccino.market.simulated import SimulatedSource
from cappuccino.market.source import BarSource, empty_frame
from cappuccino.market.sync import SyncProgress, fingerprint, first_open_to_load, load_panel, sync_bars
from cappuccino.settings import MarketSettings
from cappuccino.store.warehouse import Warehouse
from tests.unit.small_market import DAY, HOUR, MARKET, SOURCE, START, SYMBOLS, Canned, bars_between, sync

NEXT_DAY = START + DAY
LATER = START + 10 * DAY


def stored(warehouse: Warehouse) -> pl.DataFrame:
    """The bars as the source gave them."""
    return warehouse.query(
        "select symbol, opened_at_utc, open, high, low, close, volume from market.bars order by symbol, opened_at_utc"
    )


def test_a_sync_stores_what_the_source_says_and_leaves_a_record(new_warehouse: Warehouse) -> None:
    synced = sync_bars(new_warehouse, SOURCE, MARKET, START, NEXT_DAY, LATER)
    assert_frame_equal(stored(new_warehouse), bars_between(START, NEXT_DAY))
    assert (synced.start, synced.stop, synced.n_bars) == (START, NEXT_DAY, 48)
    row = new_warehouse.query("from ops.syncs").row(0, named=True)
    assert row["symbols"] == list(SYMBOLS)
    assert (row["from_utc"], row["to_utc"], row["bars"]) == (START, NEXT_DAY, 48)
    assert (row["synced_at_utc"], row["record_ends_utc"]) == (LATER, None)
    assert (row["source"], row["interval"], row["fingerprint"]) == ("simulated", "1h", synced.fingerprint)
    lengths = new_warehouse.query("select distinct closed_at_utc - opened_at_utc as length, source from market.bars")
    assert lengths.rows() == [("01:00:00", "simulated")]


def test_bars_that_have_not_closed_yet_are_left_for_later(new_warehouse: Warehouse) -> None:
    now = START + 5 * HOUR + timedelta(minutes=59)
    synced = sync_bars(new_warehouse, SOURCE, MARKET, START, NEXT_DAY, now)
    assert synced.stop == START + 5 * HOUR
    assert stored(new_warehouse)["opened_at_utc"].max() == START + 4 * HOUR
    with pytest.raises(DataError, match=r"no 1h bar between 2025-03-01 05:00 and 2025-03-01 05:00 UTC has closed"):
        sync_bars(new_warehouse, SOURCE, MARKET, START + 5 * HOUR, NEXT_DAY, now)


def test_syncing_again_changes_no_bar(new_warehouse: Warehouse) -> None:
    first = sync_bars(new_warehouse, SOURCE, MARKET, START, NEXT_DAY, LATER)
    before = stored(new_warehouse)
    again = sync_bars(new_warehouse, SOURCE, MARKET, START, NEXT_DAY, LATER + DAY)
    assert again == replace(first, n_new=0)
    assert (first.n_new, first.n_changed) == (48, 0)
    assert_frame_equal(stored(new_warehouse), before)
    assert len(new_warehouse.query("from ops.syncs")) == 2


def test_pieces_in_any_order_and_overlap_add_up_to_the_whole(new_warehouse: Warehouse) -> None:
    for first, last in ((12, 30), (0, 15), (25, 48)):
        sync_bars(new_warehouse, SOURCE, MARKET, START + first * HOUR, START + last * HOUR, LATER)
    assert_frame_equal(stored(new_warehouse), bars_between(START, START + 2 * DAY))


def test_what_the_source_says_now_replaces_what_it_said(new_warehouse: Warehouse) -> None:
    sync_bars(new_warehouse, SOURCE, MARKET, START, START + 2 * DAY, LATER)
    # Revised: all volumes doubled, one bar withdrawn, in the first day only.
    revised = bars_between(START, START + 2 * DAY).with_columns(pl.col("volume") * 2)
    revised = revised.filter(pl.col("opened_at_utc") != START + 3 * HOUR)
    synced = sync_bars(new_warehouse, Canned(revised), MARKET, START, NEXT_DAY, LATER)
    is_first_day = pl.col("opened_at_utc") < NEXT_DAY
    assert (synced.n_bars, synced.n_new, synced.n_changed) == (46, 0, 48)
    assert_frame_equal(stored(new_warehouse).filter(is_first_day), revised.filter(is_first_day))
    assert_frame_equal(stored(new_warehouse).filter(~is_first_day), bars_between(NEXT_DAY, START + 2 * DAY))


@dataclass(frozen=True)
class Broken(Canned):
    """A source that fails instead of answering."""

    def bars(self, symbols: tuple[str, ...], interval: Interval, start: datetime, stop: datetime) -> pl.DataFrame:
        raise SourceError("the source did not answer")


@pytest.mark.parametrize("source", [Broken(empty_frame()), Canned(empty_frame())])
def test_a_source_that_fails_or_has_nothing_costs_no_bar(new_warehouse: Warehouse, source: BarSource) -> None:
    sync_bars(new_warehouse, SOURCE, MARKET, START, NEXT_DAY, LATER)
    before = stored(new_warehouse)
    with pytest.raises((SourceError, DataError), match=r"did not answer|nothing was changed"):
        sync_bars(new_warehouse, source, MARKET, START, NEXT_DAY, LATER)
    assert_frame_equal(stored(new_warehouse), before)
    assert len(new_warehouse.query("from ops.syncs")) == 1


def test_symbols_that_an_answer_leaves_out_keep_their_bars(new_warehouse: Warehouse) -> None:
    sync_bars(new_warehouse, SOURCE, MARKET, START, NEXT_DAY, LATER)
    before = stored(new_warehouse)
    only_btc = Canned(bars_between(START, NEXT_DAY).filter(pl.col("symbol") == "BTC/USD"))
    sync_bars(new_warehouse, only_btc, MARKET, START, NEXT_DAY, LATER)
    assert_frame_equal(stored(new_warehouse), before)
    narrowed = MARKET.model_copy(update={"symbols": ("ETH/USD",)})
    sync_bars(new_warehouse, SOURCE, narrowed, START, NEXT_DAY, LATER)
    assert_frame_equal(stored(new_warehouse), before)


def test_bad_rows_are_refused_whole(new_warehouse: Warehouse) -> None:
    sync_bars(new_warehouse, SOURCE, MARKET, START, NEXT_DAY, LATER)
    before = stored(new_warehouse)
    bad = bars_between(START, NEXT_DAY).with_columns(close=pl.lit(None, pl.Float64))
    with pytest.raises(ContractError, match=r"null in market\.bars\.close"):
        sync_bars(new_warehouse, Canned(bad), MARKET, START, NEXT_DAY, LATER)
    assert_frame_equal(stored(new_warehouse), before)


@pytest.mark.parametrize(
    ("source", "market"),
    [
        (Canned(bars_between(START, START + 2 * DAY), name="files"), MARKET),
        (SOURCE, MARKET.model_copy(update={"base_interval": Interval.M15})),
    ],
)
def test_bars_of_two_kinds_never_mix(new_warehouse: Warehouse, source: BarSource, market: MarketSettings) -> None:
    sync_bars(new_warehouse, SOURCE, MARKET, START, NEXT_DAY, LATER)
    before = stored(new_warehouse)
    for start in (START, NEXT_DAY):
        with pytest.raises(DataError, match="holds 60-minute bars of source 'simulated', not"):
            sync_bars(new_warehouse, source, market, start, start + DAY, LATER)
    assert_frame_equal(stored(new_warehouse), before)


def test_the_source_is_asked_while_nobody_has_to_wait(new_warehouse: Warehouse) -> None:
    """Opening the file inside an opening is refused, so this source notices a lock held around it."""

    class Reading(SimulatedSource):
        def bars(self, *asked: object) -> pl.DataFrame:
            new_warehouse.query("from market.bars")
            return super().bars(*asked)

    assert sync_bars(new_warehouse, Reading(5), MARKET, START, NEXT_DAY, LATER).n_bars == 48


@dataclass(frozen=True)
class Counted(Canned):
    """A source that remembers what it was asked, and fails from the `n_before_failure`-th time on."""

    asked: list[tuple[tuple[str, ...], datetime, datetime]] = field(default_factory=list)
    n_before_failure: int = 1_000_000

    def bars(self, symbols: tuple[str, ...], interval: Interval, start: datetime, stop: datetime) -> pl.DataFrame:
        if len(self.asked) == self.n_before_failure:
            raise SourceError("the line is down")
        self.asked.append((symbols, start, stop))
        return super().bars(symbols, interval, start, stop)


def test_a_sync_that_breaks_off_keeps_its_pieces_and_goes_on_where_it_stopped(new_warehouse: Warehouse) -> None:
    whole = bars_between(START, START + 4 * DAY)
    broken = Counted(whole, chunk_bars=48, n_before_failure=2)
    with pytest.raises(SourceError, match="the line is down"):
        sync_bars(new_warehouse, broken, MARKET, START, START + 4 * DAY, LATER, only_missing=True)
    assert_frame_equal(stored(new_warehouse), bars_between(START, START + 2 * DAY))
    mended = Counted(whole, chunk_bars=48)
    synced = sync_bars(new_warehouse, mended, MARKET, START, START + 4 * DAY, LATER, only_missing=True)
    assert mended.asked[0][1] == START + 2 * DAY
    assert synced.n_new == len(whole) // 2
    assert_frame_equal(stored(new_warehouse), whole)


def test_only_what_is_missing_is_asked_for(new_warehouse: Warehouse) -> None:
    whole = bars_between(START, START + 4 * DAY)
    narrowed = MARKET.model_copy(update={"symbols": ("ETH/USD",)})
    sync_bars(new_warehouse, Counted(whole), narrowed, START + DAY, START + 3 * DAY, LATER)
    source = Counted(whole)
    sync_bars(new_warehouse, source, MARKET, START, START + 4 * DAY, LATER, only_missing=True)
    assert source.asked == [
        (("BTC/USD",), START, START + 4 * DAY),
        (("ETH/USD",), START, START + DAY),
        (("ETH/USD",), START + 3 * DAY, START + 4 * DAY),
    ]
    assert_frame_equal(stored(new_warehouse), whole)


def test_the_newest_bars_are_asked_for_again_while_they_are_young(new_warehouse: Warehouse) -> None:
    source = Counted(bars_between(START, START + 3 * DAY))
    for now in (NEXT_DAY, START + 2 * DAY, START + 5 * DAY):
        sync_bars(new_warehouse, source, MARKET, START, START + 3 * DAY, now, only_missing=True)
    # The four newest may have been unfinished; what is a day old when it is asked for is settled.
    assert [start for _, start, _ in source.asked] == [START, NEXT_DAY - 5 * HOUR, START + 2 * DAY - 5 * HOUR]
    source.asked.clear()
    sync_bars(new_warehouse, source, MARKET, START, START + 3 * DAY, LATER, only_missing=True)
    assert source.asked == []


def test_a_venue_that_is_late_is_no_error(new_warehouse: Warehouse) -> None:
    sync_bars(new_warehouse, remote(bars_between(START, NEXT_DAY)), MARKET, START, NEXT_DAY, NEXT_DAY)
    late = remote(empty_frame())
    synced = sync_bars(new_warehouse, late, MARKET, NEXT_DAY, START + 2 * DAY, NEXT_DAY + HOUR, only_missing=True)
    assert (synced.n_bars, synced.stop) == (0, NEXT_DAY + HOUR)


def test_history_of_a_symbol_that_was_empty_at_first_is_asked_for_again(new_warehouse: Warehouse) -> None:
    whole = bars_between(START, START + 4 * DAY)
    without_eth = remote(whole.filter(pl.col("symbol") == "BTC/USD"))
    now = START + 4 * DAY
    sync_bars(new_warehouse, without_eth, MARKET, START, now, now, only_missing=True)
    sync_bars(new_warehouse, remote(whole), MARKET, START, now, now + HOUR, only_missing=True)
    assert_frame_equal(stored(new_warehouse), whole)


def remote(frame: pl.DataFrame, n_bad: int = 0) -> BarSource:
    """A venue whose answers hold `frame`, and that reports bad bars."""

    class Venue(Counted):
        def drain(self) -> pl.DataFrame:
            calls = {"outcome": ["ok", "bad_bar"][: 1 + (n_bad > 0)], "calls": [1, n_bad][: 1 + (n_bad > 0)]}
            shared = {"source": "simulated", "endpoint": "bars", "share_frac": 1.0, "waited_s": 0.0, "example": ""}
            return pl.DataFrame(calls).with_columns(**{name: pl.lit(value) for name, value in shared.items()})

    return Venue(frame)


def test_a_bar_that_a_venue_leaves_out_the_second_time_stays(new_warehouse: Warehouse) -> None:
    whole = bars_between(START, START + 2 * DAY)
    stop = START + 2 * DAY
    sync_bars(new_warehouse, remote(whole), MARKET, START, stop, stop, only_missing=True)
    late = stop - 3 * HOUR
    cut = whole.filter(pl.col("opened_at_utc") != late).with_columns(
        volume=pl.when(pl.col("opened_at_utc") == late + HOUR).then(7.0).otherwise("volume")
    )
    synced = sync_bars(new_warehouse, remote(cut), MARKET, START, stop, stop, only_missing=True)
    assert (synced.n_new, synced.n_changed) == (0, 2)
    kept = stored(new_warehouse)
    assert len(kept) == len(whole)
    assert set(kept.filter(pl.col("opened_at_utc") == late + HOUR)["volume"]) == {7.0}
    # Asked for with every bar, a venue that withdraws one means it.
    assert sync_bars(new_warehouse, remote(cut), MARKET, START, START + 2 * DAY, LATER).n_changed == 2
    assert len(stored(new_warehouse)) == len(whole) - 2


def test_an_answer_with_bad_bars_removes_nothing(new_warehouse: Warehouse) -> None:
    whole = bars_between(START, START + 2 * DAY)
    sync_bars(new_warehouse, remote(whole), MARKET, START, START + 2 * DAY, LATER)
    cut = whole.filter(pl.col("opened_at_utc") != START + 5 * HOUR)
    sync_bars(new_warehouse, remote(cut, n_bad=2), MARKET, START, START + 2 * DAY, LATER)
    assert_frame_equal(stored(new_warehouse), whole)


def test_a_day_that_lacks_bars_is_asked_for_a_few_times_more(new_warehouse: Warehouse) -> None:
    whole = bars_between(START, START + 5 * DAY)
    second_day = pl.col("opened_at_utc").is_between(START + DAY, START + 2 * DAY, closed="left")
    cut = remote(whole.filter(~second_day | (pl.col("symbol") != "ETH/USD")))

    def asked_for_the_second_day(source: BarSource, now: datetime) -> bool:
        source.asked.clear()  # type: ignore[attr-defined]
        sync_bars(new_warehouse, source, MARKET, START, START + 5 * DAY, now, only_missing=True)
        asked = source.asked  # type: ignore[attr-defined]
        return (("ETH/USD",), START + DAY, START + 2 * DAY) in asked

    sync_bars(new_warehouse, cut, MARKET, START, START + 5 * DAY, LATER, only_missing=True)
    assert not asked_for_the_second_day(cut, LATER + 11 * HOUR)
    assert asked_for_the_second_day(cut, LATER + 12 * HOUR)
    assert not asked_for_the_second_day(cut, LATER + 13 * HOUR)
    assert asked_for_the_second_day(remote(whole), LATER + 24 * HOUR)
    assert_frame_equal(stored(new_warehouse), whole)
    assert not asked_for_the_second_day(cut, LATER + 90 * HOUR)


def test_the_time_before_the_first_bar_is_asked_for_once(new_warehouse: Warehouse) -> None:
    source = Counted(bars_between(START + 2 * DAY, START + 4 * DAY), chunk_bars=48)
    for _ in range(2):
        source.asked.clear()
        sync_bars(new_warehouse, source, MARKET, START, START + 4 * DAY, LATER, only_missing=True)
    assert source.asked == []


def test_progress_tells_bars_share_and_time_left(new_warehouse: Warehouse) -> None:
    heard: list[SyncProgress] = []
    source = replace(Canned(bars_between(START, START + 2 * DAY)), chunk_bars=48)
    sync_bars(new_warehouse, source, MARKET, START, START + 2 * DAY, LATER, on_progress=heard.append)
    assert [(one.n_bars, one.done_frac) for one in heard] == [(48, 0.5), (96, 1.0)]
    assert heard[-1].left_s == 0
    assert str(replace(heard[0], elapsed_s=2.0)) == (
        "BTC/USD + 1 until 2025-03-02 00:00: 48 bars, 50%, 24 bars/s, 2 s left"
    )


def test_how_the_calls_went_is_kept_even_when_they_fail(new_warehouse: Warehouse) -> None:
    class Failing(Canned):
        def bars(self, *asked: object) -> pl.DataFrame:
            raise SourceError("503")

        def drain(self) -> pl.DataFrame:
            return pl.DataFrame(
                {
                    "source": ["simulated"],
                    "endpoint": ["bars"],
                    "outcome": ["server_error"],
                    "calls": [6],
                    "share_frac": [1.0],
                    "waited_s": [12.5],
                    "example": ["503"],
                }
            )

    with pytest.raises(SourceError, match="503"):
        sync_bars(new_warehouse, Failing(empty_frame()), MARKET, START, NEXT_DAY, LATER)
    row = new_warehouse.query("from ops.api_errors").row(0, named=True)
    assert (row["synced_at_utc"], row["calls"], row["outcome"]) == (LATER, 6, "server_error")


def test_the_end_of_the_record_is_remembered(new_warehouse: Warehouse) -> None:
    source = Canned(bars_between(START, NEXT_DAY), known=(START, NEXT_DAY))
    sync_bars(new_warehouse, source, MARKET, START, NEXT_DAY, NEXT_DAY)
    assert new_warehouse.query("select record_ends_utc from ops.syncs").item() == NEXT_DAY


@pytest.mark.parametrize(
    ("begins", "start", "expected"),
    [
        (None, None, START),  # 10 days before `LATER`
        (None, START + 5 * DAY + 7 * HOUR, START + 5 * DAY),
        (START - 50 * DAY, None, START),
        (START + 3 * DAY + 9 * HOUR, None, START + 3 * DAY),
        (START + 3 * DAY, START + 5 * DAY, START + 5 * DAY),
    ],
)
def test_loading_begins_at_a_midnight_where_history_and_source_do(
    begins: datetime | None, start: datetime | None, expected: datetime
) -> None:
    market = MARKET.model_copy(update={"history_days": 10, "start": start})
    source = Canned(empty_frame(), known=(begins, LATER) if begins else None)
    assert first_open_to_load(market, source, LATER + 3 * HOUR) == expected


def test_a_panel_holds_closed_bars_of_the_asked_interval_only(new_warehouse: Warehouse) -> None:
    sync(new_warehouse, START, START + 2 * DAY)
    now = START + DAY + 7 * HOUR + timedelta(minutes=30)
    with new_warehouse.read() as reader:
        hours = load_panel(reader, SYMBOLS, Interval.H1, now)
        swapped = load_panel(reader, SYMBOLS[::-1], Interval.H1, now)
        fours = load_panel(reader, SYMBOLS, Interval.H4, now, START + 8 * HOUR)
        with pytest.raises(DataError, match="no 1h bars for DOGE/USD"):
            load_panel(reader, ("BTC/USD", "DOGE/USD"), Interval.H1, now)
        with pytest.raises(DataError, match="no 1h bars for"):
            load_panel(reader, SYMBOLS, Interval.H1, START)
    assert (len(hours), as_datetime(hours.closed_at[-1])) == (31, START + DAY + 7 * HOUR)
    assert (swapped.close[:, ::-1] == hours.close).all()
    assert [as_datetime(fours.opened_at[0]), as_datetime(fours.closed_at[-1])] == [START + 8 * HOUR, START + 28 * HOUR]
    assert (fours.close[0] == hours.close[11]).all()
    assert (fours.high[0] == hours.high[8:12].max(axis=0)).all()


def test_a_hole_is_filled_and_marked_in_the_panel(new_warehouse: Warehouse) -> None:
    holed = bars_between(START, NEXT_DAY).filter(
        (pl.col("symbol") != "ETH/USD") | (pl.col("opened_at_utc") != START + 6 * HOUR)
    )
    sync(new_warehouse, START, NEXT_DAY, source=Canned(holed))
    with new_warehouse.read() as reader:
        panel = load_panel(reader, SYMBOLS, Interval.H1, NEXT_DAY)
    assert panel.is_filled.sum() == 1
    assert panel.is_filled[6, 1]
    assert (panel.open[6, 1], panel.close[6, 1], panel.volume[6, 1]) == (panel.close[5, 1], panel.close[5, 1], 0.0)


def test_a_fingerprint_knows_every_value_and_the_order_of_columns() -> None:
    frame = bars_between(START, NEXT_DAY)
    others = [
        frame.with_columns(volume=pl.col("volume") + pl.when(pl.int_range(pl.len()) == 40).then(1e-9).otherwise(0.0)),
        frame.with_columns(pl.col("opened_at_utc") + HOUR),
        frame.with_columns(pl.col("symbol").replace("ETH/USD", "LTC/USD")),
        frame.select("symbol", "opened_at_utc", "high", "open", "low", "close", "volume"),
        frame.head(-1),
    ]
    assert fingerprint(frame.clone()) == fingerprint(frame)
    assert len({fingerprint(one) for one in [frame, *others]}) == 6


def test_all_of_history_means_from_1970_on(new_warehouse: Warehouse) -> None:
    old = bars_between(START, NEXT_DAY).with_columns(pl.col("opened_at_utc") - (START - EPOCH))
    sync(new_warehouse, EPOCH, EPOCH + DAY, source=replace(Canned(old), name="old"))
    with new_warehouse.read() as reader:
        assert as_datetime(load_panel(reader, SYMBOLS, Interval.H1, LATER).opened_at[0]) == EPOCH
