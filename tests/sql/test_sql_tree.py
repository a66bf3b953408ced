"""The repository's own sql/ loads, migrates, and does what its examples say."""

from pathlib import Path

import pytest

from cappuccino.store.examples import run_example
from cappuccino.store.models import run_tests
from cappuccino.store.schema import Schema
from cappuccino.store.warehouse import Warehouse

SCHEMA = Schema.load(Path(__file__).parents[2] / "sql")
EXAMPLES = [(file, example) for file in SCHEMA.models.values() for example in file.examples]


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    warehouse = Warehouse(tmp_path_factory.mktemp("sql_tree") / "warehouse.duckdb")
    warehouse.migrate(SCHEMA)
    return warehouse


@pytest.mark.parametrize(
    ("file", "example"), EXAMPLES, ids=[f"{file.full_name}: {example.name}" for file, example in EXAMPLES]
)
def test_a_model_makes_the_expected_rows_of_the_given_ones(file, example):
    difference = run_example(SCHEMA, file, example)
    assert difference is None, difference


def test_every_table_and_view_is_in_a_migrated_warehouse_and_can_be_read(empty):
    with empty.read() as reader:
        columns = {file.full_name: reader.query(f"from {file.full_name}").columns for file in SCHEMA.files}
    assert columns == {file.full_name: list(file.table.names) for file in SCHEMA.files}


def test_every_row_test_runs_and_passes_without_rows_of_ours(empty):
    with empty.read() as reader:
        results = [result for file in SCHEMA.files for result in run_tests(reader, file)]
    assert results
    assert [(result.table, result.name, result.sample) for result in results if not result.passed] == []


def test_a_second_migration_changes_nothing(empty):
    before = empty.file.read_bytes()
    empty.migrate(SCHEMA)
    assert empty.file.read_bytes() == before


def test_times_are_timestamps_whose_names_say_utc():
    for file in SCHEMA.files:
        for column in file.table.columns:
            assert "TIME ZONE" not in column.type, f"{file.full_name}.{column.name} must be naive UTC"
            is_time = column.type == "TIMESTAMP"
            assert column.name.endswith("_utc") == is_time, f"{file.full_name}.{column.name} {column.type}"


def test_amounts_and_fractions_are_numbers():
    texts = [
        f"{file.full_name}.{column.name}"
        for file in SCHEMA.files
        for column in file.table.columns
        if column.name.endswith(("_usd", "_frac", "_bps")) and column.type not in ("DOUBLE", "BIGINT", "INTEGER")
    ]
    assert texts == []
