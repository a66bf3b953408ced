"""`kill` and `resume` as somebody calls them, on a desk of the simulated market."""

import json

import pytest

from cappuccino.trading.ledger import Ledger
from cappuccino.trading.switches import history, read_kill


@pytest.fixture
def desk(tmp_path):
    return tmp_path / "warehouse" / "desk"


@pytest.fixture
def call(cappuccino, tmp_path):
    def of(*arguments, **environment):
        return cappuccino(*arguments, "--warehouse", tmp_path / "warehouse", **environment)

    return of


def test_kill_sets_the_switch_and_says_that_no_trader_runs(call, desk):
    done = call("kill", "--reason", "a test")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.splitlines()[0] == "no trader runs; done by this command"
    assert f"the kill switch is set: {desk / 'KILL'}" in done.stderr
    found = read_kill(desk)
    assert (found.reason, found.flatten) == ("a test", False)


def test_kill_and_flatten_are_told_to_machines(call, desk):
    done = call("kill", "--flatten", "--json")
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["killed"]["flatten"] is True
    assert (told["done"]["by"], told["done"]["is_done"], told["error"]) == ("command", True, None)
    assert read_kill(desk).flatten


def test_a_second_kill_does_not_take_the_flattening_back(call, desk):
    call("kill", "--flatten")
    call("kill")
    assert read_kill(desk).flatten


def test_a_ledger_that_cannot_be_opened_leaves_the_switch_set_and_says_so(call, desk):
    desk.mkdir(parents=True)
    (desk / "ledger.sqlite").write_bytes(b"this is no database" * 100)
    done = call("kill", "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["error"]
    assert "the switch is set and nothing is bought, but not everything is done" in done.stderr
    assert read_kill(desk) is not None


def test_kill_on_an_empty_ledger_is_done(call, desk):
    Ledger(desk).close()
    done = call("kill", "--flatten", "--json")
    assert done.exit_code == 0, (done.stdout, done.stderr)
    assert json.loads(done.stdout)["done"]["is_done"]


def test_a_kill_by_the_command_is_an_alert_and_resume_ends_it(call, desk):
    call("kill", "--reason", "too hot")
    call("resume")
    lines = [json.loads(line) for line in (desk / "alerts.jsonl").read_text().splitlines()]
    assert [(line["key"], line["severity"], line["is_resolved"]) for line in lines] == [
        ("desk.kill", "critical", False),
        ("desk.kill", "critical", True),
    ]
    assert "too hot" in lines[0]["message"]


def test_resume_clears_the_switch_and_says_what_it_was(call, desk):
    call("kill", "--reason", "a test")
    done = call("resume", "--reason", "all is well")
    assert done.exit_code == 0, done.stderr
    assert "is cleared (a test)" in done.stdout
    assert read_kill(desk) is None
    assert [line["reason"] for line in history(desk)] == ["a test", "all is well"]


def test_resume_without_a_switch_says_so(call):
    done = call("resume")
    assert (done.exit_code, done.stdout) == (0, "no kill switch was set\n")
    assert json.loads(call("resume", "--json").stdout) == {"was": None, "lines": []}


def test_a_resume_that_fails_leaves_the_switch_set(call, desk):
    call("kill", "--reason", "a test", "--flatten")
    (desk / "ledger.sqlite").write_bytes(b"this is no database" * 100)
    done = call("resume")
    assert done.exit_code == 1
    assert (read_kill(desk).reason, read_kill(desk).flatten) == ("a test", True)


def test_a_switch_that_somebody_touched_is_cleared_too(call, desk):
    desk.mkdir(parents=True)
    (desk / "KILL").touch()
    assert "without a readable reason" in call("resume").stdout
    assert read_kill(desk) is None


def test_a_wrong_configuration_says_how_to_stop_trading_without_any(cappuccino, tmp_path):
    file = tmp_path / "wrong.toml"
    file.write_text("[market]\nno_such_key = 1\n")
    done = cappuccino("kill", "--config", file, "--warehouse", tmp_path)
    assert done.exit_code == 2
    assert "touch WAREHOUSE/desk/KILL" in done.stderr


def test_a_wrong_address_of_a_channel_keeps_nobody_from_killing(call, desk):
    done = call("kill", ALERT_URLS="nonsense://geheim")
    assert done.exit_code == 0
    assert "warning: an address in ALERT_URLS" in done.stderr
    assert "geheim" not in done.stderr + done.stdout
    assert read_kill(desk) is not None


def test_secrets_that_others_can_read_keep_nobody_from_killing(call, desk, tmp_path):
    secrets = tmp_path / "secrets.env"
    secrets.write_text("ALERT_URLS=json://localhost\n")
    secrets.chmod(0o644)
    done = call("kill", CAPPUCCINO_ENV_FILE=str(secrets))
    assert done.exit_code == 0, done.stderr
    assert "chmod 600" in done.stderr
    assert read_kill(desk) is not None
