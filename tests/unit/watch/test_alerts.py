"""Said once, stored, said again when it lasts, gets worse or ends; never more than the budget."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cappuccino.watch.alerts import Alert, AlertFile, Alerts, Severity

START = datetime(2025, 6, 1, tzinfo=UTC)
INFO, WARNING, CRITICAL = Severity


class Desk:
    """Alerts on a clock that is moved by hand, with what was stored and sent."""

    def __init__(self, **options):
        self.at, self.stored, self.sent = START, [], []
        self.alerts = Alerts(self, self.stored.append, self.sent.append, **options)

    def now(self):
        return self.at

    def pass_(self, **time):
        self.at += timedelta(**time)


def test_a_state_is_said_once():
    desk = Desk()
    assert desk.alerts.raise_("feed.stale", WARNING, "no quotes for 5 minutes")
    for _ in range(60):
        desk.pass_(minutes=1)
        assert not desk.alerts.raise_("feed.stale", WARNING, "no quotes for longer")
    assert desk.sent == desk.stored == [Alert("feed.stale", WARNING, "no quotes for 5 minutes", START)]


def test_a_state_that_lasts_is_said_again():
    desk = Desk(repeat_hours=2)
    said = []
    for hour in range(7):
        if desk.alerts.raise_("a", WARNING, "still"):
            said.append(hour)
        desk.pass_(hours=1)
    assert said == [0, 2, 4, 6]


def test_a_state_that_gets_worse_is_said_at_once_and_one_that_gets_better_is_not():
    desk = Desk()
    assert desk.alerts.raise_("loss", WARNING, "8 %")
    assert desk.alerts.raise_("loss", CRITICAL, "15 %")
    assert not desk.alerts.raise_("loss", WARNING, "14 %")


def test_an_end_is_said_once_and_a_new_beginning_is_news():
    desk = Desk()
    desk.alerts.raise_("a", WARNING, "begins")
    assert desk.alerts.resolve("a", "has ended")
    assert not desk.alerts.resolve("a")
    assert desk.alerts.raise_("a", WARNING, "begins again")
    assert [(a.message, a.is_resolved) for a in desk.sent] == [
        ("begins", False),
        ("has ended", True),
        ("begins again", False),
    ]


def test_an_end_of_what_never_began_is_silent():
    desk = Desk()
    assert not desk.alerts.resolve("a")
    assert desk.stored == []


def test_what_is_not_urgent_is_stored_and_not_sent_nor_is_its_end():
    desk = Desk()
    desk.alerts.raise_("a", INFO, "started")
    desk.alerts.resolve("a")
    assert len(desk.stored) == 2
    assert desk.sent == []


def test_a_flood_is_cut_and_the_next_hour_says_how_much_was_held_back():
    desk = Desk(per_hour=3)
    for number in range(10):
        desk.alerts.raise_(f"a{number}", WARNING, "flood")
    assert (len(desk.stored), len(desk.sent)) == (10, 3)
    desk.pass_(minutes=61)
    desk.alerts.raise_("b", WARNING, "calm")
    assert desk.sent[-1].message == "calm (7 other alerts were held back; they are stored)"
    assert desk.stored[-1].message == "calm"


def test_a_flood_of_warnings_does_not_swallow_what_is_critical():
    desk = Desk(per_hour=3)
    for number in range(10):
        desk.alerts.raise_(f"a{number}", WARNING, "flood")
    desk.alerts.raise_("kill", CRITICAL, "killed")
    assert desk.sent[-1].key == "kill"


def test_the_end_of_what_was_held_back_is_not_sent():
    desk = Desk(per_hour=1)
    desk.alerts.raise_("a", WARNING, "sent")
    desk.alerts.raise_("b", WARNING, "held back")
    desk.alerts.resolve("b")
    assert [a.key for a in desk.sent] == ["a"]


def test_a_process_that_starts_anew_does_not_say_again_what_the_one_before_has_said():
    before = Desk()
    before.alerts.raise_("a", WARNING, "goes on")
    before.alerts.raise_("b", WARNING, "was short")
    before.alerts.resolve("b")
    after = Desk(past=before.stored)
    assert [a.key for a in after.alerts.open] == ["a"]
    assert not after.alerts.raise_("a", WARNING, "goes on")
    assert after.alerts.raise_("b", WARNING, "is back")
    assert after.alerts.resolve("a")


def test_the_budget_outlives_the_process():
    before = Desk(per_hour=2)
    for number in range(2):
        before.alerts.raise_(f"a{number}", WARNING, "flood")
    after = Desk(per_hour=2, past=before.stored)
    after.alerts.raise_("c", WARNING, "too much")
    assert after.sent == []


def test_what_cannot_be_stored_is_sent_nevertheless():
    sent = []

    def full(_):
        raise OSError("No space left on device")

    alerts = Alerts(Desk(), full, sent.append)
    with pytest.raises(OSError, match="No space"):
        alerts.raise_("disk", CRITICAL, "full")
    assert [a.key for a in sent] == ["disk"]


def test_the_most_urgent_comes_first():
    desk = Desk()
    for key, severity in (("a", WARNING), ("b", CRITICAL), ("c", INFO)):
        desk.alerts.raise_(key, severity, "")
        desk.pass_(minutes=1)
    assert [a.key for a in desk.alerts.open] == ["b", "a", "c"]


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from([*Severity, None]), st.floats(0, 10_000, allow_nan=False)),
        max_size=120,
    ),
    st.integers(1, 4),
)
def test_no_hour_carries_more_than_its_budget_and_nothing_is_lost(moves, per_hour):
    desk = Desk(per_hour=per_hour)
    for key, severity, pause_s in moves:
        desk.pass_(seconds=pause_s)
        news = desk.alerts.resolve(key) if severity is None else desk.alerts.raise_(key, severity, "")
        assert not news or (desk.stored[-1].key, desk.stored[-1].at) == (key, desk.at)
    for severity in Severity:
        times = [a.at for a in desk.sent if a.severity is severity and not a.is_resolved]
        for first, later in zip(times, times[per_hour:], strict=False):
            assert later - first >= timedelta(hours=1)
    # Who replays what was stored knows what is open.
    assert [a.key for a in Desk(past=desk.stored).alerts.open] == [a.key for a in desk.alerts.open]


def test_the_file_gives_back_what_was_written_and_leaves_damaged_lines_out(tmp_path):
    file = AlertFile(tmp_path / "desk")
    assert file.read() == []
    alerts = [Alert("a", WARNING, "ünser\nWort", START), Alert("a", WARNING, "over", START, is_resolved=True)]
    file.append(alerts[0])
    with (tmp_path / "desk" / "alerts.jsonl").open("ab") as opened:
        opened.write(b'{"at": "2025-06-01T00:0\n[]\n\xff\xfe\n{"at": "2025-06-01T00:00:00"}\n')
    file.append(alerts[1])
    assert file.read() == alerts


def test_a_file_that_cannot_be_written_stops_nobody(tmp_path):
    (tmp_path / "desk").write_text("a file where the folder should be")
    file = AlertFile(tmp_path / "desk")
    file.append(Alert("a", WARNING, "", START))
    assert file.read() == []
