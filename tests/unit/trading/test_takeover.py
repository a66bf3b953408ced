"""A kill is obeyed: by the trader, or in its place. The traders here are little processes that hold the lock."""

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from cappuccino.errors import BrokerError, TraderBusy, TraderError
from cappuccino.trading.switches import Kill, Obeyed, write_kill, write_obeyed
from cappuccino.trading.takeover import Patience, carry_out, end_trader, trader_pid

AT = datetime(2025, 6, 1, tzinfo=UTC)
ORDER = Kill(AT, "a test", "somebody", flatten=True)
HANGS = "time.sleep(99)"
STUBBORN = "signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(99)"
OBEYS = """
while True:
    if (desk / "KILL").exists():
        at = json.loads((desk / "KILL").read_text())["at"]
        done = {"kill_at": at, "at": at, "pid": os.getpid(), "is_done": True, "lines": ["1 order cancelled"]}
        (desk / "new").write_text(json.dumps(done)); (desk / "new").rename(desk / "KILL.done")
    time.sleep(0.01)
"""


@contextmanager
def trader(desk, does):
    """A process that holds the trader's lock and names itself there."""
    script = (
        "import fcntl, json, os, pathlib, signal, time\n"
        f"desk = pathlib.Path({str(desk)!r})\n"
        "lock = open(desk / 'trader.lock', 'a+')\n"
        "fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
        "lock.truncate(0); lock.write(f'{os.getpid()}\\n'); lock.flush()\n"
        f"print('ready', flush=True)\n{does}"
    )
    with subprocess.Popen([sys.executable, "-S", "-c", script], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


class Watch:
    """A clock on which sleeping takes no time, and what happens at which second."""

    def __init__(self, happens=()):
        self.now_s, self.happens = 0.0, sorted(happens, key=lambda each: each[0])

    def sleep(self, seconds):
        self.now_s += seconds
        while self.happens and self.happens[0][0] <= self.now_s:
            self.happens.pop(0)[1]()

    def patience(self):
        return Patience(monotonic=lambda: self.now_s, sleep=self.sleep)


def sold():
    return ["sold everything"]


def never():
    pytest.fail("this was the trader's to do")


def test_no_trader_runs_where_none_ever_did(tmp_path):
    assert trader_pid(tmp_path) is None


def test_a_running_trader_is_known_by_its_lock_and_a_dead_one_is_not_taken_for_one(tmp_path):
    with trader(tmp_path, HANGS) as process:
        assert trader_pid(tmp_path) == process.pid
    assert trader_pid(tmp_path) is None


def test_another_process_with_the_number_of_a_dead_trader_is_no_trader(tmp_path):
    (tmp_path / "trader.lock").write_text(f"{os.getpid()}\n")
    assert trader_pid(tmp_path) is None


@pytest.mark.parametrize("text", ["", "nobody", "{}"])
def test_a_lock_that_names_nobody_is_nobodys(tmp_path, text):
    (tmp_path / "trader.lock").write_text(text)
    assert trader_pid(tmp_path) is None


def test_the_trader_obeys(tmp_path):
    with trader(tmp_path, OBEYS) as process:
        order = write_kill(tmp_path, ORDER)
        done = carry_out(tmp_path, order, never, Patience())
        assert (done.by, done.trader_pid, done.is_trader_stopped) == ("trader", process.pid, False)
        assert done.lines == ("1 order cancelled",)
        assert process.poll() is None


def test_without_a_trader_the_command_does_it(tmp_path):
    done = carry_out(tmp_path, ORDER, sold, Watch().patience())
    assert (done.by, done.trader_pid, done.is_trader_stopped) == ("command", None, False)
    assert done.lines == ("sold everything",)


def test_a_trader_that_does_not_answer_is_ended_before_the_command_does_it(tmp_path):
    watch = Watch()
    with trader(tmp_path, HANGS) as process:

        def take_over():
            assert trader_pid(tmp_path) is None
            return sold()

        patience = Patience(wait_s=20, monotonic=lambda: watch.now_s, sleep=watch.sleep, term_s=1_000)
        done = carry_out(tmp_path, ORDER, take_over, patience)
        assert process.wait(20) == -signal.SIGTERM
    assert (done.by, done.trader_pid, done.is_trader_stopped) == ("command", process.pid, True)
    assert watch.now_s > 20


def test_a_trader_that_hears_no_sigterm_is_killed(tmp_path):
    with trader(tmp_path, STUBBORN) as process:
        assert process.stdout.readline() == "deaf\n"
        end_trader(tmp_path, Patience(term_s=0.2))
        assert process.wait(20) == -signal.SIGKILL


def test_a_stopped_trader_is_ended_too(tmp_path):
    with trader(tmp_path, STUBBORN) as process:
        assert process.stdout.readline() == "deaf\n"
        process.send_signal(signal.SIGSTOP)
        end_trader(tmp_path, Patience(term_s=0.2))
        assert process.wait(20) == -signal.SIGKILL


def test_a_trader_that_says_how_far_it_is_gets_more_time(tmp_path):
    def says(second, is_done):
        at = AT + timedelta(seconds=second)
        return second, lambda: write_obeyed(tmp_path, Obeyed(AT, at, 7, is_done, (f"at {second}",)))

    watch = Watch([says(15, False), says(30, False), says(45, False), says(60, True)])
    with trader(tmp_path, HANGS):
        done = carry_out(tmp_path, ORDER, never, watch.patience())
    assert (done.by, done.lines) == ("trader", ("at 60",))


def test_but_not_for_ever(tmp_path):
    def says(second):
        at = AT + timedelta(seconds=second)
        return second, lambda: write_obeyed(tmp_path, Obeyed(AT, at, 7, is_done=False))

    watch = Watch([says(10 * number) for number in range(1, 100)])
    with trader(tmp_path, HANGS) as process:
        patience = Patience(monotonic=lambda: watch.now_s, sleep=watch.sleep, term_s=1_000)
        assert carry_out(tmp_path, ORDER, sold, patience).by == "command"
        assert process.wait(20) == -signal.SIGTERM


def test_the_word_about_an_earlier_kill_does_not_count(tmp_path):
    write_obeyed(tmp_path, Obeyed(AT - timedelta(hours=1), AT, 7, is_done=True))
    with trader(tmp_path, HANGS):
        patience = Patience(wait_s=0.1)
        assert carry_out(tmp_path, ORDER, sold, patience).by == "command"


def test_a_trader_that_dies_while_it_is_waited_for_is_not_waited_for(tmp_path):
    with trader(tmp_path, HANGS) as process:
        watch = Watch([(3, lambda: (process.kill(), process.wait()))])
        done = carry_out(tmp_path, ORDER, sold, watch.patience())
    assert done.by == "command"
    assert watch.now_s < 5


def test_a_trader_that_a_supervisor_started_meanwhile_obeys_instead(tmp_path):
    with trader(tmp_path, OBEYS) as process:
        (tmp_path / "trader.lock").rename(tmp_path / "hidden")

        def busy():
            (tmp_path / "hidden").rename(tmp_path / "trader.lock")
            write_kill(tmp_path, ORDER)
            raise TraderBusy("another trader runs")

        done = carry_out(tmp_path, ORDER, busy, Patience())
    assert (done.by, done.trader_pid) == ("trader", process.pid)


def test_what_the_exchange_refuses_goes_through(tmp_path):
    def fails():
        raise BrokerError("no answer")

    with pytest.raises(BrokerError, match="no answer"):
        carry_out(tmp_path, ORDER, fails, Watch().patience())


def test_a_trader_that_cannot_be_ended_is_named(tmp_path):
    """Nothing that a test may start survives SIGKILL; here its lock is held by somebody else, who goes on."""
    with trader(tmp_path, HANGS) as holder:
        with subprocess.Popen([sys.executable, "-S", "-c", f"import time; {HANGS}"]) as named:
            (tmp_path / "trader.lock").write_text(f"{named.pid}\n")
            with pytest.raises(TraderError, match=f"process {named.pid}\\) cannot be ended"):
                end_trader(tmp_path, Patience(term_s=0))
        assert holder.poll() is None
