from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError

from cappuccino.errors import ConfigError
from cappuccino.market.interval import Interval
from cappuccino.settings import PROFILES, Settings, differences, load, utc


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder and no variable of ours."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.upper().startswith("CAPPUCCINO_")]:
        monkeypatch.delenv(name)


def written(text: str, name: str = "cappuccino.toml") -> Path:
    file = Path(name)
    file.write_text(text)
    return file


def test_each_source_wins_over_the_one_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """defaults < profile < file < environment < command line."""
    found = [load(overrides={"profile": "paper"}).training.trials, load().training.trials]
    written("training.trials = 11")
    found.append(load().training.trials)
    monkeypatch.setenv("CAPPUCCINO_TRAINING__TRIALS", "12")
    found.append(load().training.trials)
    found.append(load(overrides={"training": {"trials": 13}}).training.trials)
    assert found == [1000, 24, 11, 12, 13]


def test_sources_are_merged_key_by_key(monkeypatch: pytest.MonkeyPatch) -> None:
    written("[training]\nseed = 3\n[costs]\nfee_bps = 40")
    monkeypatch.setenv("CAPPUCCINO_TRAINING__N_FOLDS", "5")
    settings = load(overrides={"training": {"workers": 1}})
    training = settings.training
    assert (training.seed, training.n_folds, training.workers, training.updates) == (3, 5, 1, 30)
    assert (settings.costs.fee_bps, settings.costs.slippage_bps) == (40.0, 5.0)


@pytest.mark.parametrize("place", ["file", "environment", "command line"])
def test_any_source_can_choose_the_profile(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if place == "file":
        written("profile = 'paper'")
    if place == "environment":
        monkeypatch.setenv("CAPPUCCINO_PROFILE", "paper")
    settings = load(overrides={"profile": "paper"} if place == "command line" else None)
    assert settings.profile == "paper"
    assert differences(settings) == []
    assert settings.arena.streak == 20


def test_the_demo_names_all_that_it_shrinks() -> None:
    shrunk = {key: (specified, used) for key, specified, used in differences(load())}
    assert shrunk["arena.streak"] == (20, 3)
    assert shrunk["timeframe.intervals"][1] == (Interval.H1, Interval.H4)
    assert set(shrunk) == {f"{group}.{key}" for group, keys in PROFILES["demo"].items() for key in keys}


def test_a_demo_number_that_was_set_back_is_no_difference() -> None:
    settings = load(overrides={"arena": {"streak": 20}})
    assert "arena.streak" not in [key for key, _, _ in differences(settings)]


def test_the_demo_s_last_day_is_that_of_the_simulated_market_only() -> None:
    assert load().market.end == datetime(2025, 7, 1, tzinfo=UTC)
    files = load(overrides={"market": {"source": "files", "path": "bars.csv"}})
    assert files.market.end is None
    assert files.market.history_days == 150
    asked = load(overrides={"market": {"source": "files", "path": "bars.csv", "end": "2025-01-01T00:00Z"}})
    assert asked.market.end == datetime(2025, 1, 1, tzinfo=UTC)


def test_an_unknown_key_is_named_wherever_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    for text, key in (
        ("[costs]\nfee_bp = 3", "costs.fee_bp"),
        ("[cost]\nfee_bps = 3", "cost"),
        ("[risk.position]\nstop = 1", "risk.position.stop"),
    ):
        with pytest.raises(ConfigError, match=f"unknown key {key};"):
            load(written(text, "wrong.toml"))
    with pytest.raises(ConfigError, match=r"unknown key costs\.fee_bp;"):
        load(overrides={"costs": {"fee_bp": 3}})
    monkeypatch.setenv("CAPPUCCINO_COSTS", '{"fee_bp": 3}')
    with pytest.raises(ConfigError, match=r"unknown key costs\.fee_bp;"):
        load()


@pytest.mark.parametrize(
    "name",
    [
        "CAPPUCCINO_COSTS__FEE_BP",
        "CAPPUCCINO_COST__FEE_BPS",
        "CAPPUCCINO_FEE_BPS",
        "CAPPUCCINO_MARKET__PATH__NAME",
        "cappuccino_costs__fee_bp",
    ],
)
def test_an_unknown_variable_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "3")
    with pytest.raises(ConfigError, match=f"unknown environment variable {name};"):
        load()


def test_variables_reach_every_key_and_other_programs_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAPPUCCINO_RISK__POSITION__STOP_LOSS_FRAC", "0.2")
    monkeypatch.setenv("CAPPUCCINO_TIMEFRAME__INTERVALS", '["1h"]')
    monkeypatch.setenv("CAPPUCCINOS", "2")
    settings = load()
    assert settings.risk.position.stop_loss_frac == 0.2
    assert settings.timeframe.intervals == (Interval.H1,)


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        ({"costs": {"fee_bps": -1}}, r"costs\.fee_bps"),
        ({"costs": {"fee_bps": "cheap"}}, r"costs\.fee_bps"),
        ({"live": {"min_alpha": float("nan")}}, r"live\.min_alpha"),
        ({"sandbox": {"cash_usd": float("inf")}}, r"sandbox\.cash_usd"),
        ({"training": {"trials": 1001}}, r"training\.trials"),
        ({"arena": {"windows": 4}}, r"arena\.windows"),
        ({"market": {"symbols": ["BTC"]}}, r"market\.symbols"),
        ({"market": {"symbols": ["BTC/USD", "BTC/USD"]}}, r"market\.symbols"),
        ({"market": {"symbols": []}}, r"market\.symbols"),
        ({"market": {"end": "2025-01-01T00:00"}}, r"market\.end"),
        ({"market": {"source": "files"}}, r"market: .*needs market\.path"),
        ({"market": {"start": "2025-07-02T00:00Z"}}, "market: .*is not before end"),
        ({"market": 3}, "market"),
        ({"profile": "dmo"}, "profile"),
        ({"timeframe": {"lookbacks": [1]}}, "timeframe: .*at least 2 bars"),
        ({"timeframe": {"intervals": ["5m"]}}, "5m cannot be derived from market.base_interval 15m"),
        ({"live": {"enabled": True}}, "live.enabled needs profile = 'live'"),
    ],
)
def test_a_bad_value_is_an_error_that_names_its_key(overrides: dict[str, object], key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        load(overrides=overrides)


def test_all_that_is_wrong_is_said_at_once_and_without_the_tables_around_it() -> None:
    file = written("[costs]\nfee_bps = -1\n[arena]\nstreek = 3\n[market]\nsource = 'files'")
    with pytest.raises(ConfigError) as error:
        load()
    text = str(error.value)
    assert text.startswith(f"configuration {file} is wrong:")
    assert "costs.fee_bps: Input should be greater than or equal to 0 (found -1)" in text
    assert "unknown key arena.streek" in text
    assert "source 'files' needs market.path" in text
    assert "{" not in text


def test_a_file_that_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="configuration cannot be read"):
        load(written("costs = [", "broken.toml"))
    with pytest.raises(ConfigError, match=r"absent\.toml does not exist"):
        load(Path("absent.toml"))
    monkeypatch.setenv("CAPPUCCINO_CONFIG", "absent.toml")
    with pytest.raises(ConfigError, match=r"absent\.toml does not exist"):
        load()


def test_the_named_file_is_read_instead_of_the_usual_one(monkeypatch: pytest.MonkeyPatch) -> None:
    written("arena.streak = 3")
    named, flagged = written("arena.streak = 4", "named.toml"), written("arena.streak = 6", "flagged.toml")
    monkeypatch.setenv("CAPPUCCINO_CONFIG", str(named))
    assert load().arena.streak == 4
    assert load(flagged).arena.streak == 6
    monkeypatch.delenv("CAPPUCCINO_CONFIG")
    assert load().arena.streak == 3


def test_a_list_that_is_not_json_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAPPUCCINO_MARKET__SYMBOLS", "BTC/USD")
    with pytest.raises(ConfigError, match=r"symbols|market"):
        load()


def test_times_are_utc_whatever_zone_they_were_written_in() -> None:
    end = load(written("market.end = 2025-06-01T02:00:00+02:00")).market.end
    assert end == datetime(2025, 6, 1, tzinfo=UTC)
    assert end is not None
    assert end.tzinfo is UTC


def test_stored_settings_come_back_whatever_lies_around_then(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(overrides={"costs": {"fee_bps": 40}, "market": {"start": "2025-01-01T00:00Z", "end": None}})
    assert settings.market.end is None
    written("costs.fee_bps = 50")
    monkeypatch.setenv("CAPPUCCINO_COSTS__FEE_BPS", "60")
    monkeypatch.setenv("CAPPUCCINO_MARKET__END", "2025-02-01T00:00Z")
    assert Settings.stored(settings.model_dump(mode="json")) == settings


def test_a_file_speaks_for_the_call_that_named_it_only() -> None:
    load(written("arena.streak = 4", "named.toml"))
    assert load().arena.streak == 3


def test_settings_do_not_change() -> None:
    settings = load()
    with pytest.raises(ValidationError):
        settings.costs.fee_bps = 0.0  # type: ignore[misc]


def test_nothing_real_money_is_on_by_default() -> None:
    for profile in PROFILES:
        assert not load(overrides={"profile": profile}).live.enabled


def test_paths_follow_the_warehouse_folder() -> None:
    settings = load(overrides={"warehouse": "here"})
    assert settings.database == Path("here/cappuccino.duckdb")
    assert settings.artifacts == Path("here/artifacts")
    assert settings.published.parent == settings.warehouse
    assert settings.is_simulated


def test_dates_of_the_command_line_are_utc_and_nonsense_is_refused() -> None:
    assert utc("2025-06-30") == datetime(2025, 6, 30, tzinfo=UTC)
    assert utc("2025-06-30T12:00+02:00") == datetime(2025, 6, 30, 10, tzinfo=UTC)
    with pytest.raises(ConfigError, match="'yesterday' is not a date"):
        utc("yesterday")
