"""Real little children: heard, measured, marked, and dead when their supervisor is."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from cappuccino.watch.processes import Process, Program, RotatingFile, in_words, marked, send, size_of

ROOT = Path(__file__).parents[3]
PATIENCE_S = 20.0


def until(is_so, what="it"):
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline, f"{what} never came"
        time.sleep(0.01)


def is_alive(pid):
    """Tell whether `pid` runs; one that nobody has buried yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def mark(tmp_path):
    yield f"{tmp_path}:child"
    send(marked(f"{tmp_path}:child"), signal.SIGKILL)


def child(script, mark, tmp_path, hear=lambda line: None):
    return Process(Program("child", (sys.executable, "-S", "-c", script), tmp_path, {"GIVEN": "yes"}), mark, hear)


def test_a_childs_words_are_heard_line_by_line_errors_too(tmp_path, mark):
    heard = []
    script = "import os, sys; print('out', os.environ['GIVEN'], os.getcwd()); sys.stderr.write('err, no end')"
    process = child(script, mark, tmp_path, heard.append)
    until(lambda: process.exit_code() is not None)
    process.wait_for_words(PATIENCE_S)
    assert heard == [f"out yes {tmp_path}\n".encode(), b"err, no end\n"]


def test_a_line_without_end_is_heard_in_pieces(tmp_path, mark):
    heard = []
    process = child("print('x' * 100_000)", mark, tmp_path, heard.append)
    until(lambda: process.exit_code() is not None)
    process.wait_for_words(PATIENCE_S)
    assert sum(len(line) - 1 for line in heard) in range(99_990, 100_001)
    assert max(map(len, heard)) <= 16_385


def test_to_kill_a_child_leaves_what_it_has_started_and_the_mark_finds_it_in_another_group(tmp_path, mark):
    heard = []
    script = (
        "import subprocess, sys, time\n"
        "p = subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(99)'], start_new_session=True)\n"
        "print(p.pid, flush=True)\n"
        "time.sleep(99)"
    )
    process = child(script, mark, tmp_path, heard.append)
    until(lambda: heard)
    grandchild = int(heard[0])
    assert sorted(marked(mark)) == sorted([process.pid, grandchild])
    process.kill()
    assert process.exit_code() == -signal.SIGKILL
    assert marked(mark) == [grandchild]
    send(marked(mark), signal.SIGKILL)
    until(lambda: not is_alive(grandchild))


def test_the_mark_of_another_warehouse_is_not_ours(tmp_path, mark):
    process = child("import time; time.sleep(99)", mark + "s", tmp_path)
    until(lambda: marked(mark + "s") == [process.pid])
    assert marked(mark) == []
    process.kill()


def test_a_child_dies_with_its_supervisor_even_when_that_is_killed(tmp_path, mark):
    """The supervisor is a process of its own here, and SIGKILL gives it no last word."""
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from cappuccino.watch.processes import Process, Program\n"
        "command = (sys.executable, '-S', '-c', 'import time; time.sleep(99)')\n"
        f"child = Process(Program('child', command, Path('.')), {mark!r}, lambda line: None)\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(99)"
    )
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE) as supervisor:
        pid = int(supervisor.stdout.readline())
        assert is_alive(pid)
        supervisor.kill()
    until(lambda: not is_alive(pid))


def test_a_childs_size_is_measured_and_grows_with_what_it_takes(tmp_path, mark):
    heard = []
    script = (
        "import os, sys, time\n"
        "print('small', flush=True)\n"
        "sys.stdin.close()\n"
        "block = bytearray(b'x' * 50_000_000); files = [os.dup(1) for _ in range(20)]\n"
        "print('large', flush=True)\n"
        "time.sleep(99)"
    )
    process = child(script, mark, tmp_path, heard.append)
    until(lambda: len(heard) == 2)
    size = process.size()
    assert 50 < size.memory_mb < 500
    assert 20 < size.open_files < 40
    process.kill()
    assert process.size() is None


def test_a_process_that_is_gone_has_no_size():
    with subprocess.Popen(["true"]) as gone:
        pass
    assert size_of(gone.pid) is None
    assert size_of(os.getpid()).memory_mb > 1


@pytest.mark.parametrize(
    ("code", "words"), [(0, "exit code 0"), (2, "exit code 2"), (-9, "killed by SIGKILL"), (-99, "killed by signal 99")]
)
def test_how_a_process_ended_in_words(code, words):
    assert in_words(code) == words


def test_a_log_is_put_aside_when_it_is_full_and_old_ones_go(tmp_path):
    log = RotatingFile(tmp_path / "logs" / "trader.log", max_bytes=30, keep=2)
    for number in range(10):
        log.write(b"line %d ......\n" % number)  # 14 bytes: two a file
    found = {file.name: file.read_text().split()[1::3] for file in (tmp_path / "logs").iterdir()}
    assert found == {"trader.log": ["8", "9"], "trader.log.1": ["6", "7"], "trader.log.2": ["4", "5"]}


def test_a_log_without_old_ones_begins_anew(tmp_path):
    log = RotatingFile(tmp_path / "a.log", max_bytes=10, keep=0)
    for number in range(5):
        log.write(b"line %d\n" % number)
    assert [file.read_text() for file in tmp_path.iterdir()] == ["line 4\n"]


def test_several_threads_may_write_one_log(tmp_path):
    log = RotatingFile(tmp_path / "a.log", max_bytes=100, keep=1_000)
    threads = [threading.Thread(target=lambda: [log.write(b"a line\n") for _ in range(50)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert b"".join(file.read_bytes() for file in tmp_path.iterdir()) == b"a line\n" * 200


def test_a_log_that_cannot_be_written_stops_nobody(tmp_path):
    log = RotatingFile(tmp_path / "a.log")
    (tmp_path / "a.log").mkdir()
    log.write(b"lost\n")
