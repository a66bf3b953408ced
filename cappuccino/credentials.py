"""Keys of brokers: from the environment, or from an env file that nobody else can read; never from the settings.

The file is the one that CAPPUCCINO_ENV_FILE names, else `.env` beside `cappuccino.toml`. What the environment has wins,
and a key and its secret are taken from the same place: halves of two accounts would make no sense.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dotenv import dotenv_values
from pydantic import SecretStr

from cappuccino.errors import ConfigError
from cappuccino.settings import PREFIX, chosen_file

ENV_FILE = f"{PREFIX}ENV_FILE"
ALPACA_KEYS = ("ALPACA_API_KEY", "APCA_API_KEY_ID")
ALPACA_SECRETS = ("ALPACA_API_SECRET", "ALPACA_SECRET_KEY", "APCA_API_SECRET_KEY")
COINBASE_KEYS, COINBASE_SECRETS = ("COINBASE_API_KEY",), ("COINBASE_API_SECRET",)


@dataclass(frozen=True)
class Keys:
    """What opens an account; shows neither half of it."""

    key: str = field(repr=False)
    secret: SecretStr = field(repr=False)


def alpaca_keys(config: Path | None = None) -> Keys:
    """Return Alpaca's keys; `config` is the configuration file in use. Raises ConfigError when there are none."""
    return _keys("Alpaca", ALPACA_KEYS, ALPACA_SECRETS, config)


def coinbase_keys(config: Path | None = None) -> Keys:
    r"""Return Coinbase's keys, a literal \n of the secret made a line's end; raises ConfigError when there are none."""
    keys = _keys("Coinbase", COINBASE_KEYS, COINBASE_SECRETS, config)
    return Keys(keys.key, SecretStr(keys.secret.get_secret_value().replace("\\n", "\n")))


def secret(name: str, config: Path | None = None) -> SecretStr | None:
    """Return one secret by its variable's name; None without it. Raises ConfigError for a file that is not private."""
    found = next((place[name] for place in _places(config) if place.get(name)), "")
    return SecretStr(found) if found else None


def _keys(venue: str, key_names: tuple[str, ...], secret_names: tuple[str, ...], config: Path | None) -> Keys:
    for place in _places(config):
        key, hidden = _first(place, key_names), _first(place, secret_names)
        if key and hidden:
            return Keys(key, SecretStr(hidden))
        if key or hidden:
            there, missing = (key_names, secret_names) if key else (secret_names, key_names)
            raise ConfigError(f"{' or '.join(there)} is set, {' or '.join(missing)} beside it is not; set both")
    raise ConfigError(
        f"no keys of {venue}: set {key_names[0]} and {secret_names[0]} in the environment, or in the file that "
        f"{ENV_FILE} names (`.env` beside cappuccino.toml without it)"
    )


def _first(place: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((place[name] for name in names if place.get(name)), "")


def _places(config: Path | None) -> tuple[Mapping[str, str], ...]:
    """Return the environment and the env file, stripped."""
    environment = {name: value.strip() for name, value in os.environ.items()}
    file = _env_file(config)
    return (environment, _read(file)) if file else (environment,)


def _env_file(config: Path | None) -> Path | None:
    named = os.environ.get(ENV_FILE)
    if named:
        if not Path(named).is_file():
            raise ConfigError(f"{ENV_FILE} names {named}, which is no file; correct it, or unset it")
        return Path(named)
    settings_file = chosen_file(config)
    beside = (settings_file.parent if settings_file else Path()) / ".env"
    return beside if beside.is_file() else None


def _read(file: Path) -> Mapping[str, str]:
    mode = stat.S_IMODE(file.stat().st_mode)
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(f"{file} can be read by others (mode {mode:o}); keys need chmod 600 {file}")
    # A secret may hold a $, which is no variable.
    found = dotenv_values(file, interpolate=False)
    return {name: value.strip() for name, value in found.items() if value}
