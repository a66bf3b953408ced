"""A warehouse on its first day, and one with a single model, beside the one of a whole life."""

import json

import pytest

from cappuccino.store.schema import SQL_DIR, Schema
from cappuccino.store.warehouse import Warehouse
from tests.unit.small_lab import add_one_model
from tests.unit.small_market import END, SYMBOLS


@pytest.fixture(scope="session")
def first_day(tmp_path_factory):
    """A warehouse folder with tables but without rows; nobody changes it."""
    folder = tmp_path_factory.mktemp("first_day")
    Warehouse(folder / "cappuccino.duckdb").migrate(Schema.load(SQL_DIR))
    return folder


@pytest.fixture
def with_one_model(full_warehouse, tmp_path, cappuccino):
    """Return a function that returns a command on a warehouse with one model, as a function of more arguments."""
    add_one_model(full_warehouse, tmp_path / "artifacts")
    with full_warehouse.write() as writer:
        # The record ends where its bars do.
        writer.execute("update ops.syncs set record_ends_utc = $end", end=END)

    def command(name, *usual, holdout_days):
        config = tmp_path / "c.toml"
        config.write_text(
            f"""
            market = {{ symbols = {json.dumps(SYMBOLS)}, base_interval = "1h" }}
            timeframe = {{ intervals = ["1h"] }}
            training = {{ holdout_days = {holdout_days} }}
            """
        )
        options = (*usual, "--config", config, "--warehouse", tmp_path)
        return lambda *arguments: cappuccino(name, *arguments, *options)

    return command
