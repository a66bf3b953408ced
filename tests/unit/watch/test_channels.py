"""A channel that fails or hangs stops nobody, and secrets stay secret."""

import threading
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from pydantic import SecretStr

from cappuccino.clock import SystemClock
from cappuccino.errors import ConfigError
from cappuccino.settings import AlertSettings
from cappuccino.watch.alerts import Alert, Severity
from cappuccino.watch.channels import AppriseChannel, Sender, alerts_of, channels_of, title_of

PATIENCE_S = 20.0
AT = datetime(2025, 6, 1, tzinfo=UTC)


def alert(key="a", message="something"):
    return Alert(key, Severity.CRITICAL, message, AT)


def until(is_so):
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.001)


class Fake:
    """A channel that takes, fails so many times, or hangs until it is released."""

    def __init__(self, name="fake", failures=0, hangs=False):
        self.name, self.failures, self.tries, self.taken = name, failures, 0, []
        self.release, self.entered = threading.Event(), threading.Event()
        if not hangs:
            self.release.set()

    def send(self, alert):
        self.tries += 1
        self.entered.set()
        self.release.wait()
        if self.tries <= self.failures:
            raise ConnectionError("https://user:geheim@example.org refused")
        self.taken.append(alert)


def test_every_channel_gets_every_alert_in_order():
    fakes, said = [Fake("one"), Fake("two")], []
    sender = Sender(fakes, said.append)
    alerts = [alert(str(number)) for number in range(20)]
    for each in alerts:
        sender.send(each)
    assert sender.close(PATIENCE_S)
    assert [fake.taken for fake in fakes] == [alerts, alerts]
    assert said == []


def test_a_channel_that_hangs_keeps_only_itself_waiting():
    hanging, sound, said = Fake("stuck", hangs=True), Fake("sound"), []
    sender = Sender([hanging, sound], said.append, timeout_s=0, waiting=3)
    for number in range(10):
        sender.send(alert(str(number)))
        assert hanging.entered.wait(PATIENCE_S)
        until(lambda number=number: len(sound.taken) == number + 1)
    assert sender.hanging() == ("stuck",)
    assert not sender.close(0.05)
    assert said[0] == "alert channel stuck has hung for more than 0 s"
    hanging.release.set()
    assert sender.close(PATIENCE_S)
    assert [a.key for a in hanging.taken] == ["0", "7", "8", "9"]


def test_a_channel_that_fails_is_tried_again():
    fake, said = Fake(failures=2), []
    sender = Sender([fake], said.append, pauses_s=(0, 0, 0))
    sender.send(alert())
    until(lambda: fake.taken)
    assert sender.close(PATIENCE_S)
    assert (fake.tries, len(fake.taken), said) == (3, 1, [])


def test_a_channel_that_goes_on_failing_is_given_up_for_one_alert_and_its_words_are_not_repeated():
    fake, said = Fake(failures=2), []
    sender = Sender([fake], said.append, pauses_s=())
    for key in "abc":
        sender.send(alert(key))
    assert sender.close(PATIENCE_S)
    assert said == [f"alert {key} was not delivered by fake: ConnectionError" for key in "ab"]
    assert [a.key for a in fake.taken] == ["c"]


def test_an_end_waits_for_no_further_try():
    fake, said = Fake(failures=99), []
    sender = Sender([fake], said.append, pauses_s=(3_600,))
    sender.send(alert())
    assert fake.entered.wait(PATIENCE_S)
    assert sender.close(PATIENCE_S)
    assert len(said) == 1


def test_without_channels_nothing_happens():
    sender = Sender([], pytest.fail)
    sender.send(alert())
    assert sender.close(0)


@pytest.fixture
def inbox():
    """A service on this machine that takes JSON."""
    bodies = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(inbox.status)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as inbox:
        inbox.status, inbox.bodies = 200, bodies
        inbox.url = f"json://user:geheim@127.0.0.1:{inbox.server_port}/alerts"
        thread = threading.Thread(target=inbox.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield inbox
        inbox.shutdown()
        thread.join()


def test_the_library_delivers(inbox):
    channel = AppriseChannel(SecretStr(inbox.url))
    channel.send(alert("up.trader.restarts", "look at it"))
    (body,) = inbox.bodies
    assert "look at it" in body
    assert "Cappuccino CRITICAL: up.trader.restarts" in body
    assert channel.name == "json"


def test_a_service_that_refuses_is_a_failure(inbox):
    inbox.status = 500
    with pytest.raises(ConnectionError, match="json did not take it"):
        AppriseChannel(SecretStr(inbox.url)).send(alert())


@pytest.mark.parametrize("url", ["nonsense://geheim", "geheim", "://geheim"])
def test_a_wrong_address_is_told_without_its_secret(url):
    with pytest.raises(ConfigError, match="ALERT_URLS") as raised:
        AppriseChannel(SecretStr(url))
    assert "geheim" not in str(raised.value)


def test_one_wrong_address_does_not_silence_the_others(inbox):
    channels, wrong = channels_of(SecretStr(f"nonsense://geheim {inbox.url}\n"))
    assert [channel.name for channel in channels] == ["json"]
    assert len(wrong) == 1
    assert channels_of(None) == ([], [])


def test_a_process_gets_its_channels_from_the_environment_and_their_manners_from_the_settings(inbox, monkeypatch):
    monkeypatch.setenv("ALERT_URLS", inbox.url)
    stored, said = [], []
    settings = AlertSettings(min_severity="critical")
    alerts, sender = alerts_of(settings, SystemClock(), stored.append, said.append)
    alerts.raise_("a", Severity.WARNING, "not so urgent")
    alerts.raise_("b", Severity.CRITICAL, "urgent")
    assert sender.close(PATIENCE_S)
    assert ([a.key for a in stored], len(inbox.bodies), said) == (["a", "b"], 1, [])


def test_an_end_has_its_own_headline():
    over = Alert("a", Severity.WARNING, "over", AT, is_resolved=True)
    assert title_of(over) == "Cappuccino resolved: a"
