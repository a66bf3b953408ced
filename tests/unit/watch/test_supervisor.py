"""The supervisor with real little children: they die, hang, grow, refuse to stop."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from cappuccino.clock import SystemClock
from cappuccino.errors import TraderBusy
from cappuccino.settings import UpSettings
from cappuccino.watch.alerts import Alerts, Severity
from cappuccino.watch.health import HEALTHY, UNKNOWN, AliveProbe, Health
from cappuccino.watch.processes import Program, marked, send
from cappuccino.watch.restarts import Policy
from cappuccino.watch.supervisor import Child, Stopping, Supervisor, Terminal, only_one, policy_of, supervise

ROOT = Path(__file__).parents[3]
PATIENCE_S = 20.0
LIVES = "import time; print('hello', flush=True); time.sleep(99)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {LIVES}"
DIES = "import sys; print('no', flush=True); sys.exit(3)"


class Clock:
    """Seconds that pass when a test says so, and a little with each reading, so that every wait ends."""

    def __init__(self, per_reading_s=0.0):
        self.now_s, self.per_reading_s = 1_000.0, per_reading_s

    def __call__(self):
        self.now_s += self.per_reading_s
        return self.now_s


class SaidProbe:
    """Says what the test wants it to say."""

    def __init__(self):
        self.health, self.pids = HEALTHY, []

    def begin(self, pid):
        self.pids.append(pid)

    def look(self):
        return self.health


class Stand:
    """A supervisor over little children, with all that it said, heard and raised."""

    def __init__(self, folder, *children, policy=None):
        self.folder, self.clock = folder, Clock()
        self.said, self.heard, self.stored = [], [], []
        self.alerts = Alerts(SystemClock(), self.stored.append, lambda alert: None)
        self.supervisor = Supervisor(
            children,
            str(folder),
            folder / "logs",
            self.alerts,
            self.said.append,
            policy=policy,
            echo=self.heard.append,
            monotonic=self.clock,
        )

    def pass_(self, seconds):
        self.clock.now_s += seconds
        self.supervisor.look()

    def until(self, is_so):
        deadline = time.monotonic() + PATIENCE_S
        while not is_so():
            assert time.monotonic() < deadline, (self.said, self.heard)
            self.supervisor.look()
            time.sleep(0.005)

    def ends(self, name):
        return sum(line.startswith(f"{name}: ended") for line in self.said)

    def processes(self, name):
        return marked(f"{self.folder}:{name}")


@pytest.fixture
def stand(tmp_path):
    stands = []

    def make(*children, policy=None):
        stands.append(Stand(tmp_path, *children, policy=policy))
        return stands[-1]

    yield make
    for each in stands:
        each.supervisor.stop(lambda: True)


def child(name, script, tmp_path, probe=None, stop_s=30.0, **limits):
    program = Program(name, (sys.executable, "-S", "-c", script), tmp_path)
    return Child(program, probe or AliveProbe(), stop_s, **limits)


def test_a_child_that_dies_is_started_again_after_its_pause(stand, tmp_path):
    desk = stand(child("trader", DIES, tmp_path))
    desk.supervisor.start()
    desk.until(lambda: desk.ends("trader") == 1)
    assert desk.said[-1] == "trader: ended, exit code 3; started again in 5 s"
    assert [a.key for a in desk.stored] == ["up.trader.ended"]
    desk.pass_(4.9)
    assert desk.said[-1].startswith("trader: ended")
    desk.pass_(0.2)
    assert desk.said[-1].startswith("trader: started")
    desk.until(lambda: desk.ends("trader") == 2)
    assert desk.said[-1] == "trader: ended, exit code 3; started again in 10 s"


def test_a_child_that_does_not_stay_calls_a_person_once_and_the_others_live_on(stand, tmp_path):
    desk = stand(child("trader", DIES, tmp_path), child("web", LIVES, tmp_path))
    desk.supervisor.start()
    for number in range(1, 6):
        desk.until(lambda number=number: desk.ends("trader") == number)
        desk.pass_(300 if number > 3 else 5 * 2 ** (number - 1))
    calls = [a for a in desk.stored if a.severity is Severity.CRITICAL]
    assert [a.key for a in calls] == ["up.trader.restarts"]
    assert calls[0].message.startswith("trader was started again 3 times within 300 s")
    assert [line for line in desk.said if line.startswith("web")] == [desk.said[1]]
    assert len(desk.processes("web")) == 1


def test_health_ends_the_alerts(stand, tmp_path):
    probe = SaidProbe()
    desk = stand(child("trader", LIVES, tmp_path, probe), policy=Policy(restarts=1))
    desk.supervisor.start()
    os.kill(probe.pids[0], signal.SIGKILL)
    desk.until(lambda: desk.ends("trader") == 1)
    desk.pass_(5)
    assert {a.key for a in desk.alerts.open} == {"up.trader.ended", "up.trader.restarts"}
    probe.health = UNKNOWN
    desk.pass_(100)
    assert desk.alerts.open
    probe.health = HEALTHY
    desk.pass_(0)
    desk.pass_(60)
    assert desk.alerts.open == ()
    assert desk.said[-1] == "trader: healthy again"


def test_a_child_that_hangs_is_asked_to_stop_and_started_again(stand, tmp_path):
    probe = SaidProbe()
    desk = stand(child("trader", LIVES, tmp_path, probe))
    desk.supervisor.start()
    probe.health = Health(False, "no heartbeat for 301 s")
    desk.until(lambda: desk.ends("trader") == 1)
    assert desk.said[-1] == "trader: ended, it hangs: no heartbeat for 301 s; killed by SIGTERM; started again in 5 s"
    probe.health = HEALTHY
    desk.pass_(5)
    assert len(probe.pids) == 2


def test_a_child_that_hangs_and_does_not_hear_is_killed(stand, tmp_path):
    probe = SaidProbe()
    desk = stand(child("trader", STUBBORN, tmp_path, probe, stop_s=30))
    desk.supervisor.start()
    desk.until(lambda: desk.heard)
    probe.health = Health(False, "hangs")
    desk.pass_(0)
    desk.pass_(29)
    assert desk.ends("trader") == 0
    desk.pass_(1)
    assert "killed by SIGKILL" in desk.said[-1]


def test_a_stopped_process_is_killed_too(stand, tmp_path):
    probe = SaidProbe()
    desk = stand(child("trader", STUBBORN, tmp_path, probe, stop_s=30))
    desk.supervisor.start()
    desk.until(lambda: desk.heard)
    os.kill(probe.pids[0], signal.SIGSTOP)
    probe.health = Health(False, "hangs")
    desk.pass_(0)
    desk.pass_(30)
    assert "killed by SIGKILL" in desk.said[-1]


@pytest.mark.parametrize(
    ("limits", "reason"),
    [({"memory_mb": 1}, "MB of memory, 1 MB are allowed"), ({"open_files": 1}, "open files, 1 are")],
)
def test_a_child_that_grows_too_big_is_started_again(stand, tmp_path, limits, reason):
    desk = stand(child("trader", LIVES, tmp_path, **limits), child("web", LIVES, tmp_path))
    desk.supervisor.start()
    desk.until(lambda: len(desk.heard) == 2)
    desk.pass_(29)
    assert desk.ends("trader") == 0
    desk.pass_(1)
    desk.until(lambda: desk.ends("trader") == 1)
    assert reason in desk.said[-1]
    assert desk.ends("web") == 0


def test_a_command_that_does_not_exist_ends_like_any_other(stand, tmp_path):
    desk = stand(Child(Program("trader", (str(tmp_path / "none"),), tmp_path), AliveProbe(), 1))
    desk.supervisor.start()
    assert desk.ends("trader") == 1
    desk.pass_(5)
    assert desk.ends("trader") == 2


def test_output_goes_to_the_log_and_with_its_name_to_the_terminal(stand, tmp_path):
    desk = stand(child("trader", LIVES, tmp_path), child("web", DIES, tmp_path))
    desk.supervisor.start()
    desk.until(lambda: len(desk.heard) == 2)
    assert sorted(desk.heard) == ["trader | hello", "web | no"]
    assert (tmp_path / "logs" / "trader.log").read_text() == "hello\n"


STARTS_ANOTHER = (
    "import subprocess, sys, time\n"
    "subprocess.Popen([sys.executable, '-S', '-c', {inner!r}], start_new_session=True, stdout=subprocess.DEVNULL)\n"
    "print('hello', flush=True)\n"
    "time.sleep(99)"
)


def test_what_a_child_has_started_ends_with_it(stand, tmp_path):
    probe = SaidProbe()
    desk = stand(child("trader", STARTS_ANOTHER.format(inner=LIVES), tmp_path, probe))
    desk.supervisor.start()
    desk.until(lambda: desk.heard and len(desk.processes("trader")) == 2)
    os.kill(probe.pids[0], signal.SIGKILL)
    desk.until(lambda: desk.ends("trader") == 1)
    desk.until(lambda: desk.processes("trader") == [])


def test_runs_of_a_child_that_is_outlived_go_on_when_it_dies_and_are_interrupted_at_the_end(stand, tmp_path):
    """A run under way that vanished would stand in Dagster's records as running for ever."""
    probe, note = SaidProbe(), tmp_path / "interrupted"
    run = (
        "import pathlib, time\n"
        "try: time.sleep(99)\n"
        f"except KeyboardInterrupt: pathlib.Path({str(note)!r}).write_text('yes')"
    )
    desk = stand(child("daemon", STARTS_ANOTHER.format(inner=run), tmp_path, probe, is_outlived=True))
    desk.supervisor.start()
    desk.until(lambda: desk.heard and len(desk.processes("daemon")) == 2)
    time.sleep(0.2)  # the run has to get as far as its `try`
    os.kill(probe.pids[0], signal.SIGKILL)
    desk.until(lambda: desk.ends("daemon") == 1)
    assert len(desk.processes("daemon")) == 1
    desk.clock.per_reading_s = 0.5
    desk.supervisor.stop()
    assert desk.processes("daemon") == []
    assert note.read_text() == "yes"


def test_what_a_killed_supervisor_left_behind_is_ended_first(stand, tmp_path):
    left = subprocess.Popen(
        [sys.executable, "-S", "-c", LIVES],
        env={**os.environ, "SUPERVISED_BY": f"{tmp_path}:trader"},
        stdout=subprocess.DEVNULL,
    )
    desk = stand(child("trader", LIVES, tmp_path))
    desk.until(lambda: desk.processes("trader") == [left.pid])
    desk.supervisor.start()
    assert left.wait(PATIENCE_S) == -signal.SIGKILL
    assert desk.said[0] == "trader: ending 1 processes that it had started"


def test_children_are_stopped_in_order_each_with_its_time(stand, tmp_path):
    slow = (
        "import signal, sys\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print('stored', flush=True), sys.exit(0)))\n"
        f"{LIVES}"
    )
    desk = stand(child("trader", slow, tmp_path), child("web", LIVES, tmp_path))
    desk.supervisor.start()
    desk.until(lambda: len(desk.heard) == 2)
    desk.supervisor.stop()
    assert [line.partition(",")[0] for line in desk.said[2:]] == [
        "trader: asked to stop",
        "trader: stopped",
        "web: asked to stop",
        "web: stopped",
    ]
    assert "trader | stored" in desk.heard
    assert desk.said[3].endswith("exit code 0")


def test_a_child_that_does_not_stop_in_time_is_killed(stand, tmp_path):
    desk = stand(child("trader", STUBBORN, tmp_path))
    desk.supervisor.start()
    desk.until(lambda: desk.heard)
    desk.clock.per_reading_s = 5
    desk.supervisor.stop()
    assert desk.said[-1] == "trader: stopped, the supervisor stops; killed by SIGKILL"


def test_a_second_signal_ends_them_at_once(stand, tmp_path):
    desk = stand(child("trader", STUBBORN, tmp_path), child("web", STUBBORN, tmp_path))
    desk.supervisor.start()
    desk.until(lambda: len(desk.heard) == 2)
    asked = iter([False, False, True])
    desk.supervisor.stop(lambda: next(asked, True))
    assert [line for line in desk.said if "SIGKILL" in line] == [
        "trader: stopped, the supervisor stops; killed by SIGKILL",
        "web: stopped, killed by SIGKILL",
    ]


def test_no_child_outlives_a_supervisor_that_fails(stand, tmp_path):
    class Broken(AliveProbe):
        def look(self):
            raise RuntimeError("a mistake")

    desk = stand(child("trader", LIVES, tmp_path, Broken()))
    with pytest.raises(RuntimeError, match="a mistake"):
        supervise(desk.supervisor, Stopping())
    assert desk.processes("trader") == []


def test_sigterm_ends_it_in_order(tmp_path):
    """In a process of its own: the signals are its own."""
    script = f"""
import sys
from pathlib import Path
from cappuccino.clock import SystemClock
from cappuccino.watch.alerts import Alerts
from cappuccino.watch.health import AliveProbe
from cappuccino.watch.processes import Program
from cappuccino.watch.supervisor import Child, Stopping, Supervisor, supervise
folder = Path({str(tmp_path)!r})
program = Program("trader", (sys.executable, "-S", "-c", {LIVES!r}), folder)
say = lambda line: print(line, flush=True)
alerts = Alerts(SystemClock(), say, say)
supervise(Supervisor([Child(program, AliveProbe(), 30)], str(folder), folder, alerts, say), Stopping())
"""
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            first = sorted(process.stdout.readline() for _ in range(2))  # two threads say them
            assert first[0] == "trader | hello\n"
            assert first[1].startswith("trader: started")
            process.send_signal(signal.SIGHUP)  # its terminal is gone, and nothing happens
            process.send_signal(signal.SIGTERM)
            rest = process.stdout.read()
            assert process.wait(PATIENCE_S) == 0
        finally:
            process.kill()
    assert rest.splitlines() == [
        "trader: asked to stop, the supervisor stops",
        "trader: stopped, the supervisor stops; killed by SIGTERM",
    ]


def test_one_warehouse_has_one_supervisor(tmp_path):
    both = ("trader", "dagster")
    with only_one(tmp_path / "w", both):
        with pytest.raises(TraderBusy, match=rf"process {os.getpid()}, runs dagster here already; stop it first"):
            only_one(tmp_path / "w", ("dagster",)).__enter__()
        with only_one(tmp_path / "other", both):
            pass
    with only_one(tmp_path / "w", both):
        pass


def test_two_supervisors_may_share_the_work_of_one_warehouse(tmp_path):
    with only_one(tmp_path, ("trader",)), only_one(tmp_path, ("dagster",)):
        pass


def test_a_terminal_that_takes_no_lines_stops_nobody():
    is_open, written = threading.Event(), []

    def write(line):
        is_open.wait()
        written.append(line)

    terminal = Terminal(write)
    for number in range(5_000):
        terminal.say(f"line {number}")
    is_open.set()
    terminal.close(PATIENCE_S)
    assert written[0] == "line 0"
    assert len(written) < 1_100


def test_a_terminal_that_is_gone_stops_nobody():
    def gone(line):
        raise BrokenPipeError

    terminal = Terminal(gone)
    terminal.say("lost")
    terminal.close(PATIENCE_S)


def test_the_policy_is_that_of_the_settings():
    assert policy_of(UpSettings()) == Policy()


@pytest.fixture(autouse=True)
def _nothing_is_left_behind(tmp_path):
    yield
    for name in ("trader", "web", "daemon"):
        send(marked(f"{tmp_path}:{name}"), signal.SIGKILL)
