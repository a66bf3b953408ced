"""What the checks keep about the bars of a warehouse, and what they need not look at twice."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from cappuccino.errors import DataError
from cappuccino.market.quality import DAILY, RECORD, SEVERITIES
from cappuccino.market.record import check_record, state, worst_days
from cappuccino.market.sync import sync_bars
from cappuccino.store.warehouse import Warehouse
from tests.unit.small_market import DAY, HOUR, MARKET, SOURCE, START, SYMBOLS, Canned, bars_between, sync

END = START + DAY


def failed(found: pl.DataFrame) -> set[tuple[str, str]]:
    return set(found.filter(~pl.col("passed")).select("check", "symbol").rows())


def findings(warehouse: Warehouse, *, without: tuple[str, ...] = ("checked_at_utc",)) -> pl.DataFrame:
    found = warehouse.query('from ops.data_quality order by interval, day, symbol, "check"')
    return found.drop(without)


def test_sound_bars_pass_and_every_figure_is_stored(new_warehouse: Warehouse) -> None:
    sync(new_warehouse, START, START + 3 * DAY)
    found = check_record(new_warehouse, MARKET, START + 3 * DAY)
    assert failed(found) == set()
    assert found.select("symbol", "check").rows() == [(symbol, check) for symbol in SYMBOLS for check in SEVERITIES]
    rows = findings(new_warehouse, without=())
    assert set(rows.select("checked_at_utc", "interval").rows()) == {(START + 3 * DAY, "1h")}
    counted = rows.group_by("day").agg(pl.len(), pl.col("check").unique()).sort("day")
    assert counted["len"].to_list() == [2 * len(DAILY)] * 3 + [2 * len(RECORD)]
    assert set(counted["check"][3]) == set(RECORD), "these have the day of the look"


def test_a_hole_a_halt_and_an_absent_symbol_are_found_in_the_record(new_warehouse: Warehouse) -> None:
    at, is_btc = pl.col("opened_at_utc"), pl.col("symbol") == "BTC/USD"
    lost = (at == START + 5 * HOUR) | (is_btc & (at == START + 7 * HOUR))
    sync(new_warehouse, START, END, source=Canned(bars_between(START, END).filter(~lost)))
    market = MARKET.model_copy(update={"symbols": (*SYMBOLS, "LTC/USD"), "max_filled_frac": 0.01})
    found = check_record(new_warehouse, market, END)
    assert failed(found) == {
        ("gaps", "BTC/USD"),
        *(("halts", symbol) for symbol in SYMBOLS),
        *(("filled_share", symbol) for symbol in SYMBOLS),
        ("missing_symbols", "LTC/USD"),
        ("stale", "LTC/USD"),
    }
    shares = found.filter(check="filled_share")["figure"].to_list()
    assert shares == [2 / 24, 1 / 24, 0.0], "halts count as filled too"


def test_bars_of_later_and_symbols_of_others_are_not_looked_at(new_warehouse: Warehouse) -> None:
    jump = pl.when(pl.col("opened_at_utc") >= START + 20 * HOUR).then(1000.0).otherwise(1.0)
    prices = [pl.col(name) * jump for name in ("open", "high", "low", "close")]
    wild = bars_between(START, END).with_columns(prices)
    wild = wild.with_columns(
        [
            pl.when(pl.col("symbol") == "ETH/USD")
            .then(pl.col(name) * 1e6 ** (pl.int_range(pl.len()) % 2))
            .otherwise(name)
            for name in ("open", "high", "low", "close")
        ]
    )
    sync(new_warehouse, START, END, source=Canned(wild))
    only_btc = MARKET.model_copy(update={"symbols": ("BTC/USD",)})
    assert failed(check_record(new_warehouse, only_btc, START + 20 * HOUR)) == set()
    assert ("jumps", "BTC/USD") in failed(check_record(new_warehouse, only_btc, END))
    assert ("jumps", "ETH/USD") in failed(check_record(new_warehouse, MARKET, START + 20 * HOUR))


def test_old_bars_are_stale(new_warehouse: Warehouse) -> None:
    sync(new_warehouse, START, END)
    assert {check for check, _ in failed(check_record(new_warehouse, MARKET, END + 3 * HOUR))} >= {"stale"}


def test_days_that_did_not_change_are_not_checked_again(new_warehouse: Warehouse) -> None:
    sync(new_warehouse, START, START + 5 * DAY)
    check_record(new_warehouse, MARKET, START + 5 * DAY)
    later = START + 6 * DAY
    sync(new_warehouse, START + 5 * DAY, later)
    found = check_record(new_warehouse, MARKET, later, (START + 5 * DAY, later))
    assert failed(found) == set()
    checked = findings(new_warehouse, without=()).filter(check="gaps", symbol="BTC/USD")["checked_at_utc"].to_list()
    # The day before counts too: a halt into the new day can be too long to be one.
    assert checked == [START + 5 * DAY] * 4 + [later] * 2
    check_record(new_warehouse, MARKET, later)
    rows = findings(new_warehouse, without=()).filter(check="gaps")
    assert set(rows["checked_at_utc"]) == {later}, "None looks at all of it"


def test_bars_that_are_corrected_while_the_clock_stands_still_are_checked_again_and_no_others(
    new_warehouse: Warehouse,
) -> None:
    """As in a demo, with files, or in a step of a replay: every sync and every look is at the same moment."""
    stop = START + 6 * DAY
    sync(new_warehouse, START, stop)
    check_record(new_warehouse, MARKET, stop)
    with new_warehouse.write() as writer:
        writer.execute("update ops.data_quality set detail = 'not looked at'")
    is_wrong = pl.col("opened_at_utc") == START + 3 * DAY
    wrong = bars_between(START, stop).with_columns(volume=pl.when(is_wrong).then(0.0).otherwise("volume"))
    sync(new_warehouse, START, stop, source=Canned(wrong))
    found = check_record(new_warehouse, MARKET, stop, (stop, stop))
    assert {("zero_volume", symbol) for symbol in SYMBOLS} <= failed(found)
    kept = findings(new_warehouse).filter(check="gaps", symbol="BTC/USD", detail="not looked at")
    assert kept["day"].to_list() == [START.date(), (START + DAY).date()]
    with new_warehouse.write() as writer:
        writer.execute("update ops.data_quality set detail = 'not looked at'")
    check_record(new_warehouse, MARKET, stop, (stop, stop))
    kept = findings(new_warehouse).filter(check="gaps", symbol="BTC/USD", detail="not looked at")
    assert kept.height == 5, "the last day is where the next bars would come"


def test_a_change_of_the_symbols_tells_the_halts_of_the_others_again(new_warehouse: Warehouse) -> None:
    stop = START + 5 * DAY
    sync(new_warehouse, START, stop, source=Canned(bars_between(START, stop).remove(opened_at_utc=START + 5 * HOUR)))
    alone = MARKET.model_copy(update={"symbols": SYMBOLS[:1]})
    for market, name in ((MARKET, "halts"), (alone, "gaps"), (MARKET, "halts")):
        found = check_record(new_warehouse, market, stop, (stop, stop))
        assert {check for check, symbol in failed(found) if symbol == "BTC/USD"} == {name}


def test_findings_about_days_to_come_are_removed_and_the_last_look_counts(new_warehouse: Warehouse) -> None:
    """The clock was set back, as by a replay or a --now."""
    sync(new_warehouse, START, START + 5 * DAY)
    check_record(new_warehouse, MARKET, START + 9 * DAY)
    assert ("stale", "BTC/USD") in failed(state(new_warehouse, MARKET))
    now = START + 3 * DAY
    found = check_record(new_warehouse, MARKET, now, (now, now))
    assert failed(found) == set()
    assert state(new_warehouse, MARKET).equals(found)
    assert findings(new_warehouse)["day"].max() == now.date()


def test_the_worst_days_are_those_of_the_limit_of_today(new_warehouse: Warehouse) -> None:
    stop = START + 2 * DAY
    is_lost = (pl.col("symbol") == "ETH/USD") & pl.col("opened_at_utc").is_between(START + 5 * HOUR, START + 9 * HOUR)
    sync(new_warehouse, START, stop, source=Canned(bars_between(START, stop).remove(is_lost)))
    check_record(new_warehouse, MARKET, stop)
    strict = MARKET.model_copy(update={"max_hole_hours": 4.0})
    worst = worst_days(new_warehouse, strict, stop).filter(check="longest_hole")
    assert worst.select("day", "symbol", "n_bad", "figure").rows() == [(START.date(), "ETH/USD", 1, 5.0)]
    check_record(new_warehouse, strict, stop)
    assert worst_days(new_warehouse, MARKET, stop).filter(check="longest_hole").is_empty()


def test_a_checked_day_replaces_its_rows_and_what_is_repaired_is_forgotten(new_warehouse: Warehouse) -> None:
    stop = START + 3 * DAY
    holed = bars_between(START, stop).filter(pl.col("opened_at_utc") != START + 30 * HOUR)
    sync(new_warehouse, START, stop, source=Canned(holed))
    assert ("halts", "BTC/USD") in failed(check_record(new_warehouse, MARKET, stop))
    n_rows = findings(new_warehouse).height
    sync(new_warehouse, START + DAY, START + 2 * DAY, now=stop)
    assert failed(check_record(new_warehouse, MARKET, stop, (START + DAY, START + 2 * DAY))) == set()
    assert findings(new_warehouse).height == n_rows


def test_a_hole_that_closes_or_opens_is_told_again_in_every_day_that_it_touched(new_warehouse: Warehouse) -> None:
    stop = START + 6 * DAY
    whole = bars_between(START, stop)
    is_lost = (pl.col("symbol") == "ETH/USD") & pl.col("opened_at_utc").is_between(START + 20 * HOUR, START + 90 * HOUR)
    sync(new_warehouse, START, stop, source=Canned(whole.filter(~is_lost)))
    check_record(new_warehouse, MARKET, stop)
    holes = findings(new_warehouse).filter(check="longest_hole", symbol="ETH/USD")["figure"].to_list()
    assert holes == [71.0, 71.0, 71.0, 71.0, 0.0, 0.0]
    # Only the third day comes back.
    back = (START + 2 * DAY, START + 3 * DAY)
    sync(new_warehouse, *back, now=stop)
    check_record(new_warehouse, MARKET, stop, back)
    holes = findings(new_warehouse).filter(check="longest_hole", symbol="ETH/USD")["figure"].to_list()
    assert holes == [28.0, 28.0, 0.0, 19.0, 0.0, 0.0]


def test_findings_kept_day_by_day_are_those_of_a_look_at_everything(new_warehouse: Warehouse) -> None:
    """Random days of a random record are lost, repaired and changed, one sync after the other."""
    rng, stop = np.random.default_rng(11), START + 8 * DAY
    whole = bars_between(START, stop)
    for step in range(6):
        first, n_days = int(rng.integers(0, 8)), int(rng.integers(1, 4))
        start, end = START + first * DAY, min(START + (first + n_days) * DAY, stop)
        keep = pl.Series(rng.random(whole.height) > (0.0, 0.2, 0.9)[step % 3])
        bars = whole.filter(
            keep & ((pl.col("symbol") == "ETH/USD") | (step % 4 == 0)) | (pl.col("opened_at_utc") == start)
        )
        sync_bars(new_warehouse, Canned(bars), MARKET, start, end, stop)
        kept = check_record(new_warehouse, MARKET, stop, (start, end))
        piecewise = findings(new_warehouse)
        assert check_record(new_warehouse, MARKET, stop).equals(kept)
        assert_frame_equal(findings(new_warehouse), piecewise)
        assert state(new_warehouse, MARKET).equals(kept)


THREE = MARKET.model_copy(update={"symbols": (*SYMBOLS, "LTC/USD")})
ABSENT, FLAT = 1, 2
Spell = tuple[str, int, int, int]
"""Symbol, first hour, hour after the last, and what it is then."""


def bars_with(spells: list[Spell], n_hours: int) -> pl.DataFrame:
    """Return bars of three symbols that are absent, or flat without volume, in some hours; later spells overrule."""
    whole = SOURCE.bars(THREE.symbols, THREE.base_interval, START, START + n_hours * HOUR)
    hour, kind = (pl.col("opened_at_utc") - START).dt.total_hours(), pl.lit(0)
    for symbol, first, stop, wanted in spells:
        is_then = (pl.col("symbol") == symbol) & (hour >= first) & (hour < stop)
        kind = pl.when(is_then).then(wanted).otherwise(kind)
    is_flat = pl.col("kind") == FLAT
    return (
        whole.with_columns(kind=kind)
        .remove(kind=ABSENT)
        .with_columns(pl.when(is_flat).then("close").otherwise(name).alias(name) for name in ("open", "high", "low"))
        .with_columns(volume=pl.when(is_flat).then(0.0).otherwise("volume"))
        .drop("kind")
    )


def assert_grown_is_whole(warehouse: Warehouse, bars: pl.DataFrame, hours: list[int]) -> None:
    """Look at a record that reaches to one of `hours` after the other, each time at the new bars, then at all."""
    since = START
    for stop in (START + n * HOUR for n in hours):
        sync_bars(warehouse, Canned(bars), THREE, since, stop, stop)
        check_record(warehouse, THREE, stop, (since, stop))
        piecewise = findings(warehouse)
        check_record(warehouse, THREE, stop)
        assert_frame_equal(findings(warehouse), piecewise)
        since = stop


@pytest.mark.parametrize(
    "spells",
    [
        pytest.param(
            [(symbol, 100, 106, ABSENT) for symbol in THREE.symbols]
            + [(symbol, 106, 130, FLAT) for symbol in THREE.symbols],
            id="a halt of the day before turns out to be too long",
        ),
        pytest.param(
            [(symbol, 100, 106, ABSENT) for symbol in SYMBOLS]
            + [(symbol, 106, 130, FLAT) for symbol in THREE.symbols]
            + [("LTC/USD", 48, 106, ABSENT)],
            id="and a hole that began days earlier ends in it",
        ),
        pytest.param(
            [
                ("BTC/USD", 70, 71, ABSENT),
                ("BTC/USD", 91, 168, ABSENT),
                ("ETH/USD", 70, 168, ABSENT),
                ("LTC/USD", 0, 96, ABSENT),
            ],
            id="a symbol that seemed to be halted does not come back, only another one does",
        ),
    ],
)
def test_a_new_day_can_change_what_earlier_days_were(new_warehouse: Warehouse, spells: list[Spell]) -> None:
    assert_grown_is_whole(new_warehouse, bars_with(spells, 168), [96, 120, 144])


def test_findings_that_grow_with_the_record_are_those_of_a_look_at_everything(new_warehouse: Warehouse) -> None:
    """Symbols fall silent or flat, alone or together, for hours or days, come back, or never do."""
    rng, n_hours = np.random.default_rng(3), 10 * 24
    spells: list[Spell] = []
    for _ in range(8):
        at, length = int(rng.integers(1, n_hours)), int(rng.choice((3, 12, 23, 24, 25, 40, 90)))
        for symbol in rng.choice(THREE.symbols, int(rng.integers(1, 4)), replace=False):
            spells.append((str(symbol), at, at + length, int(rng.integers(1, 3))))
    assert_grown_is_whole(new_warehouse, bars_with(spells, n_hours), [30, 72, 77, 101, 168, n_hours])


def test_blocks_of_days_find_what_the_whole_record_shows_at_once(
    new_warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = START + 6 * DAY
    lost = pl.col("opened_at_utc").is_between(START + 20 * HOUR, START + 40 * HOUR)
    only_btc = (pl.col("symbol") == "BTC/USD") & pl.col("opened_at_utc").is_between(
        START + 60 * HOUR, START + 120 * HOUR
    )
    sync(new_warehouse, START, stop, source=Canned(bars_between(START, stop).filter(~(lost | only_btc))))
    check_record(new_warehouse, MARKET, stop)
    at_once = findings(new_warehouse)
    assert at_once.filter(~pl.col("passed"))["check"].n_unique() == 4
    monkeypatch.setattr("cappuccino.market.record_bars.BLOCK_BARS", 1)
    check_record(new_warehouse, MARKET, stop)
    assert_frame_equal(findings(new_warehouse), at_once)


def test_a_day_that_was_not_over_is_looked_at_again_although_its_bars_were_stored_before(
    new_warehouse: Warehouse,
) -> None:
    sync(new_warehouse, START, START + 2 * DAY)
    for now in (START + 30 * HOUR, START + 40 * HOUR):
        check_record(new_warehouse, MARKET, now, (now, now))
    rows = findings(new_warehouse).filter(check="gaps", symbol="BTC/USD")
    assert rows["n_checked"].to_list() == [24, 16]


def test_a_new_symbol_is_checked_from_its_first_day_on(new_warehouse: Warehouse) -> None:
    stop = START + 3 * DAY
    sync(new_warehouse, START, stop)
    check_record(new_warehouse, MARKET.model_copy(update={"symbols": SYMBOLS[:1]}), stop)
    check_record(new_warehouse, MARKET, stop, (stop - DAY, stop))
    assert findings(new_warehouse).filter(check="gaps", symbol=SYMBOLS[1]).height == 3


def test_only_the_window_that_is_configured_is_judged(new_warehouse: Warehouse) -> None:
    stop = START + 4 * DAY
    dead = pl.when(pl.col("opened_at_utc") < START + DAY).then(0.0).otherwise("volume")
    sync(new_warehouse, START, stop, source=Canned(bars_between(START, stop).with_columns(volume=dead)))
    for history_days, expected in ((4, {("zero_volume", symbol) for symbol in SYMBOLS}), (3, set())):
        market = MARKET.model_copy(update={"history_days": history_days})
        assert failed(check_record(new_warehouse, market, stop)) == expected
        assert worst_days(new_warehouse, market, stop)["day"].unique().to_list() == [START.date()] * len(
            expected and [1]
        )


def test_the_worst_days_come_first_and_are_few(new_warehouse: Warehouse) -> None:
    stop = START + 12 * DAY
    rank = (pl.col("opened_at_utc") - START).dt.total_days() + 1
    hour = pl.col("opened_at_utc").dt.hour()
    bars = bars_between(START, stop).with_columns(volume=pl.when(hour < rank).then(0.0).otherwise("volume"))
    sync(new_warehouse, START, stop, source=Canned(bars))
    check_record(new_warehouse, MARKET, stop)
    worst = worst_days(new_warehouse, MARKET, stop, 4)
    assert worst["check"].unique().to_list() == ["zero_volume"]
    assert worst.select("day", "n_bad").rows() == [
        (date(2025, 3, 12), 12),
        (date(2025, 3, 12), 12),
        (date(2025, 3, 11), 11),
        (date(2025, 3, 11), 11),
    ]


def test_findings_from_before_there_were_days_are_removed(new_warehouse: Warehouse) -> None:
    sync(new_warehouse, START, END)
    check_record(new_warehouse, MARKET, END)
    expected = findings(new_warehouse)
    with new_warehouse.write() as writer:
        writer.execute("insert into ops.data_quality select * replace (null as day) from ops.data_quality")
    check_record(new_warehouse, MARKET, END, (END, END))
    assert_frame_equal(findings(new_warehouse), expected)


def test_before_the_first_look_there_is_no_verdict(new_warehouse: Warehouse) -> None:
    assert state(new_warehouse, MARKET).is_empty()


def test_an_empty_record_is_refused(new_warehouse: Warehouse) -> None:
    with pytest.raises(DataError, match="has no bars of BTC/USD, ETH/USD; materialise market/bars first"):
        check_record(new_warehouse, MARKET, END)
    sync(new_warehouse, START, END)
    with pytest.raises(DataError, match="has no bars"):
        check_record(new_warehouse, MARKET, START)
