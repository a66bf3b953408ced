"""`cappuccino trade` as somebody calls it, on the simulated market of now."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from cappuccino.market.interval import DAY
from cappuccino.registry import moves
from cappuccino.registry.record import decide
from cappuccino.store.warehouse import Warehouse
from cappuccino.trading.ledger import FILE, Ledger
from cappuccino.trading.presence import only_trader
from cappuccino.trading.switches import KILL
from tests.unit.small_lab import MODEL
from tests.unit.small_market import END

CAME = END - 3 * DAY


def _look(with_one_model: Any, *usual: str) -> Any:
    return with_one_model("trade", "--once", *usual, holdout_days=0)()


def _rows(folder: Path, query: str) -> list[dict[str, Any]]:
    with closing(Ledger(folder / "desk", is_reader=True)) as ledger:
        return [dict(row) for row in ledger.rows(query)]


@pytest.fixture
def in_production(full_warehouse: Warehouse) -> datetime:
    """The model's way to production; return when it came to the desk."""
    for move, at in ((moves.enter, CAME - DAY), (moves.promote, CAME - DAY), (moves.promote, CAME)):
        decide(full_warehouse, lambda book, move=move, at=at: move(book, MODEL, at, "a test"))  # type: ignore[misc]
    return CAME


def test_one_look_opens_the_account_and_says_what_it_is_worth(
    with_one_model: Any, in_production: datetime, tmp_path: Path
) -> None:
    done = _look(with_one_model)
    assert done.exit_code == 0, done.stderr
    lines = [line[20:] for line in done.stdout.splitlines()]
    assert (
        lines[0]
        == "trading on simulated (simulated market: no price of it ever traded), a look every 60 s; no real money"
    )
    assert lines[-2].startswith("look 1 took ")
    assert lines[-2].endswith(f"s: {MODEL} (production) 10,000.00 USD")
    assert lines[-1] == "ended"
    (account,) = _rows(tmp_path, "select * from accounts")
    assert (account["account"], account["stage"], account["closed_us"]) == (str(MODEL), "production", None)
    (beat,) = _rows(tmp_path, "select * from heartbeats")
    assert (beat["accounts"], beat["trouble"]) == (1, "")


def test_a_second_look_goes_on_with_the_same_account(
    with_one_model: Any, in_production: datetime, tmp_path: Path
) -> None:
    _look(with_one_model)
    (before,) = _rows(tmp_path, "select account, opened_us, cash_usd from accounts")
    assert _look(with_one_model).exit_code == 0
    assert _rows(tmp_path, "select account, opened_us, cash_usd from accounts") == [before]
    assert len(_rows(tmp_path, "select * from heartbeats")) == 2


def test_without_models_it_says_how_to_get_one(with_one_model: Any) -> None:
    done = _look(with_one_model)
    assert done.exit_code == 0, done.stderr
    assert "nobody is in sandbox or production; bring a model there: `cappuccino run`" in done.stdout


def test_without_a_warehouse_it_waits_for_one_and_says_so(cappuccino: Any, tmp_path: Path) -> None:
    done = cappuccino("trade", "--once", "--warehouse", tmp_path / "new")
    assert done.exit_code == 0, done.stderr
    assert "warning: who trades cannot be read, the same go on" in done.stdout


def test_under_the_kill_switch_it_decides_nothing_and_says_so(
    with_one_model: Any, in_production: datetime, tmp_path: Path
) -> None:
    (tmp_path / "desk").mkdir()
    (tmp_path / "desk" / KILL).touch()
    done = _look(with_one_model)
    assert done.exit_code == 0, done.stderr
    assert "critical: the kill switch is on" in done.stdout
    assert not _rows(tmp_path, "select * from decisions")


def test_a_second_trader_is_refused(with_one_model: Any, tmp_path: Path) -> None:
    with only_trader(tmp_path / "desk"):
        done = _look(with_one_model)
    assert done.exit_code == 1
    assert f"process {os.getpid()} trades on" in done.stderr


def test_a_record_without_a_present_is_refused(cappuccino: Any, tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text('market = { source = "files", path = "bars" }')
    done = cappuccino("trade", "--once", "--config", config, "--warehouse", tmp_path / "w")
    assert done.exit_code == 2
    assert "which has no present to trade on" in done.stderr


def test_a_damaged_ledger_is_refused_and_stays_as_it_is(cappuccino: Any, tmp_path: Path) -> None:
    file = tmp_path / "desk" / FILE
    file.parent.mkdir()
    file.write_bytes(b"no database" * 500)
    done = cappuccino("trade", "--once", "--warehouse", tmp_path)
    assert done.exit_code == 1
    assert "Move it away, or restore it from a backup" in done.stderr
    assert file.read_bytes() == b"no database" * 500


def test_sigterm_ends_it_after_the_look_under_way(tmp_path: Path) -> None:
    program = "from cappuccino.cli import main; main()"
    command = [sys.executable, "-c", program, "trade", "--warehouse", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as trader:
        assert trader.stdout is not None
        assert "trading on simulated" in trader.stdout.readline()
        trader.send_signal(signal.SIGTERM)
        rest = trader.stdout.read()
    assert trader.returncode == 0
    assert rest.splitlines()[-1].endswith("ended")
