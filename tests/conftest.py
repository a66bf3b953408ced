"""One whole life of a model, lived once a session on the simulated market, for all tests that look at it."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine, event

from cappuccino.cli import main
from cappuccino.settings import Settings, load
from cappuccino.store.warehouse import Warehouse

# With a streak of one somebody is promoted whatever was learned, and an odd number of trials leaves one in the arena.
LIFE = """\
[market]
symbols = ["BTC/USD", "ETH/USD", "LTC/USD"]
base_interval = "1h"
history_days = 100
end = "2025-07-01T00:00:00Z"
[timeframe]
intervals = ["1h", "4h"]
lookbacks = [4, 8]
trials = 4
updates = 2
[training]
trials = 5
n_folds = 2
updates = 2
n_groups = 2
n_accounts = 2
horizon = 8
max_width = 64
arena_days = 8
holdout_days = 4
checkpoint_every = 2
startup_trials = 5
[features]
indicators = ["rsi_14"]
extras = ["roc_12"]
[trees]
trials = 2
[ensembles]
members = 3
keep = 2
reward_bars = 24
drop_every_bars = 12
[arena]
min_sharpe = -1000
min_profit_factor = 0
streak = 1
windows = 3
window_days = 1
[run]
holdback_days = 4
step_hours = 48
"""


def weights_of(folder: Path, model: str) -> Path:
    """Return the file of a model's weights, whatever its family."""
    (file,) = (path for path in (folder / "artifacts" / model).iterdir() if path.name != "manifest.json")
    return file


LONGEST_FIRST = (
    "dagster/test_replay.py",
    "dagster/test_whole_life.py",
    "unit/search/test_ray_pool.py",
    "unit/search/test_coordinator.py",
    "unit/search/test_disasters.py",
    "dagster/test_definitions.py",
    "dagster/test_bars_command.py",
    "unit/rl/test_runner.py",
    "unit/commands/test_pipeline_commands.py",
    "unit/market/test_record.py",
)


Cappuccino = Callable[..., Result]


@dataclass(frozen=True)
class Life:
    """A warehouse folder, and what `cappuccino run` said when it was made."""

    folder: Path
    config: Path
    outcome: dict[str, Any]
    """What `run --json` printed."""
    said: str
    """Its progress, on stderr."""

    @property
    def settings(self) -> Settings:
        return load(self.config, {"warehouse": self.folder})

    @property
    def warehouse(self) -> Warehouse:
        return Warehouse(self.folder / "cappuccino.duckdb")

    @property
    def options(self) -> tuple[str, ...]:
        """What leads every command here."""
        return ("--config", str(self.config), "--warehouse", str(self.folder))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first: each stays on one process, and the last one of all would keep only that one busy."""
    rank = {Path(__file__).parent / name: n for n, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: rank.get(item.path, len(rank)))


@pytest.fixture(scope="session", autouse=True)
def _dagster_never_waits_for_the_disk() -> Iterator[None]:
    """Its records of tests need not survive a power cut, and it commits thousands of times."""
    event.listen(Engine, "connect", _trust_the_kernel)
    yield
    event.remove(Engine, "connect", _trust_the_kernel)


def _trust_the_kernel(connection: Any, _: object) -> None:
    connection.execute("pragma synchronous = off")


@pytest.fixture(autouse=True)
def _no_configuration_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in _configuration():
        monkeypatch.delenv(name)


def _configuration() -> list[str]:
    return [name for name in os.environ if name.startswith("CAPPUCCINO_") or name == "DAGSTER_HOME"]


@pytest.fixture(scope="session")
def cappuccino() -> Cappuccino:
    """The command line, in this process; an unexpected exception is the test's, an expected one an exit code."""

    def call(*arguments: str | Path, **environment: str) -> Result:
        # DAGSTER_HOME is named, so that what a command sets is taken back at its end.
        unset = dict.fromkeys([*_configuration(), "DAGSTER_HOME"])
        runner = CliRunner(env={**unset, **environment})
        return runner.invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)

    return call


@pytest.fixture(scope="session")
def life(tmp_path_factory: pytest.TempPathFactory, cappuccino: Cappuccino) -> Life:
    """Nobody changes it. Made by the first test process that asks; the others wait and take the same."""
    base = tmp_path_factory.getbasetemp()
    root = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, config, record = root / "life", root / "life.toml", root / "life.json"
    with (root / "life.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not record.exists():
            config.write_text(LIFE)
            lived = cappuccino("run", "--json", "--config", config, "--warehouse", folder)
            record.write_text(json.dumps([lived.exit_code, lived.stdout, lived.stderr]))
    exit_code, stdout, stderr = json.loads(record.read_text())
    assert exit_code == 0, stderr
    return Life(folder, config, json.loads(stdout), stderr)


@pytest.fixture
def another_life(life: Life, tmp_path: Path) -> Life:
    """A copy, to change."""
    folder = tmp_path / "warehouse"
    shutil.copytree(life.folder, folder, ignore=shutil.ignore_patterns(".dagster", "*.lock", "*.gate"))
    return Life(folder, life.config, life.outcome, life.said)


@pytest.fixture(scope="session")
def production(life: Life) -> str:
    """The model in production: STUDY/TRIAL."""
    return str(life.outcome["production"][0]["subject"])
