"""A real warehouse, migrated once and copied for each test."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cappuccino.settings import Settings, load
from cappuccino.store.warehouse import Warehouse
from tests.unit.small_market import END, SCHEMA, START, SYMBOLS, sync


@pytest.fixture(scope="session")
def first_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("small") / "cappuccino.duckdb"
    Warehouse(file).migrate(SCHEMA)
    return file


@pytest.fixture
def new_warehouse(tmp_path: Path, first_file: Path) -> Warehouse:
    """A migrated warehouse without rows, where `Settings.warehouse = tmp_path` expects it."""
    return Warehouse(Path(shutil.copy(first_file, tmp_path)), timeout_s=20)


@pytest.fixture(scope="session")
def full_file(tmp_path_factory: pytest.TempPathFactory, first_file: Path) -> Path:
    file = Path(shutil.copy(first_file, tmp_path_factory.mktemp("full")))
    sync(Warehouse(file), START, END)
    return file


@pytest.fixture
def full_warehouse(tmp_path: Path, full_file: Path) -> Warehouse:
    """A migrated warehouse with all bars of the small market."""
    return Warehouse(Path(shutil.copy(full_file, tmp_path)), timeout_s=20)


@pytest.fixture
def small_settings(tmp_path: Path) -> Settings:
    """The demo's settings over `tmp_path` and the small market, whatever configuration lies around."""
    file = tmp_path / "empty.toml"
    file.write_text("")
    market = {"symbols": SYMBOLS, "base_interval": "1h", "end": None}
    return load(file, {"warehouse": tmp_path, "market": market, "training": {"holdout_days": 0}})
