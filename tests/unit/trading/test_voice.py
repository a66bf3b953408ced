"""What the trader says: once when it begins, once when it is over, also across restarts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from cappuccino.settings import AlertSettings
from cappuccino.trading.ledger import Ledger
from cappuccino.trading.voice import Voice
from cappuccino.watch.alerts import Alert
from tests.unit.trading.small_desk import START, VirtualClock


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with closing(Ledger(tmp_path)) as opened:
        yield opened


class Heard:
    """A voice and all that it has sent and shown."""

    def __init__(self, ledger: Ledger) -> None:
        self.clock = VirtualClock(START)
        self.sent: list[Alert] = []
        self.shown: list[str] = []
        self.voice = Voice(ledger, AlertSettings(), self.clock, self.sent.append, self.shown.append)


def test_a_trouble_is_said_once_and_once_when_it_is_over(ledger: Ledger) -> None:
    heard = Heard(ledger)
    for minute in range(30):
        heard.voice.warn("feed", f"no answer, {minute}")
        heard.clock.sleep(60)
    heard.voice.over("feed")
    heard.voice.over("feed")
    assert heard.shown == ["warning: no answer, 0", "over: no answer, 0"]
    assert [alert.is_resolved for alert in heard.sent] == [False, True]
    assert len(ledger.rows("select * from alerts")) == 2


def test_the_end_of_what_never_began_is_not_said(ledger: Ledger) -> None:
    heard = Heard(ledger)
    heard.voice.over("feed")
    assert not heard.shown


def test_what_was_said_before_a_restart_is_not_said_again(ledger: Ledger) -> None:
    Heard(ledger).voice.critical("mismatch", "they differ")
    again = Heard(ledger)
    again.voice.critical("mismatch", "they differ")
    assert not again.shown
    assert again.voice.troubles == ("critical: they differ",)
    again.voice.over("mismatch")
    assert again.shown == ["over: they differ"]
    assert Heard(ledger).voice.troubles == ()


def test_what_lasts_is_said_again_after_hours(ledger: Ledger) -> None:
    heard = Heard(ledger)
    for _ in range(3):
        heard.voice.warn("feed", "no answer")
        heard.clock.at += timedelta(hours=AlertSettings().repeat_hours)
    assert len(heard.sent) == 3


def test_the_most_urgent_trouble_comes_first(ledger: Ledger) -> None:
    heard = Heard(ledger)
    heard.voice.info("a", "aside")
    heard.voice.warn("b", "odd")
    heard.voice.critical("c", "bad")
    assert heard.voice.troubles == ("critical: bad", "warning: odd", "info: aside")
    assert [alert.message for alert in heard.sent] == ["odd", "bad"]
