from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cappuccino.errors import ContractError
from cappuccino.store.warehouse import Warehouse

DAY = datetime(2025, 1, 1, tzinfo=UTC)
COLUMNS = ("symbol", "opened_at_utc", "close", "volume")


def bars(*rows):
    """Rows (symbol, day, close) with volume 1."""
    return pl.DataFrame(
        [(symbol, DAY + timedelta(days=day), float(close), 1.0) for symbol, day, close in rows],
        schema=dict(zip(COLUMNS, (pl.String, pl.Datetime("us", "UTC"), pl.Float64, pl.Float64), strict=True)),
        orient="row",
    )


def stored(warehouse):
    frame = warehouse.query("select symbol, opened_at_utc, close from market.bars order by all")
    return [(symbol, (at - DAY).days, close) for symbol, at, close in frame.iter_rows()]


def append(warehouse, frame, table="market.bars"):
    with warehouse.write() as writer:
        return writer.append(table, frame)


def test_append_adds_rows_and_counts_them(warehouse):
    assert append(warehouse, bars(("BTC/USD", 0, 10), ("ETH/USD", 0, 5))) == 2
    assert append(warehouse, bars(("BTC/USD", 1, 11))) == 1
    assert stored(warehouse) == [("BTC/USD", 0, 10.0), ("BTC/USD", 1, 11.0), ("ETH/USD", 0, 5.0)]


def test_append_of_a_key_that_is_there_is_refused_with_the_key(warehouse):
    append(warehouse, bars(("BTC/USD", 0, 10)))
    with pytest.raises(ContractError, match=r"(?s)Duplicate key.*BTC/USD"):
        append(warehouse, bars(("ETH/USD", 0, 5), ("BTC/USD", 0, 11)))
    assert stored(warehouse) == [("BTC/USD", 0, 10.0)]


@pytest.mark.parametrize("method", ["append", "upsert"])
def test_a_key_that_comes_twice_in_the_rows_is_refused(warehouse, method):
    twice = bars(("BTC/USD", 0, 10), ("BTC/USD", 0, 11))
    said = r"duplicate key in the rows for market\.bars: symbol=BTC/USD.* 2 rows"
    with pytest.raises(ContractError, match=said), warehouse.write() as writer:
        getattr(writer, method)("market.bars", twice)
    assert stored(warehouse) == []


def test_upsert_replaces_rows_of_the_same_key_and_adds_the_others(warehouse):
    append(warehouse, bars(("BTC/USD", 0, 10), ("BTC/USD", 1, 11)))
    with warehouse.write() as writer:
        assert writer.upsert("market.bars", bars(("BTC/USD", 1, 99), ("BTC/USD", 2, 12))) == 2
    assert stored(warehouse) == [("BTC/USD", 0, 10.0), ("BTC/USD", 1, 99.0), ("BTC/USD", 2, 12.0)]


def test_upsert_needs_a_primary_key(warehouse):
    frame = bars(("BTC/USD", 0, 10)).select("symbol", "opened_at_utc")
    with (
        pytest.raises(ContractError, match=r"features\.features has no primary key"),
        warehouse.write() as writer,
    ):
        writer.upsert("features.features", frame)


def test_replace_exchanges_one_part_and_leaves_the_rest(warehouse):
    append(warehouse, bars(("BTC/USD", 0, 10), ("BTC/USD", 1, 11), ("BTC/USD", 2, 12)))
    with warehouse.write() as writer:
        n = writer.replace(
            "market.bars", bars(("BTC/USD", 1, 99)), "opened_at_utc >= $start", start=DAY + timedelta(days=1)
        )
    assert n == 1
    assert stored(warehouse) == [("BTC/USD", 0, 10.0), ("BTC/USD", 1, 99.0)]


def test_replace_by_no_rows_deletes_the_part(warehouse):
    append(warehouse, bars(("BTC/USD", 0, 10), ("ETH/USD", 0, 5)))
    with warehouse.write() as writer:
        assert writer.replace("market.bars", bars(), "symbol = $symbol", symbol="ETH/USD") == 0
    assert stored(warehouse) == [("BTC/USD", 0, 10.0)]


def test_replace_twice_in_one_transaction_keeps_the_second(warehouse):
    with warehouse.write() as writer:
        writer.replace("market.bars", bars(("BTC/USD", 0, 10)), "true")
        writer.replace("market.bars", bars(("BTC/USD", 0, 11)), "true")
    assert stored(warehouse) == [("BTC/USD", 0, 11.0)]


def test_a_refused_replacement_deletes_nothing_even_when_the_refusal_is_caught(warehouse):
    append(warehouse, bars(("BTC/USD", 0, 10)))
    with warehouse.write() as writer:
        with pytest.raises(ContractError, match="missing columns close"):
            writer.replace("market.bars", bars(("BTC/USD", 0, 5)).drop("close"), "true")
        with pytest.raises(ContractError, match="outside"):
            writer.replace("market.bars", bars(("BTC/USD", 0, 5)), "symbol = 'ETH/USD'")
    assert stored(warehouse) == [("BTC/USD", 0, 10.0)]


def test_replace_refuses_rows_outside_of_the_part(warehouse):
    append(warehouse, bars(("BTC/USD", 0, 10)))
    with (
        pytest.raises(ContractError, match=r"1 rows for market\.bars lie outside"),
        warehouse.write() as writer,
    ):
        writer.replace("market.bars", bars(("ETH/USD", 0, 5), ("BTC/USD", 0, 9)), "symbol = $symbol", symbol="BTC/USD")
    assert stored(warehouse) == [("BTC/USD", 0, 10.0)]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: f.drop("close"), r"rows for market\.bars have missing columns close; it has symbol"),
        (lambda f: f.with_columns(closing=1.0), r"unknown columns closing"),
        (lambda f: f.rename({"close": "closing"}), r"missing columns close and unknown columns closing"),
        (
            lambda f: f.with_columns(close=pl.Series([1.0, None])),
            r"null in market\.bars\.close.*row 1: .*ETH/USD",
        ),
        (lambda f: f.with_columns(close=None), r"null in market\.bars\.close"),
        (
            lambda f: f.with_columns(close=pl.lit("1")),
            r"market\.bars\.close is DOUBLE, the rows bring VARCHAR",
        ),
        (
            lambda f: f.with_columns(symbol=pl.lit(1)),
            r"market\.bars\.symbol is VARCHAR, the rows bring INTEGER",
        ),
        (
            lambda f: f.with_columns(close=[[1.0], [2.0]]),
            r"market\.bars\.close is DOUBLE, the rows bring DOUBLE\[\]",
        ),
        (
            lambda f: f.with_columns(pl.col("opened_at_utc").dt.date()),
            r"opened_at_utc is TIMESTAMP, the rows bring DATE",
        ),
        (
            lambda f: f.with_columns(pl.col("opened_at_utc").dt.replace_time_zone(None)),
            r"must be aware UTC, found opened_at_utc \(Datetime",
        ),
        (
            lambda f: f.with_columns(pl.col("opened_at_utc").dt.convert_time_zone("Europe/Berlin")),
            r"must be aware UTC, found opened_at_utc",
        ),
    ],
)
def test_rows_that_break_the_contract_are_refused_by_name(warehouse, change, said):
    frame = bars(("BTC/USD", 0, 10), ("ETH/USD", 0, 5))
    with pytest.raises(ContractError, match=said):
        append(warehouse, change(frame))
    assert stored(warehouse) == []


def test_a_column_with_a_default_may_be_left_out(warehouse):
    append(warehouse, bars(("BTC/USD", 0, 10)).drop("volume"))
    assert warehouse.query("select volume from market.bars")["volume"].to_list() == [0.0]


def test_order_of_columns_does_not_matter_and_whole_numbers_fit_doubles(warehouse):
    frame = bars(("BTC/USD", 0, 10)).select(*reversed(COLUMNS)).with_columns(close=pl.lit(3, pl.Int64), volume=None)
    append(warehouse, frame)
    assert warehouse.query("select close, volume from market.bars").row(0) == (3.0, None)


def test_a_fraction_does_not_become_a_whole_number_by_accident(warehouse):
    with warehouse.write() as writer:
        writer.execute("create table market.counts (n utinyint)")
        with pytest.raises(ContractError, match=r"market\.counts\.n is UTINYINT, the rows bring DOUBLE"):
            writer.append("market.counts", pl.DataFrame({"n": [1.5]}))


def test_a_number_too_large_for_its_column_is_the_rows_fault(warehouse):
    with warehouse.write() as writer:
        writer.execute("create table market.counts (n utinyint)")
    with pytest.raises(ContractError, match="300"):
        append(warehouse, pl.DataFrame({"n": [300]}), "market.counts")


def test_an_unknown_table_is_named_with_those_there_are(warehouse):
    with pytest.raises(ContractError, match=r"no table market\.trades .*market\.bars"):
        append(warehouse, bars(), "market.trades")


def test_nested_columns_and_enumerations_are_stored(warehouse):
    with warehouse.write() as writer:
        writer.execute("create table market.nested (l double[], t timestamp[], kind varchar, s struct(a bigint))")
    frame = pl.DataFrame(
        {"l": [[1, 2]], "t": [[DAY]], "kind": pl.Series(["a"], dtype=pl.Enum(["a", "b"])), "s": [{"a": 1}]},
        schema_overrides={"t": pl.List(pl.Datetime("us", "UTC"))},
    )
    append(warehouse, frame, "market.nested")
    assert warehouse.query("from market.nested").row(0) == ([1.0, 2.0], [DAY], "a", {"a": 1})


def features(**columns):
    return bars(("BTC/USD", 0, 1)).select("symbol", "opened_at_utc").with_columns(**columns)


def test_an_extensible_table_takes_new_double_columns_and_views_on_it_go_on_working(warehouse):
    with warehouse.write() as writer:
        writer.execute("create view features.seen as select * from features.features")
    append(warehouse, features(rsi_14=50.0), "features.features")
    append(warehouse, features(rsi_14=51.0, log_close=0.5), "features.features")
    append(warehouse, features(log_close=0.6), "features.features")
    found = warehouse.query("select rsi_14, log_close from features.features order by rsi_14, log_close")
    assert found.rows() == [(50.0, None), (51.0, 0.5), (None, 0.6)]
    assert len(warehouse.query("from features.seen")) == 3


def test_an_extensible_table_takes_no_other_new_columns_and_still_needs_its_own(warehouse):
    with pytest.raises(ContractError, match="unknown columns note"):
        append(warehouse, features(note=pl.lit("x")), "features.features")
    with pytest.raises(ContractError, match="missing columns symbol"):
        append(warehouse, features(rsi_14=1.0).drop("symbol"), "features.features")
    assert warehouse.query("from features.features").columns == ["symbol", "opened_at_utc"]


KEYS = st.tuples(st.sampled_from(["A", "B"]), st.integers(0, 3))
STEPS = st.lists(
    st.tuples(st.sampled_from(["upsert", "replace"]), st.dictionaries(KEYS, st.integers(1, 9))), max_size=6
)


@settings(
    max_examples=10,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=STEPS)
def test_upserts_and_replacements_agree_with_a_dictionary(warehouse: Warehouse, steps):
    expected: dict[tuple[str, int], int] = {}
    with warehouse.write() as writer:
        writer.replace("market.bars", bars(), "true")
        for kind, rows in steps:
            if kind == "replace":
                rows = {key: close for key, close in rows.items() if key[0] == "A"}
                expected = {key: close for key, close in expected.items() if key[0] != "A"}
            expected |= rows
            frame = bars(*((*key, close) for key, close in rows.items()))
            if kind == "replace":
                writer.replace("market.bars", frame, "symbol = 'A'")
            else:
                writer.upsert("market.bars", frame)
    assert stored(warehouse) == sorted((*key, float(close)) for key, close in expected.items())
