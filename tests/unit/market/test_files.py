"""Files as people have them: what is understood, and what is refused with the place and the remedy."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from cappuccino.errors import DataError
from cappuccino.market.files import FileSource
from cappuccino.market.interval import Interval
from cappuccino.market.source import TIME

START = datetime(2024, 1, 1, tzinfo=UTC)
STOP = datetime(2025, 1, 1, tzinfo=UTC)
HEADER = "ts,open,high,low,close,volume\n"
GOOD = HEADER + "2024-01-01T00:00Z,1,2,0.5,1.5,10\n2024-01-01T00:15Z,1.5,2,1,1,20\n"


@pytest.fixture
def two_symbols(make_bars) -> pl.DataFrame:
    return pl.concat([make_bars([1, 2, None, 4], "BTC/USDT"), make_bars([5, 6, 7, 8], "ETH/USDT")])


def everything(path: Path) -> pl.DataFrame:
    source = FileSource(path)
    return source.bars(source.symbols(), source.interval(), *source.span())


def write(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


def test_a_parquet_file_gives_its_bars_and_its_holes(tmp_path, two_symbols):
    file = tmp_path / "bars.parquet"
    two_symbols.rename({"opened_at_utc": "ts"}).write_parquet(file)
    source = FileSource(file)
    assert source.symbols() == ("BTC/USDT", "ETH/USDT")
    assert source.interval() == Interval.M15
    assert source.span() == (START, START + timedelta(hours=1))
    assert_frame_equal(everything(file), two_symbols)


def test_a_csv_file_gives_the_same_bars_as_a_parquet_file(tmp_path, two_symbols):
    two_symbols.write_csv(tmp_path / "bars.csv")
    two_symbols.write_parquet(tmp_path / "bars.parquet")
    assert_frame_equal(everything(tmp_path / "bars.csv"), everything(tmp_path / "bars.parquet"))


def test_rows_ordered_by_time_are_as_good_as_rows_ordered_by_symbol(tmp_path, two_symbols):
    file = tmp_path / "bars.parquet"
    two_symbols.sort("opened_at_utc", "symbol").write_parquet(file)
    assert_frame_equal(everything(file), two_symbols)


def test_a_folder_of_one_file_per_symbol_takes_symbols_from_the_names(tmp_path, two_symbols):
    btc, eth = two_symbols.partition_by("symbol")
    btc.drop("symbol").write_csv(tmp_path / "BTC-USDT.csv")
    eth.drop("symbol").write_parquet(tmp_path / "ETH_USDT.parquet")
    write(tmp_path, "notes.txt", "not looked at")
    assert_frame_equal(everything(tmp_path), two_symbols)


def test_only_the_requested_symbols_and_times_come(tmp_path, two_symbols):
    file = tmp_path / "bars.parquet"
    two_symbols.write_parquet(file)
    quarter = timedelta(minutes=15)
    frame = FileSource(file).bars(("ETH/USDT",), Interval.M15, START + quarter, START + 3 * quarter)
    assert frame["close"].to_list() == [6.0, 7.0]


def test_a_file_that_changes_is_read_anew(tmp_path):
    file = write(tmp_path, "BTC-USD.csv", GOOD)
    source = FileSource(file)
    assert source.span()[1] == START + timedelta(minutes=30)
    write(tmp_path, "BTC-USD.csv", GOOD + "2024-01-01T00:30Z,1,2,0.5,1.5,10\n")
    os.utime(file, ns=(1, 1))
    assert source.span()[1] == START + timedelta(minutes=45)


@pytest.mark.parametrize(
    ("header", "first", "second"),
    [
        ("ts", "2024-01-01T00:00:00Z", "2024-01-01T00:15:00Z"),
        ("Timestamp", "2024-01-01 01:00+01:00", "2024-01-01 01:15+01:00"),
        ("time", "2023-12-31T19:00:00.000000-0500", "2023-12-31T19:15:00.000000-0500"),
        ("Date", "2024-01-01 00:00:00 UTC", "2024-01-01 00:15:00 UTC"),
        ("ts_utc", "2024-01-01 00:00", "2024-01-01 00:15"),
        ("opened_at_utc", "2024-01-01", "2024-01-01T00:15:00"),
        ("ts", "1704067200", "1704068100"),
        ("ts", "1704067200000", "1704068100000"),
        ("open_time", "1704067200000000", "1704068100000000"),
    ],
)
def test_times_are_understood_in_many_forms(tmp_path, header, first, second):
    text = f"{header},Open,HIGH, low ,close,volume,trades\n{first},1,2,0.5,1.5,10,7\n{second},1,2,0.5,1.5,10,7\n"
    frame = everything(write(tmp_path, "BTC-USD.csv", text))
    assert frame["opened_at_utc"].to_list() == [START, START + timedelta(minutes=15)]
    assert frame["symbol"].unique().to_list() == ["BTC/USD"]


@pytest.mark.parametrize(
    ("name", "times"),
    [
        ("ts", pl.Series([START, START + timedelta(hours=4)], dtype=pl.Datetime("ns", "UTC"))),
        ("ts", pl.Series([START, START + timedelta(hours=4)], dtype=pl.Datetime("ms", "Asia/Tokyo"))),
        ("ts_utc", pl.Series([START, START + timedelta(hours=4)]).dt.replace_time_zone(None)),
        ("timestamp", pl.Series([1704067200, 1704081600], dtype=pl.UInt32)),
        ("time", pl.Series(["2024-01-01T00:00Z", "2024-01-01T04:00Z"])),
    ],
)
def test_parquet_times_of_any_type_become_utc(tmp_path, name, times):
    prices = {column: [1, 2] for column in ("open", "high", "low", "close", "volume")}
    pl.DataFrame({name: times, **prices}).write_parquet(tmp_path / "BTC-USD.parquet")
    frame = everything(tmp_path / "BTC-USD.parquet")
    assert frame.schema["opened_at_utc"] == TIME
    assert frame["opened_at_utc"].to_list() == [START, START + timedelta(hours=4)]
    assert frame["close"].to_list() == [1.0, 2.0]


def test_categorical_symbols_and_decimal_prices_are_understood(tmp_path, two_symbols):
    file = tmp_path / "bars.parquet"
    two_symbols.with_columns(
        pl.col("symbol").cast(pl.Categorical), pl.col("close").cast(pl.Decimal(18, 2))
    ).write_parquet(file)
    assert_frame_equal(everything(file), two_symbols)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read: empty CSV; replace or remove the file"),
        (HEADER, "has no bars"),
        (GOOD + "2024-01-01T00:30Z,1,2,0.5,1.5,10,99\n", "cannot be read: found more fields"),
        (GOOD.replace("ts,", "when,"), r"column ts \(or timestamp, time\) is missing, found when, open"),
        (GOOD.replace(",close", ",last"), r"column close is missing, found ts, open, high, low, last"),
        (GOOD.replace("ts,open", "ts,Open,open"), "columns Open and open are both open; remove one"),
        (GOOD.replace("1.5,2,1,1", "1.5,2,abc,1"), r"line 3: low is not a number, found 'abc'"),
        (GOOD.replace("1.5,2,1,1", "1.5,2,,1"), r"BTC/USD at 2024-01-01 00:15 UTC: low is missing"),
        (GOOD.replace("1.5,2,1,1", "1.5,2,NaN,1"), r"BTC/USD at 2024-01-01 00:15 UTC: low is nan"),
        (GOOD.replace("1.5,2,1,1", "1.5,2,-1,1"), r"00:15 UTC: low is -1\.0, prices are above zero"),
        (GOOD.replace("1.5,2,1,1", "1.5,1,1,1"), r"00:15 UTC: low <= open, close <= high is broken"),
        (GOOD.replace("00:15Z", "00:00Z"), "only one bar of each symbol"),
        (GOOD + "2024-01-01T00:15Z,1,2,0.5,1.5,10\n", r"00:15 UTC: the bar is there twice"),
        (GOOD.replace("00:15Z", "yesterday"), r"line 3: ts is not a time .*, found '2024-01-01Tyesterday'"),
        (GOOD.replace("01T00:15Z", "32T00:15Z"), r"line 3: ts is not a time"),
        (GOOD.replace("2024-01-01T00:15Z", ""), "line 3: opened_at_utc is missing"),
        (GOOD.replace("00:15Z", "00:15"), r"column ts has no time zone, found 2024-01-01T00:15; .*ts_utc"),
        (HEADER + "170406,1,2,0.5,1.5,10\n170407,1,2,0.5,1.5,10\n", "ts holds 170406 to 170407, which is"),
        (GOOD.replace("00:15Z", "00:07Z"), r"bars every 0:07:00 .*known intervals are 1m, 5m"),
    ],
)
def test_what_is_wrong_in_a_file_is_said_with_its_place(tmp_path, text, message):
    file = write(tmp_path, "BTC-USD.csv", text)
    with pytest.raises(DataError, match=rf"(?s)BTC-USD\.csv.*{message}") as caught:
        everything(file)
    assert str(file) in str(caught.value)


def test_unsorted_bars_are_refused_with_symbol_and_time(tmp_path, two_symbols):
    file = tmp_path / "bars.parquet"
    two_symbols.reverse().write_parquet(file)
    with pytest.raises(DataError, match=r"ETH/USDT at 2024-01-01 00:30 UTC comes after a later bar; sort"):
        everything(file)


def test_a_file_that_is_no_parquet_is_refused(tmp_path):
    file = write(tmp_path, "bars.parquet", GOOD)
    with pytest.raises(DataError, match=r"bars\.parquet cannot be read: .*replace or remove the file"):
        everything(file)


def test_parquet_without_zone_or_with_text_for_prices_is_refused(tmp_path, two_symbols):
    naive = two_symbols.with_columns(ts=pl.col("opened_at_utc").dt.replace_time_zone(None)).drop("opened_at_utc")
    naive.write_parquet(tmp_path / "naive.parquet")
    with pytest.raises(DataError, match=r"column ts has no time zone, found 2024-01-01 00:00:00; .*ts_utc"):
        everything(tmp_path / "naive.parquet")
    two_symbols.with_columns(close=pl.col("close") > 2).write_parquet(tmp_path / "text.parquet")
    with pytest.raises(DataError, match="column close is Boolean, expected numbers"):
        everything(tmp_path / "text.parquet")
    two_symbols.with_columns(opened_at_utc=pl.lit(1.5)).write_parquet(tmp_path / "float.parquet")
    with pytest.raises(DataError, match="column opened_at_utc is Float64, expected times"):
        everything(tmp_path / "float.parquet")


def test_a_file_without_symbol_needs_a_name_that_is_one(tmp_path):
    file = write(tmp_path, "prices.csv", GOOD)
    with pytest.raises(DataError, match=r"no column symbol, .* rename the file like BTC-USD\.csv"):
        everything(file)


def test_mixed_intervals_in_a_folder_are_refused_with_the_files(tmp_path, make_bars):
    make_bars([1, 2, 3]).write_parquet(tmp_path / "a.parquet")
    make_bars([1, 2, 3], step=timedelta(hours=1)).write_parquet(tmp_path / "b.parquet")
    with pytest.raises(DataError, match=r"mixes intervals: a\.parquet 15m, b\.parquet 1h"):
        FileSource(tmp_path).symbols()


def test_mixed_intervals_between_symbols_of_a_file_are_refused(tmp_path, make_bars):
    hourly = make_bars([1, 2, 3], "ETH/USD", step=timedelta(hours=1))
    pl.concat([make_bars([1, 2, 3]), hourly]).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"mixes intervals \(15m, 1h\)"):
        FileSource(tmp_path / "a.parquet").symbols()


def test_a_change_of_interval_within_a_symbol_is_refused_and_a_hole_is_not(tmp_path, make_bars):
    quarters = make_bars([1.0] * 200)
    hours = make_bars([1.0] * 30, start=START + timedelta(days=10), step=timedelta(hours=1))
    quarters_later = make_bars([1.0] * 30, start=START + timedelta(days=10))
    pl.concat([quarters, hours]).write_parquet(tmp_path / "mixed.parquet")
    pl.concat([quarters, quarters_later]).write_parquet(tmp_path / "hole.parquet")
    with pytest.raises(DataError, match=r"mixes intervals \(15m, 1h\)"):
        everything(tmp_path / "mixed.parquet")
    assert len(everything(tmp_path / "hole.parquet")) == 230


def test_a_bar_that_two_files_hold_is_refused(tmp_path, make_bars):
    make_bars([1, 2, 3]).write_parquet(tmp_path / "a.parquet")
    make_bars([3, 4], start=START + timedelta(minutes=30)).write_parquet(tmp_path / "b.parquet")
    with pytest.raises(DataError, match=r"all files together.*00:30 UTC: the bar is there twice"):
        everything(tmp_path)


def test_another_interval_is_refused_with_the_setting_to_change(tmp_path, make_bars):
    make_bars([1, 2, 3]).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"holds 15m bars, not 1h; set market\.base_interval = '15m'"):
        FileSource(tmp_path).bars(("BTC/USD",), Interval.H1, START, STOP)


def test_unknown_symbols_are_refused_with_those_of_the_file(tmp_path, make_bars):
    make_bars([1, 2, 3], "BTC/USDT").write_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"has no BTC/USD, ETH/USD; it has BTC/USDT\. Set market\.symbols"):
        FileSource(tmp_path).bars(("BTC/USD", "BTC/USDT", "ETH/USD"), Interval.M15, START, STOP)


def test_places_without_bars_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"nowhere does not exist; correct market\.path"):
        FileSource(tmp_path / "nowhere").symbols()
    with pytest.raises(DataError, match=r"holds no \.parquet or \.csv file"):
        FileSource(tmp_path).symbols()
    with pytest.raises(DataError, match=r"neither \.parquet nor \.csv"):
        FileSource(write(tmp_path, "bars.xlsx", "")).symbols()
