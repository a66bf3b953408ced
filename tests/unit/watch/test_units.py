"""The systemd units call commands that exist, never give up and leave the supervisor the time that it needs."""

import configparser
import shlex
from pathlib import Path

import pytest

from cappuccino.cli import main
from cappuccino.settings import UpSettings
from cappuccino.watch.supervisor import OWN_END_S

UNITS = sorted((Path(__file__).parents[3] / "deploy" / "systemd").glob("*.service"))


class Repeated(dict):
    """systemd allows a key more than once; the values are kept, one a line."""

    def __setitem__(self, key, value):
        if isinstance(value, list) and key in self:
            self[key].extend(value)
        else:
            super().__setitem__(key, value)


def read(unit):
    parser = configparser.RawConfigParser(dict_type=Repeated, strict=False, comment_prefixes="#", delimiters="=")
    parser.optionxform = str
    parser.read_string(unit.read_text())
    return parser


def test_there_are_three():
    assert {unit.stem for unit in UNITS} == {"cappuccino", "cappuccino-dagster", "cappuccino-trader"}


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_calls_a_command_with_options_that_it_has(unit):
    program, name, *options = shlex.split(read(unit)["Service"]["ExecStart"])
    assert program.endswith("/cappuccino")
    command = main.get_command(main.make_context("cappuccino", ["run"]), name)
    assert set(options) <= {option for parameter in command.params for option in parameter.opts}


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_starts_again_for_ever_and_kills_no_child_before_the_supervisor_would(unit):
    found, up = read(unit), UpSettings()
    assert found["Unit"]["StartLimitIntervalSec"] == "0"
    assert found["Service"]["Restart"] == "always"
    assert found["Service"]["KillMode"] == "mixed"
    longest_s = 3 * up.stop_s + OWN_END_S + up.stop_s
    assert longest_s < float(found["Service"]["TimeoutStopSec"])


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_writes_into_its_own_folders_only_and_holds_no_secret(unit):
    service = read(unit)["Service"]
    assert service["ProtectSystem"] == "strict"
    assert service["NoNewPrivileges"] == "yes"
    assert service["StateDirectory"] == "cappuccino"
    assert "CAPPUCCINO_WAREHOUSE=/var/lib/cappuccino/warehouse" in service["Environment"]
    assert not any(word in unit.read_text() for word in ("SECRET=", "KEY=", "://"))
