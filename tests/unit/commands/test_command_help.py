"""Every command explains itself, at once, and is documented."""

import subprocess
import sys
from pathlib import Path

import pytest

from cappuccino.cli import COMMANDS, main

ROOT = Path(__file__).parents[3]
HEAVY = ("torch", "dagster", "pandas", "optuna", "matplotlib")


def help_of(name):
    return main.get_command(main.make_context("cappuccino", ["run"]), name).help


@pytest.mark.parametrize("name", COMMANDS)
def test_the_short_help_is_how_the_long_one_begins(name):
    short = COMMANDS[name][1]
    assert short.endswith(".")
    assert help_of(name).replace("\n", " ").startswith(short.removesuffix(".")), help_of(name)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_prints_its_help_with_every_option_explained(name, cappuccino):
    done = cappuccino(name, "--help")
    assert done.exit_code == 0
    assert done.stdout.startswith(f"Usage: main {name}")
    assert "--warehouse" in done.stdout
    assert "--config" in done.stdout
    command = main.get_command(main.make_context("cappuccino", ["run"]), name)
    unexplained = [p.name for p in command.params if p.param_type_name == "option" and not p.help and p.name != "port"]
    assert unexplained == []


def test_the_programs_help_names_every_command(cappuccino):
    text = cappuccino("--help").stdout
    for name, (_, short) in COMMANDS.items():
        assert f"  {name}" in text
        assert short.split()[0] in text


@pytest.mark.parametrize("name", COMMANDS)
def test_the_readme_documents_the_command(name):
    assert f"`cappuccino {name}" in (ROOT / "README.md").read_text()


def test_help_is_instant_because_nothing_heavy_is_imported():
    """All commands in one process: whatever any of them imports for its help would be seen."""
    script = f"""
import sys
from click.testing import CliRunner
from cappuccino.cli import COMMANDS, main
for arguments in [[], *([name] for name in COMMANDS)]:
    done = CliRunner().invoke(main, [*arguments, "--help"])
    assert done.exit_code == 0, (arguments, done.output)
    heavy = [module for module in {HEAVY!r} if module in sys.modules]
    assert not heavy, (arguments, heavy)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_version_is_that_of_the_package(cappuccino):
    from cappuccino import __version__

    assert __version__ in cappuccino("--version").stdout
