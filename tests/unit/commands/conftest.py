"""A warehouse on its first day beside the one of a whole life."""

import pytest

from cappuccino.store.schema import SQL_DIR, Schema
from cappuccino.store.warehouse import Warehouse


@pytest.fixture(scope="session")
def first_day(tmp_path_factory):
    """A warehouse folder with tables but without rows; nobody changes it."""
    folder = tmp_path_factory.mktemp("first_day")
    Warehouse(folder / "cappuccino.duckdb").migrate(Schema.load(SQL_DIR))
    return folder
