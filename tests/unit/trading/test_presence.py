"""One trader a folder, and its heartbeat."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cappuccino.errors import TraderBusy
from cappuccino.trading.presence import LOCK, Heartbeat, is_trading, only_trader
from cappuccino.watch.health import HEARTBEAT

HOLDER = """
import sys, time
from pathlib import Path
from cappuccino.trading.presence import only_trader
with only_trader(Path(sys.argv[1])):
    print("in", flush=True)
    time.sleep(60)
"""


def test_a_second_trader_is_refused_and_names_the_first(tmp_path: Path) -> None:
    with only_trader(tmp_path):
        with pytest.raises(TraderBusy, match=f"process {os.getpid()} trades on"):
            only_trader(tmp_path).__enter__()
        assert is_trading(tmp_path)
    assert not is_trading(tmp_path)


def test_a_trader_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": "."}
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"in\n"
        assert is_trading(tmp_path)
        with pytest.raises(TraderBusy, match=f"process {other.pid} trades on"):
            only_trader(tmp_path).__enter__()
        other.send_signal(signal.SIGKILL)
    assert not is_trading(tmp_path)
    with only_trader(tmp_path):
        assert (tmp_path / LOCK).read_text() == str(os.getpid())


def test_a_trader_that_fails_lets_go(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), only_trader(tmp_path):
        raise ZeroDivisionError
    with only_trader(tmp_path):
        pass


def test_whoever_looks_for_a_trader_changes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "desk"
    assert not is_trading(folder)
    assert not folder.exists()
    with only_trader(folder):
        is_trading(folder)
        assert (folder / LOCK).read_text() == str(os.getpid())


def test_two_may_look_for_a_trader_at_the_same_time(tmp_path: Path) -> None:
    with only_trader(tmp_path):
        pass
    with (tmp_path / LOCK).open() as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        assert not is_trading(tmp_path)


def test_the_heartbeat_says_who_what_and_when_at_most_once_a_second(tmp_path: Path) -> None:
    beat = Heartbeat(tmp_path)
    beat.poll = 7
    beat("quotes")
    beat("bars")
    told = json.loads((tmp_path / HEARTBEAT).read_text())
    assert (told["pid"], told["phase"], told["poll"]) == (os.getpid(), "quotes", 7)
    assert beat.phase == "bars"
    assert [file.name for file in tmp_path.iterdir()] == [HEARTBEAT]
