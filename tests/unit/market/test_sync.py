from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from cappuccino.errors import ContractError, DataError, SourceError
from cappuccino.market.interval import EPOCH, Interval
from cappuccino.market.panel import as_datetime
from cappuccino.market.simulated import SimulatedSource
from cappuccino.market.source import BarSource, empty_frame
from cappuccino.market.sync import fingerprint, first_open_to_load, load_panel, sync_bars
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
    assert again == first
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
    assert synced.n_bars == 46
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
