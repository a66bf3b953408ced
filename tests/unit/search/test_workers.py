"""Real processes on this machine: what every pool must do, and that none outlives its pool."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cappuccino.search.workers import Pool
from tests.unit.search.conftest import MakeTask
from tests.unit.search.pool_contract import PoolContract
from tests.unit.search.pool_talk import first_fold, is_alive, told, until
from tests.unit.search.ray_fakes import act


class TestPool(PoolContract):
    """The contract, kept by processes of this machine."""

    @pytest.fixture
    def pool(self) -> Iterator[Pool]:
        with Pool(act) as running:
            yield running


def test_leaving_the_pool_ends_what_runs(make_task: MakeTask) -> None:
    with Pool(act) as pool:
        task = make_task(0, "tell")
        pool.start(0, task)
        first_fold(pool)  # it waits for an answer that never comes
        pid = told(task)["pid"]
        assert is_alive(pid)
    assert until(lambda: not is_alive(pid)) and len(pool) == 0
