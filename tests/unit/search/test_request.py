"""A request says everything that a study's program has to know."""

from __future__ import annotations

from pathlib import Path

import pytest

from cappuccino.search.request import read_request, write_request
from tests.unit.search.fakes import NOW, settings_in


def test_a_request_comes_back_as_it_was_written(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, trials=17)
    request = read_request(write_request(settings, "timeframe", NOW))
    assert (request.kind, request.now) == ("timeframe", NOW)
    assert request.settings == settings


def test_the_environment_of_the_program_does_not_change_a_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_in(tmp_path)
    file = write_request(settings, "training", NOW)
    monkeypatch.setenv("CAPPUCCINO_TRAINING__TRIALS", "3")
    monkeypatch.setenv("CAPPUCCINO_PROFILE", "paper")
    monkeypatch.setenv("CAPPUCCINO_MARKET__END", "2024-01-01T00:00:00Z")
    assert read_request(file).settings == settings


def test_a_request_names_its_warehouse_whatever_folder_the_program_runs_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = write_request(settings_in(Path("here")), "training", NOW)
    assert file.is_absolute()
    assert read_request(file).settings.warehouse == tmp_path / "here"


def test_requests_of_two_kinds_lie_beside_each_other(tmp_path: Path) -> None:
    files = {write_request(settings_in(tmp_path), kind, NOW) for kind in ("training", "timeframe")}
    assert {read_request(file).kind for file in files} == {"training", "timeframe"}
    assert sorted(file.suffix for file in (tmp_path / "scratch").iterdir()) == [".json", ".json"]
