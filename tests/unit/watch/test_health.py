"""What a probe says of a trader's heartbeat file and of a server, on a clock that is moved by hand."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from cappuccino.watch.health import (
    HEALTHY,
    UNKNOWN,
    AliveProbe,
    AnswerProbe,
    HeartbeatProbe,
    daemons_beat,
    web_answers,
)


class Clock:
    def __init__(self):
        self.now_s = 1_000.0

    def __call__(self):
        return self.now_s


class Trader:
    """A heartbeat file and the probe that looks at it."""

    def __init__(self, folder):
        self.file, self.clock = folder / "heartbeat.json", Clock()
        self.probe = HeartbeatProbe(self.file, hang_s=300, monotonic=self.clock)
        self.probe.begin(77)

    def beats(self, beat_at, pid=77, phase="poll"):
        self.file.write_text(json.dumps({"pid": pid, "beat_at": beat_at, "phase": phase, "poll": 1}))

    def after(self, passed_s):
        self.clock.now_s += passed_s
        return self.probe.look()


def test_a_trader_that_has_not_beaten_yet_is_neither_well_nor_hanging(tmp_path):
    assert Trader(tmp_path).after(300) == UNKNOWN


def test_a_trader_that_beats_is_healthy_whatever_time_it_writes(tmp_path):
    trader = Trader(tmp_path)
    for beat_at in ("2025-06-01T00:00:00Z", "1970-01-01T00:00:00Z", "2099-01-01T00:00:00Z"):
        trader.beats(beat_at)
        assert trader.after(250) == HEALTHY


def test_a_trader_whose_heart_stands_still_hangs_and_its_phase_is_told(tmp_path):
    trader = Trader(tmp_path)
    trader.beats("2025-06-01T00:00:00Z", phase="decide")
    assert trader.after(10) == HEALTHY
    assert trader.after(300) == HEALTHY
    assert trader.after(1).hang == "no heartbeat for 301 s in phase 'decide'"


def test_a_trader_that_never_beats_hangs(tmp_path):
    assert Trader(tmp_path).after(301).hang == "no heartbeat for 301 s since it was started"


def test_the_heartbeat_of_another_process_says_nothing(tmp_path):
    trader = Trader(tmp_path)
    for number in range(4):
        trader.beats(f"2025-06-01T00:0{number}:00Z", pid=76)
        assert not trader.after(100).is_healthy
    assert trader.probe.look().hang


def test_a_new_process_gets_its_own_time(tmp_path):
    trader = Trader(tmp_path)
    trader.after(301)
    trader.probe.begin(78)
    assert trader.probe.look() == UNKNOWN


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"pid": "77"}', "\udcff"])
def test_a_damaged_heartbeat_is_none(tmp_path, text):
    trader = Trader(tmp_path)
    trader.file.write_bytes(text.encode(errors="surrogateescape"))
    assert trader.after(1) == UNKNOWN


class Server:
    """A child that is asked: `answers` are what it says, one a round; "wait" says nothing until it is released."""

    def __init__(self, *answers):
        self.answers, self.clock, self.release = list(answers), Clock(), threading.Event()
        self.over = threading.Semaphore(0)
        self.probe = AnswerProbe(self.ask, hang_s=120, every_s=15, monotonic=self.clock)
        self.probe.begin(1)

    def ask(self):
        answer = self.answers.pop(0)
        try:
            if answer == "wait":
                self.release.wait()
                return True
            if isinstance(answer, Exception):
                raise answer
            return answer
        finally:
            self.over.release()

    def after(self, passed_s, is_answered=True):
        """Let `passed_s` pass, look, let the round that began end, and look again."""
        self.clock.now_s += passed_s
        self.probe.look()
        if is_answered:
            self.over.acquire()
            deadline = time.monotonic() + 10
            while self.probe._round is not None and not self.probe._round.is_over and time.monotonic() < deadline:
                time.sleep(0.001)
        return self.probe.look()


def test_a_server_that_answers_is_healthy():
    server = Server(True, True)
    assert server.after(0) == HEALTHY
    assert server.after(15) == HEALTHY


def test_a_server_is_asked_every_15_seconds_not_at_each_look():
    server = Server(True)
    server.after(0)
    for _ in range(14):
        assert server.after(1, is_answered=False) == HEALTHY
    assert server.answers == []


def test_a_server_that_refuses_hangs_after_two_minutes():
    server = Server(True, *[ConnectionRefusedError()] * 9)
    server.after(0)
    found = [server.after(15) for _ in range(9)]
    assert found[:8] == [UNKNOWN] * 8
    assert found[8].hang == "no sound answer for 135 s"


def test_a_server_that_takes_the_question_and_never_answers_hangs_too_and_the_look_does_not_wait():
    server = Server("wait")
    assert server.after(0, is_answered=False) == UNKNOWN
    assert server.after(121, is_answered=False).hang == "no sound answer for 121 s"
    server.release.set()


def test_a_late_answer_of_the_process_before_does_not_speak_for_the_new_one():
    server = Server("wait", False)
    server.after(0, is_answered=False)
    server.probe.begin(2)
    server.release.set()
    server.over.acquire()
    assert server.after(0) == UNKNOWN


def test_a_child_without_a_probe_is_well_while_it_lives():
    probe = AliveProbe()
    probe.begin(1)
    assert probe.look() == HEALTHY


@pytest.fixture
def web():
    """A web server on this machine; `says` is its answer to every path."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(web.status)
            self.end_headers()
            self.wfile.write(web.says.encode())

        def do_POST(self):
            self.do_GET()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as web:
        web.status, web.says = 200, "{}"
        web.address = f"http://127.0.0.1:{web.server_port}"
        thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield web
        web.shutdown()
        thread.join()


def test_the_page_of_the_ui_tells_it_from_another_server_on_its_port(web):
    assert not web_answers(web.address)
    web.says = '{"dagster_version": "1.13.27"}'
    assert web_answers(web.address)


@pytest.mark.parametrize("says", ["<html>", "[]", ""])
def test_nonsense_from_the_port_is_no_answer(web, says):
    web.says = says
    with pytest.raises(ValueError):
        web_answers(web.address)


def test_an_error_page_is_no_answer(web):
    web.status = 500
    with pytest.raises(OSError, match="500"):
        web_answers(web.address)


def daemons(**beats_s):
    found = [
        {"daemonType": name, "required": name != "BACKFILL", "lastHeartbeatTime": at_s}
        for name, at_s in beats_s.items()
    ]
    return json.dumps({"data": {"instance": {"daemonHealth": {"allDaemonStatuses": found}}}})


@pytest.mark.parametrize(
    ("beats_s", "is_well"),
    [
        ({"SENSOR": 950.0, "ASSET": 101.0}, True),
        ({"SENSOR": 950.0, "ASSET": 100.0}, False),
        ({"SENSOR": 950.0, "ASSET": None}, False),
        ({"SENSOR": 950.0, "BACKFILL": None}, True),
    ],
)
def test_every_daemon_that_is_needed_has_to_beat(web, beats_s, is_well):
    web.says = daemons(**beats_s)
    assert daemons_beat(web.address, hang_s=900, now_s=1000.0) is is_well


@pytest.mark.parametrize("says", ["<html>", "{}", '{"data": null}', '{"data": {"instance": null}}'])
def test_without_the_ui_nothing_is_said_against_the_daemon(web, says):
    web.says = says
    assert daemons_beat(web.address, hang_s=900, now_s=1000.0)


def test_with_no_server_at_all_nothing_is_said_against_the_daemon():
    assert daemons_beat("http://127.0.0.1:1", hang_s=900, now_s=1000.0)
