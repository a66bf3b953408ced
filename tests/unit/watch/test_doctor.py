from __future__ import annotations

import fcntl
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cappuccino.settings import Settings, load
from cappuccino.store.warehouse import Warehouse
from cappuccino.watch.doctor import Finding, examine, machine, record
from cappuccino.watch.doctor.record import Contents

NOW = datetime(2025, 7, 1, tzinfo=UTC)
MODELS = {"study": pl.String, "trial": pl.Int64}


def settings_of(folder: Path, **overrides: Any) -> Settings:
    file = folder / "doctor.toml"
    file.write_text("")
    return load(file, {"warehouse": folder / "warehouse", **overrides})


def by_subject(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.subject: finding for finding in findings}


def contents(known_until: dict[str, datetime]) -> Contents:
    rows = {"symbol": list(known_until), "known_until_utc": list(known_until.values())}
    return Contents(pl.DataFrame(rows), pl.DataFrame(schema=MODELS))


def write_bars(folder: Path, symbol: str = "BTC/USD") -> Path:
    opened = [NOW - timedelta(minutes=15 * t) for t in range(8, 0, -1)]
    prices = {name: pl.lit(10.0) for name in ("open", "high", "low", "close", "volume")}
    bars = pl.DataFrame({"symbol": symbol, "ts": opened}).with_columns(**prices)
    file = folder / "bars.parquet"
    bars.write_parquet(file)
    return file


def test_bad_news_without_advice_cannot_be_told() -> None:
    with pytest.raises(ValueError, match="gives no advice"):
        Finding("disk", "fail", "full")


def test_a_fresh_machine_is_told_to_run_and_nothing_fails(tmp_path: Path) -> None:
    found = by_subject(examine(settings_of(tmp_path), NOW, tmp_path / ".env"))
    assert found["warehouse"].status == "warn"
    assert "cappuccino run" in found["warehouse"].advice
    assert [f.subject for f in found.values() if f.status == "fail"] == []
    assert not (tmp_path / "warehouse").exists()


def test_a_warehouse_in_good_order_has_no_findings_but_its_age(empty_warehouse: Warehouse) -> None:
    folder = empty_warehouse.file.parent
    found = by_subject(examine(settings_of(folder, warehouse=folder), NOW, folder / ".env"))
    assert found["warehouse"].status == "ok"
    assert found["bars"].found == "none are stored"
    assert found["model"].status == "ok"
    assert found["published copy"].status == "warn"
    empty_warehouse.publish(folder / "published.duckdb")
    assert record.published(settings_of(folder, warehouse=folder)).status == "ok"


def test_an_old_python_is_refused() -> None:
    assert machine.python((3, 10, 9)).status == "fail"
    assert machine.python((3, 11, 0)).status == "ok"
    assert machine.python((3, 13, 1)) == Finding("python", "ok", "3.13.1")


def test_missing_and_wrong_libraries_are_named_with_what_is_wanted() -> None:
    have = {"torch": "2.12.0", "duckdb": "2.0.0"}
    finding = machine.libraries(["torch==2.13.0", "duckdb>=1.5.5,<3", "rich>=13", 'ruff; extra == "dev"'], have.get)
    assert finding.status == "fail"
    assert finding.found == "torch 2.12.0 is not ==2.13.0; rich is missing"
    assert "pip install" in finding.advice


def test_a_local_build_of_the_wanted_version_is_fine() -> None:
    assert machine.libraries(["torch==2.13.0"], {"torch": "2.13.0+cpu"}.get).status == "ok"


def test_the_libraries_of_this_very_environment_are_as_required() -> None:
    assert machine.libraries(machine.required(), machine.installed).status == "ok"


@pytest.mark.parametrize(("free_mb", "status"), [(499, "fail"), (500, "ok")])
def test_disk_space_is_judged_by_what_training_needs(tmp_path: Path, free_mb: int, status: str) -> None:
    finding = machine.disk(tmp_path / "not" / "there", 500, lambda _: free_mb * 1_000_000)
    assert finding.status == status
    assert f"{free_mb} MB are free at {tmp_path}" in finding.found


@pytest.mark.parametrize(("mode", "status"), [(0o600, "ok"), (0o400, "ok"), (0o640, "fail"), (0o604, "fail")])
def test_a_file_of_secrets_must_be_private(tmp_path: Path, mode: int, status: str) -> None:
    file = tmp_path / ".env"
    file.write_text("KEY=1")
    file.chmod(mode)
    finding = machine.secrets(file)
    assert finding.status == status
    assert finding.advice == ("" if status == "ok" else f"run `chmod 600 {file}`")


def test_live_trading_is_always_worth_a_warning(tmp_path: Path) -> None:
    live = settings_of(tmp_path, profile="live", live={"enabled": True})
    assert record.configuration(live).status == "warn"
    assert record.configuration(settings_of(tmp_path)).status == "ok"


def test_a_missing_file_of_bars_fails_with_its_name(tmp_path: Path) -> None:
    market = {"source": "files", "path": tmp_path / "missing.parquet"}
    finding, end = record.source(settings_of(tmp_path, market=market))
    assert finding.status == "fail"
    assert "missing.parquet" in finding.found
    assert end is None


def test_files_are_judged_by_the_symbols_that_are_wanted(tmp_path: Path) -> None:
    market = {"source": "files", "path": write_bars(tmp_path), "symbols": ["BTC/USD"]}
    finding, end = record.source(settings_of(tmp_path, market=market))
    assert (finding.status, end) == ("ok", NOW)
    finding, _ = record.source(settings_of(tmp_path, market={**market, "symbols": ["BTC/USD", "ETH/USD"]}))
    assert finding.status == "fail"
    assert "without ETH/USD" in finding.found


def test_a_file_in_the_place_of_the_warehouse_folder_fails(tmp_path: Path) -> None:
    chosen = settings_of(tmp_path)
    chosen.warehouse.write_text("")
    assert record.folder(chosen).status == "fail"


def test_a_damaged_warehouse_fails_with_what_to_do(tmp_path: Path) -> None:
    chosen = settings_of(tmp_path)
    chosen.warehouse.mkdir()
    chosen.database.write_bytes(b"no database" * 1000)
    finding, found = record.warehouse(chosen)
    assert finding.status == "fail"
    assert finding.advice
    assert found is None


def test_a_warehouse_of_a_newer_cappuccino_is_left_alone(empty_warehouse: Warehouse) -> None:
    with empty_warehouse.write() as writer:
        writer.execute("update meta.schema_version set version = 99")
    folder = empty_warehouse.file.parent
    finding, found = record.warehouse(settings_of(folder, warehouse=folder))
    assert finding.status == "fail"
    assert "update Cappuccino" in finding.advice
    assert found is None


def test_a_writer_is_named_and_not_waited_for_long(empty_warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "READ_TIMEOUT_S", 0.05)
    folder = empty_warehouse.file.parent
    with empty_warehouse.file.with_name("cappuccino.duckdb.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        finding, found = record.warehouse(settings_of(folder, warehouse=folder))
    assert finding.status == "warn"
    assert str(os.getpid()) in finding.found
    assert found is None


def test_a_running_study_is_named_by_its_process(tmp_path: Path) -> None:
    chosen = settings_of(tmp_path)
    chosen.warehouse.mkdir()
    assert record.training(chosen).status == "ok"
    with (chosen.warehouse / "training.lock").open("w") as lock:
        lock.write("4711")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        busy = record.training(chosen)
    assert (busy.status, "4711" in busy.found) == ("warn", True)
    assert record.training(chosen).status == "ok"


@pytest.mark.parametrize(("age_minutes", "status"), [(0, "ok"), (20, "ok"), (21, "warn")])
def test_bars_are_stale_after_two_intervals_and_the_grace_time(tmp_path: Path, age_minutes: int, status: str) -> None:
    chosen = settings_of(tmp_path, market={"symbols": ["BTC/USD"]})
    # A 15m bar that closed 20 minutes ago opened 35 minutes ago: two intervals and five minutes.
    finding = record.bars(chosen, contents({"BTC/USD": NOW - timedelta(minutes=age_minutes)}), NOW)
    assert finding.status == status


def test_the_stalest_wanted_symbol_counts_and_a_missing_one_fails(tmp_path: Path) -> None:
    chosen = settings_of(tmp_path, market={"symbols": ["BTC/USD", "ETH/USD"]})
    old = NOW - timedelta(days=2)
    stale = record.bars(chosen, contents({"BTC/USD": NOW, "ETH/USD": old, "UNI/USD": NOW}), NOW)
    assert stale.status == "warn"
    assert stale.found.startswith("ETH/USD is stale")
    unwanted = record.bars(chosen, contents({"BTC/USD": NOW, "ETH/USD": NOW, "UNI/USD": old}), NOW)
    assert unwanted.status == "ok"
    missing = record.bars(chosen, contents({"BTC/USD": NOW}), NOW)
    assert (missing.status, "ETH/USD" in missing.found) == ("fail", True)


def test_a_record_that_ends_is_fresh_at_its_end_however_late_it_is(empty_warehouse: Warehouse) -> None:
    """The demo's market ends in July; a year later its last bar is still the newest there can be."""
    folder = empty_warehouse.file.parent
    bar = {"symbol": "BTC/USD", "open": 1.0, "high": 1.0, "low": 1.0, "close": 1.0, "volume": 1.0}
    times = {"opened_at_utc": NOW - timedelta(minutes=15), "closed_at_utc": NOW, "ingested_at_utc": NOW}
    with empty_warehouse.write() as writer:
        writer.append("market.bars", pl.DataFrame([{**bar, **times, "source": "simulated"}]))
    market = {"symbols": ["BTC/USD"]}
    chosen = settings_of(folder, warehouse=folder, market={**market, "end": NOW})
    assert by_subject(examine(chosen, NOW + timedelta(days=365)))["bars"].status == "ok"
    endless = settings_of(folder, warehouse=folder, profile="paper", market=market)
    assert by_subject(examine(endless, NOW + timedelta(days=365)))["bars"].status == "warn"


def test_a_model_in_production_without_its_files_fails(tmp_path: Path) -> None:
    producers = pl.DataFrame({"study": ["s"], "trial": [3]})
    finding = record.artifacts(settings_of(tmp_path), Contents(pl.DataFrame(), producers))
    assert finding.status == "fail"
    assert "manifest.json" in finding.found
    assert "cappuccino retire s/3" in finding.advice
