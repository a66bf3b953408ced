"""Which pool a study gets."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from cappuccino.errors import ConfigError
from cappuccino.search.pools import pool_of
from cappuccino.search.workers import Pool
from tests.unit.search.fakes import settings_in


def test_trials_run_on_this_machine_unless_a_cluster_is_asked_for(tmp_path: Path) -> None:
    assert isinstance(pool_of(settings_in(tmp_path).training), Pool)


def test_a_cluster_without_ray_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("cappuccino.search.ray_pool", "cappuccino.search.ray_slot"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install 'cappuccino\[ray\]'"):
        pool_of(settings_in(tmp_path, executor="ray").training)


@pytest.mark.parametrize("address", ["ray://host:10001", "host", "host:port", ""])
def test_an_address_that_is_none_is_refused(tmp_path: Path, address: str) -> None:
    with pytest.raises(ConfigError, match=r"training\.ray_address"):
        settings_in(tmp_path, executor="ray", ray_address=address)
