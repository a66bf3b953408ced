"""Where keys come from, and that nobody else sees them."""

from __future__ import annotations

from pathlib import Path

import pytest

from cappuccino import credentials
from cappuccino.credentials import Keys, alpaca_keys, coinbase_keys, secret
from cappuccino.errors import ConfigError
from cappuccino.settings import load

NAMES = (
    *credentials.ALPACA_KEYS,
    *credentials.ALPACA_SECRETS,
    *credentials.COINBASE_KEYS,
    *credentials.COINBASE_SECRETS,
    credentials.ENV_FILE,
    "CAPPUCCINO_CONFIG",
)


@pytest.fixture(autouse=True)
def empty_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(file: Path, text: str, mode: int = 0o600) -> Path:
    file.write_text(text)
    file.chmod(mode)
    return file


def shown(keys: Keys) -> tuple[str, str]:
    return keys.key, keys.secret.get_secret_value()


@pytest.mark.parametrize(
    ("key", "hidden"),
    [
        ("ALPACA_API_KEY", "ALPACA_API_SECRET"),
        ("ALPACA_API_KEY", "ALPACA_SECRET_KEY"),
        ("APCA_API_KEY_ID", "APCA_API_SECRET_KEY"),
    ],
)
def test_keys_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, key: str, hidden: str) -> None:
    monkeypatch.setenv(key, " PK1 ")
    monkeypatch.setenv(hidden, "s3cret\n")
    assert shown(alpaca_keys()) == ("PK1", "s3cret")


def test_keys_come_from_the_env_file_here(empty_place: Path) -> None:
    write(empty_place / ".env", "ALPACA_API_KEY=PK1\nALPACA_API_SECRET='s3$cret'\n")
    assert shown(alpaca_keys()) == ("PK1", "s3$cret")


def test_the_env_file_lies_beside_the_configuration(empty_place: Path) -> None:
    folder = empty_place / "elsewhere"
    folder.mkdir()
    config = write(folder / "cappuccino.toml", "")
    write(folder / ".env", "ALPACA_API_KEY=PK1\nALPACA_API_SECRET=two\n")
    assert shown(alpaca_keys(config)) == ("PK1", "two")
    with pytest.raises(ConfigError):
        alpaca_keys()


def test_the_env_file_can_be_named(empty_place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(empty_place / ".env", "ALPACA_API_KEY=wrong\nALPACA_API_SECRET=wrong\n")
    named = write(empty_place / "keys", "export ALPACA_API_KEY=PK1\nexport ALPACA_API_SECRET=two\n")
    monkeypatch.setenv(credentials.ENV_FILE, str(named))
    assert shown(alpaca_keys()) == ("PK1", "two")
    load()


def test_a_named_file_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(credentials.ENV_FILE, "nowhere")
    with pytest.raises(ConfigError, match="names nowhere, which is no file"):
        alpaca_keys()


def test_the_environment_wins_and_halves_are_not_mixed(empty_place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(empty_place / ".env", "ALPACA_API_KEY=file\nALPACA_API_SECRET=file\n")
    monkeypatch.setenv("APCA_API_KEY_ID", "environment")
    with pytest.raises(ConfigError, match=r"ALPACA_SECRET_KEY .* beside it is not; set both"):
        alpaca_keys()
    monkeypatch.setenv("APCA_API_SECRET_KEY", "environment")
    assert shown(alpaca_keys()) == ("environment", "environment")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644, 0o660])
def test_a_file_that_others_can_read_or_write_is_refused(empty_place: Path, mode: int) -> None:
    write(empty_place / ".env", "ALPACA_API_KEY=PK1\nALPACA_API_SECRET=s3cret\n", mode)
    with pytest.raises(ConfigError, match=r"can be read by others .*chmod 600") as raised:
        alpaca_keys()
    assert "s3cret" not in str(raised.value)


def test_missing_keys_are_named() -> None:
    with pytest.raises(ConfigError, match="ALPACA_API_KEY and ALPACA_API_SECRET"):
        alpaca_keys()
    with pytest.raises(ConfigError, match="COINBASE_API_KEY and COINBASE_API_SECRET"):
        coinbase_keys()


def test_the_lines_of_coinbases_key_may_be_written_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COINBASE_API_KEY", "organizations/1/apiKeys/2")
    monkeypatch.setenv("COINBASE_API_SECRET", r"-----BEGIN EC PRIVATE KEY-----\nabc\n-----END EC PRIVATE KEY-----\n")
    assert coinbase_keys().secret.get_secret_value().splitlines()[1] == "abc"


def test_one_secret_is_asked_for_by_its_name(empty_place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert secret("ALERT_URLS") is None
    write(empty_place / ".env", "ALERT_URLS=file\n")
    found = secret("ALERT_URLS")
    assert found is not None
    assert found.get_secret_value() == "file"


def test_neither_half_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALPACA_API_KEY", "PK1")
    monkeypatch.setenv("ALPACA_API_SECRET", "s3cret")
    text = f"{alpaca_keys()!r} {alpaca_keys()!s} {load()!r}"
    assert "PK1" not in text
    assert "s3cret" not in text
