"""The kill switch: whatever lies there by that name kills, and nothing that goes wrong opens it."""

import json
import os
import threading
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cappuccino.errors import TraderError
from cappuccino.trading.switches import (
    Kill,
    Obeyed,
    clear_kill,
    history,
    operator,
    read_kill,
    read_obeyed,
    write_kill,
    write_obeyed,
)

AT = datetime(2025, 6, 1, 12, 30, 0, 123456, tzinfo=UTC)
ORDER = Kill(AT, "drawdown; ünser Wort", "somebody", flatten=True)


def test_without_a_file_nothing_is_killed(tmp_path):
    assert read_kill(tmp_path) is None
    assert read_kill(tmp_path / "no folder") is None


def test_what_was_ordered_is_read_back(tmp_path):
    assert write_kill(tmp_path / "desk", ORDER) == ORDER
    assert read_kill(tmp_path / "desk") == ORDER
    assert sorted(file.name for file in (tmp_path / "desk").iterdir()) == ["KILL", "switches.jsonl"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"stop!",
        b"\xff\xfe\x00",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b'{"at": "yesterday", "reason": "", "by": "", "flatten": true}',
        b'{"at": "2025-06-01T12:00:00", "reason": "no zone", "by": "", "flatten": true}',
        b"[" * 100_000,
        b'{"at": "2025-06-01T12:00:00Z", "reason": "' + b"x" * 100_000 + b'", "by": "", "flatten": true}',
    ],
)
def test_any_file_of_that_name_kills_and_one_that_is_no_order_flattens_nothing(tmp_path, content):
    (tmp_path / "KILL").write_bytes(content)
    found = read_kill(tmp_path)
    assert found is not None
    assert not found.flatten
    assert found == read_kill(tmp_path)


@given(st.binary(max_size=200))
def test_no_content_opens_the_switch(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("desk")
    (folder / "KILL").write_bytes(content)
    assert read_kill(folder) is not None


def test_only_true_flattens(tmp_path):
    (tmp_path / "KILL").write_text('{"at": "2025-06-01T12:00:00Z", "reason": "", "by": "", "flatten": "false"}')
    assert not read_kill(tmp_path).flatten


def test_a_folder_a_broken_link_and_a_link_in_a_circle_kill(tmp_path):
    for number, make in enumerate(
        (
            lambda file: file.mkdir(),
            lambda file: file.symlink_to("nowhere"),
            lambda file: file.symlink_to("KILL"),
        )
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        make(folder / "KILL")
        assert read_kill(folder) is not None


def test_a_desk_that_is_no_folder_kills(tmp_path):
    (tmp_path / "desk").write_text("")
    assert read_kill(tmp_path / "desk") is not None


def test_a_flattening_once_ordered_stays_ordered_until_the_switch_is_cleared(tmp_path):
    write_kill(tmp_path, ORDER)
    later = Kill(AT + timedelta(hours=1), "again", "somebody")
    assert write_kill(tmp_path, later).flatten
    assert read_kill(tmp_path) == Kill(later.at, "again", "somebody", flatten=True)
    clear_kill(tmp_path, "", "somebody", AT)
    assert not write_kill(tmp_path, later).flatten


def test_it_can_be_set_over_a_file_that_somebody_touched(tmp_path):
    (tmp_path / "KILL").touch()
    write_kill(tmp_path, ORDER)
    assert read_kill(tmp_path) == ORDER


def test_where_it_cannot_be_set_it_says_so(tmp_path):
    (tmp_path / "KILL").mkdir()
    with pytest.raises(TraderError, match="cannot be written"):
        write_kill(tmp_path, ORDER)
    assert read_kill(tmp_path) is not None


def test_clearing_returns_what_it_was_and_forgets_how_far_it_was_obeyed(tmp_path):
    write_kill(tmp_path, ORDER)
    write_obeyed(tmp_path, Obeyed(AT, AT, 7, is_done=True))
    assert clear_kill(tmp_path, "all is well", "somebody", AT) == ORDER
    assert read_kill(tmp_path) is None
    assert read_obeyed(tmp_path, ORDER) is None
    assert clear_kill(tmp_path, "again", "somebody", AT) is None


def test_what_cannot_be_cleared_says_so_and_goes_on_killing(tmp_path):
    (tmp_path / "KILL").mkdir()
    with pytest.raises(TraderError, match="cannot be removed"):
        clear_kill(tmp_path, "", "somebody", AT)
    assert read_kill(tmp_path) is not None


def test_the_history_says_who_did_what_and_why(tmp_path):
    write_kill(tmp_path, ORDER)
    with (tmp_path / "switches.jsonl").open("a") as opened:
        opened.write('{"damaged\n')
    clear_kill(tmp_path, "all is well", "another", AT)
    assert [(line["what"], line["by"], line["reason"]) for line in history(tmp_path)] == [
        ("kill", "somebody", ORDER.reason),
        ("resume", "another", "all is well"),
    ]
    assert history(tmp_path / "none") == []


def test_how_far_it_is_obeyed_belongs_to_one_order(tmp_path):
    said = Obeyed(AT, AT + timedelta(seconds=3), 7, is_done=True, lines=("2 orders cancelled",))
    write_obeyed(tmp_path, said)
    assert read_obeyed(tmp_path, ORDER) == said
    assert read_obeyed(tmp_path, Kill(AT + timedelta(microseconds=1), "", "")) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"kill_at": 3}', json.dumps({"kill_at": AT.isoformat()})])
def test_a_damaged_word_of_the_trader_is_none(tmp_path, text):
    (tmp_path / "KILL.done").write_text(text)
    assert read_obeyed(tmp_path, ORDER) is None


def test_whoever_looks_while_it_is_written_again_and_again_always_finds_it_whole(tmp_path):
    write_kill(tmp_path, ORDER)
    is_over, found = threading.Event(), []

    def look():
        while not is_over.is_set():
            found.append(read_kill(tmp_path))

    looking = threading.Thread(target=look)
    looking.start()
    for second in range(50):
        write_kill(tmp_path, Kill(AT + timedelta(seconds=second), ORDER.reason, ORDER.by, flatten=True))
    is_over.set()
    looking.join()
    assert {(kill.reason, kill.flatten) for kill in found} <= {(ORDER.reason, True)}


def test_somebody_has_done_it():
    assert operator()
    assert os.getuid() >= 0
