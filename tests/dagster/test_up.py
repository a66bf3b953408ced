"""`cappuccino up`: which children it keeps, and what it refuses. How it keeps them is in tests/unit/watch."""

import importlib.util
import os
import sys

import pytest

from cappuccino.credentials import ENV_FILE
from cappuccino.settings import load
from cappuccino.watch.supervisor import only_one
from dagster_project.commands.ui import ROOT, environment_of
from dagster_project.commands.up import dagster, trader


@pytest.fixture
def settings(tmp_path):
    file = tmp_path / "cappuccino.toml"
    file.write_text("[up]\nport = 3456\nstop_s = 7\nmemory_mb = 500\nopen_files = 99\n")
    return load(file, {"warehouse": tmp_path / "warehouse"})


def test_the_trader_is_the_command_with_the_same_settings(settings, tmp_path):
    config = tmp_path / "cappuccino.toml"
    child = trader(settings, config)
    assert child.program.command == (sys.executable, "-m", "cappuccino.cli", "trade")
    assert child.program.environment["CAPPUCCINO_WAREHOUSE"] == str(tmp_path / "warehouse")
    assert child.program.environment["CAPPUCCINO_CONFIG"] == str(config)
    assert (child.stop_s, child.memory_mb, child.open_files, child.is_outlived) == (7, 500, 99, False)


def test_dagsters_daemon_and_its_pages_are_children_of_their_own(settings, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", "")
    monkeypatch.delenv("DAGSTER_HOME")
    daemon, web = dagster(settings, None)
    assert [child.name for child in (daemon, web)] == ["daemon", "web"]
    assert daemon.program.command[1:] == ("-m", "dagster._daemon", "run", "-w", "workspace.yaml")
    assert web.program.command[-1] == "3456"
    for child in (daemon, web):
        assert child.program.folder == ROOT
        assert child.program.environment["DAGSTER_HOME"] == str(settings.warehouse.absolute() / ".dagster")
    # Runs are what the daemon starts; a daemon that dies must not take a study along.
    assert (daemon.is_outlived, web.is_outlived) == (True, False)


def test_the_children_find_the_file_of_secrets_from_their_own_folder(settings, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(ENV_FILE, "secrets.env")
    assert environment_of(settings, None)[ENV_FILE] == str(tmp_path / "secrets.env")


def test_nothing_to_run_is_a_wrong_command(cappuccino, tmp_path):
    done = cappuccino("up", "--no-dagster", "--no-trader", "--warehouse", tmp_path)
    assert done.exit_code == 2
    assert "nothing to run" in done.stderr


def test_a_second_one_on_the_same_warehouse_is_refused(cappuccino, tmp_path):
    with only_one(tmp_path, ("trader",)):
        done = cappuccino("up", "--warehouse", tmp_path)
    assert done.exit_code == 1
    assert f"`cappuccino up`, process {os.getpid()}, runs trader here already" in done.stderr


def test_a_file_of_secrets_that_others_can_read_is_told_at_once(cappuccino, tmp_path):
    secrets = tmp_path / "secrets.env"
    secrets.write_text("ALERT_URLS=json://localhost\n")
    secrets.chmod(0o644)
    done = cappuccino("up", "--no-dagster", "--warehouse", tmp_path, **{ENV_FILE: str(secrets)})
    assert done.exit_code == 2
    assert "chmod 600" in done.stderr


def test_the_modules_that_the_children_run_are_there():
    for module in ("cappuccino.cli", "dagster._daemon", "dagster_webserver"):
        assert importlib.util.find_spec(module) is not None
