import math
from dataclasses import replace

import pytest

from cappuccino.errors import ContractError
from cappuccino.store import models
from cappuccino.store.examples import run_example
from cappuccino.store.header import Example
from cappuccino.store.schema import Schema

ROWS = """
insert into market.bars values
    ('BTC/USD', '2025-01-01', 10, 1), ('BTC/USD', '2025-01-02', 20, null),
    ('ETH/USD', '2025-01-01', 'nan', 0), ('ETH/USD', '2025-01-02', -5, -1), ('DOGE/USD', '2025-01-01', 1, 1)
"""


def results(warehouse, file):
    with warehouse.read() as reader:
        return {result.name: result for result in models.run_tests(reader, file)}


def test_building_a_table_takes_the_rows_as_they_are_now(warehouse, schema):
    with warehouse.write() as writer:
        writer.execute(ROWS)
        models.build(writer, schema.models["lab.daily"])
    assert warehouse.query("select n_symbols from lab.daily order by day")["n_symbols"].to_list() == [3, 2]


def test_building_again_replaces_and_keeps_comments(warehouse, schema):
    for _ in range(2):
        with warehouse.write() as writer:
            models.build(writer, schema.models["lab.daily"])
    said = warehouse.query("select comment from duckdb_columns() where table_name = 'daily' order by column_index")
    assert said["comment"].to_list() == ["UTC day.", "Symbols with a bar.", "Highest newest close."]


def test_row_tests_count_the_rows_that_fail(warehouse, schema):
    with warehouse.write() as writer:
        writer.execute(ROWS)
    found = results(warehouse, schema.contracts["market.bars"])
    assert {name: result.n_failed for name, result in found.items()} == {
        "not_null(symbol)": 0,
        "not_null(close)": 0,
        "unique(symbol, opened_at_utc)": 0,
        "positive(close)": 2,  # NaN and -5
        "accepted(symbol)": 1,  # DOGE
        "expression(volume >= 0)": 2,  # null is not true, -1
    }
    assert found["not_null(symbol)"].passed
    assert not found["positive(close)"].passed


def test_a_failing_test_shows_some_of_its_rows_and_the_query_for_all(warehouse, schema):
    with warehouse.write() as writer:
        writer.execute("insert into market.bars select 'X' || range, '2025-01-01', 1, 1 from range(9)")
    result = results(warehouse, schema.contracts["market.bars"])["accepted(symbol)"]
    assert (result.n_failed, len(result.sample)) == (9, 5)
    assert all(row["symbol"].startswith("X") for row in result.sample)
    assert len(warehouse.query(result.failing_sql)) == 9


def test_unique_counts_keys_and_relationship_finds_orphans(warehouse, write_sql):
    loose = """/*
description: d
grain: g
columns: {symbol: s}
tests: [{unique: [symbol]}, {not_null: [symbol]}, {relationship: {column: symbol, to: market.bars.symbol}}]
*/
create table lab.loose (symbol varchar)
"""
    schema = Schema.load(write_sql({"lab/loose": loose}))
    warehouse.migrate(schema)
    with warehouse.write() as writer:
        writer.execute(ROWS)
        writer.execute("insert into lab.loose values ('A'), ('A'), ('A'), ('BTC/USD'), ('BTC/USD'), (null)")
    found = results(warehouse, schema.contracts["lab.loose"])
    assert {name: result.n_failed for name, result in found.items()} == {
        "unique(symbol)": 2,
        "not_null(symbol)": 1,
        "relationship(symbol -> market.bars.symbol)": 3,
    }
    assert {"symbol": "A", "n_rows": 3} in found["unique(symbol)"].sample


def example(**changes):
    given = {"market.bars": [{"symbol": "A", "opened_at_utc": "2025-01-01 00:00", "close": 0.1}]}
    return Example(**({"given": given, "expect": [{"symbol": "A", "close": 0.1}]} | changes))


def run(schema, tried, model="market.last_close"):
    return run_example(schema, schema.models[model], tried)


def test_an_example_that_holds_has_no_difference(schema):
    (written,) = schema.models["market.last_close"].examples
    assert run(schema, written) is None
    assert run(schema, example()) is None


def test_an_example_compares_only_the_columns_it_names_in_any_order(schema):
    rows = [{"symbol": s, "opened_at_utc": "2025-01-01 00:00", "close": 1} for s in ("B", "A")]
    assert run(schema, example(given={"market.bars": rows}, expect=[{"symbol": "A"}, {"symbol": "B"}])) is None


def test_an_example_may_look_at_some_rows_only(schema):
    rows = [{"symbol": s, "opened_at_utc": "2025-01-01 00:00", "close": 1} for s in ("B", "A")]
    tried = example(given={"market.bars": rows}, where="symbol = 'B'", expect=[{"symbol": "B", "close": 1}])
    assert run(schema, tried) is None


def test_rounding_is_no_difference(schema):
    assert run(schema, example(expect=[{"symbol": "A", "close": 0.1 * (1 + 1e-12)}])) is None
    assert run(schema, example(expect=[{"symbol": "A", "close": math.nextafter(0.1, 1)}])) is None


@pytest.mark.parametrize(
    "expect",
    [
        [{"symbol": "A", "close": 0.1001}],
        [{"symbol": "B", "close": 0.1}],
        [{"symbol": "A", "close": None}],
        [],
        [{"symbol": "A", "close": 0.1}, {"symbol": "A", "close": 0.1}],
    ],
)
def test_an_example_that_does_not_hold_shows_both_sides(schema, expect):
    difference = run(schema, example(name="mine", expect=expect))
    assert difference is not None
    assert "market.last_close, example 'mine'" in difference
    assert "found    A, 0.1" in difference


def test_models_between_are_computed_unless_they_are_given(schema):
    bars = [{"symbol": "A", "opened_at_utc": "2025-01-01 00:00", "close": 4}]
    computed = example(given={"market.bars": bars}, expect=[{"n_symbols": 1, "highest": 4}])
    assert run(schema, computed, "lab.daily") is None
    given = {"market.bars": bars, "market.last_close": [{"symbol": "A", "close": 9}]}
    assert run(schema, example(given=given, expect=[{"highest": 9}]), "lab.daily") is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"given": {"lab.daily": []}}, r"gives lab.daily, but the model reads market.bars"),
        ({"given": {"market.bars": [{"price": 1}]}}, "price"),
        ({"given": {"market.bars": [{"close": "much"}]}}, "much"),
        ({"expect": [{"price": 1}]}, "expects price"),
        ({"where": "nothing = 1"}, "nothing"),
    ],
)
def test_an_example_that_cannot_run_says_why(schema, changes, said):
    with pytest.raises(ContractError, match=rf"(?s)example 'mine' of market.last_close.*{said}"):
        run(schema, example(name="mine", **changes))


def test_an_example_checks_the_model_and_not_a_copy_of_it(schema):
    model = schema.models["market.last_close"]
    wrong = replace(model, sql=model.sql.replace("arg_max", "arg_min"))
    (written,) = model.examples
    assert run_example(schema, wrong, written) is not None
