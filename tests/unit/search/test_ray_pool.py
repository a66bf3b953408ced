"""What only a pool on a cluster can do: bring things over, and lose a node."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cappuccino.errors import ConfigError, TrainingError
from cappuccino.registry import artifacts
from cappuccino.registry.identity import ModelId
from cappuccino.registry.version import code_version
from cappuccino.search.coordinator import run_study
from cappuccino.search.request import StudyRequest
from cappuccino.settings import Settings
from cappuccino.store.warehouse import Warehouse
from tests.unit.search.conftest import MakeTask
from tests.unit.search.fakes import NOW
from tests.unit.search.pool_contract import PoolContract
from tests.unit.search.pool_talk import ends, first_fold, is_alive, told, until
from tests.unit.search.ray_fakes import SmallCluster, act

pytest.importorskip("ray", reason="Ray is not installed; it is the extra `ray` of pyproject.toml")

from cappuccino.search.ray_pool import RayPool, _require_same_code
from cappuccino.search.ray_slot import Node

TRIALS = """
    select trial, state, parameters, seed, score, fold_scores, env_steps, weight_sha256, reason
    from lab.trials order by trial
"""
FIGURES = "select * from lab.evaluations order by trial, subject, fold"


@pytest.fixture(scope="module")
def cluster() -> Iterator[SmallCluster]:
    """A Ray cluster of one node; whoever adds another one kills it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        with SmallCluster() as started:
            yield started


class TestRayPool(PoolContract):
    """The contract, kept by one slot, which forks all trials of these tests."""

    @pytest.fixture(scope="class")
    @classmethod
    def pool(cls, cluster: SmallCluster) -> Iterator[RayPool]:
        with RayPool(cluster.address, act, checkpoint_pause_s=0.05, patience_s=60.0) as running:
            yield running


def test_what_a_trial_sends_is_stored_whole_or_ends_it_and_nothing_stays_on_its_node(
    cluster: SmallCluster, make_task: MakeTask, tmp_path: Path
) -> None:
    (tmp_path / "in the way").write_text("")
    tasks = [make_task(trial, what) for trial, what in enumerate(("tell", "keep", "exaggerate", "tell"))]
    tasks[0] = replace(tasks[0], checkpoints=tmp_path / "in the way" / "0")
    tasks[1:3] = [replace(task, keeps_model=True) for task in tasks[1:3]]
    with RayPool(cluster.address, act, checkpoint_pause_s=0.05) as pool:
        for trial, task in enumerate(tasks):
            pool.start(trial, task)
        ended, _ = ends(pool)
        node = Path(told(tasks[3])["arrays"]).parent
        assert node.is_dir() and tmp_path not in node.parents
    assert [ended[trial].outcome for trial in range(4)] == ["failed", "complete", "failed", "complete"]
    assert "in the way" in ended[0].reason
    found = artifacts.load(artifacts.folder_of(tasks[1].artifacts, tasks[1].model), tasks[1].model)
    assert ended[1].result is not None and found.manifest.weight_sha256 == ended[1].result.weight_sha256
    assert "other weights than its trial has reported" in ended[2].reason and ended[2].result is None
    assert [folder.name for folder in (tmp_path / "artifacts").glob("*/*")] == ["1"]
    assert (tasks[3].checkpoints / "fold-0.pt").read_text() == "1"
    assert not node.exists() and not node.with_name(f"{node.name}.lock").exists()


def test_trials_that_find_no_cpu_end_the_study_and_leaving_ends_those_that_have_one(
    cluster: SmallCluster, make_task: MakeTask
) -> None:
    task = make_task(0, "tell")
    with RayPool(cluster.address, act) as pool:
        pool.start(0, task)
        first_fold(pool)
        with RayPool(cluster.address, act, patience_s=0.0) as second:
            second.start(1, make_task(1, "well"))
            with pytest.raises(TrainingError, match="no node of the cluster has had a free CPU"):
                list(second.events(timeout_s=0.1))
        assert is_alive(told(task)["pid"])
    assert until(lambda: not is_alive(told(task)["pid"])) and len(pool) == 0


def test_a_trial_whose_node_dies_goes_on_elsewhere_from_its_checkpoint(
    cluster: SmallCluster, make_task: MakeTask
) -> None:
    doomed = cluster.add_node()
    tasks = [make_task(trial, "tell") for trial in (0, 1)]
    with RayPool(cluster.address, act, checkpoint_pause_s=0.05) as pool:
        for trial in (0, 1):
            pool.start(trial, tasks[trial])
        heard: list[Any] = []
        while len(heard) < 2:
            heard += pool.events(timeout_s=60)
        places = [told(task) for task in tasks]
        (lost,) = (trial for trial in (0, 1) if doomed.node_id in places[trial]["arrays"])
        cluster.kill_node(doomed)
        for trial in (0, 1):
            pool.go_on(trial, None)
        ended, _ = ends(pool)
        assert ended[lost].outcome == "killed" and ended[lost].reason.startswith("its node or process is gone")
        assert ended[1 - lost].outcome == "complete"
        assert until(lambda: not is_alive(places[lost]["pid"]))
        pool.start(lost, tasks[lost])
        assert first_fold(pool).score == 2.0  # its second start, it knows
        again = told(tasks[lost])
        assert again["arrays"] == places[1 - lost]["arrays"] != places[lost]["arrays"]
        assert again["n_bars"] == places[lost]["n_bars"] > 0


def test_a_study_that_loses_a_node_finds_what_a_local_one_finds(
    cluster: SmallCluster, lab: Callable[..., Settings]
) -> None:
    local = lab("local", workers=2)
    run_study(StudyRequest(local, "training", NOW), lambda line: None)
    doomed = [cluster.add_node()]
    settings = lab("ray", workers=2, executor="ray", ray_address=cluster.address)

    def lose_the_node(line: str) -> None:
        if " 3/10 done" in line:
            cluster.kill_node(doomed.pop())

    summary = run_study(StudyRequest(settings, "training", NOW), lose_the_node)
    assert not doomed
    assert (summary.state, summary.n_started, summary.n_failed) == ("complete", 10, 0)
    assert outcome(settings) == outcome(local)
    counts = dict(ask(settings, "select outcome, count(*) from lab.attempts group by outcome"))
    assert counts.pop("killed") > 0
    assert sum(counts.values()) == 10 and set(counts) <= {"complete", "pruned"}
    models = ask(settings, "select study, trial from lab.trials where artifact > ''")
    assert len(models) > 3
    for model in (ModelId(study, trial) for study, trial in models):
        artifacts.load(artifacts.folder_of(settings.artifacts, model), model)


def ask(settings: Settings, sql: str) -> list[tuple[Any, ...]]:
    return Warehouse(settings.database).query(sql).rows()


def outcome(settings: Settings) -> tuple[list[tuple[Any, ...]], ...]:
    """Return everything that a study found, without times and attempts."""
    return ask(settings, TRIALS), ask(settings, FIGURES), ask(settings, "from lab.importances order by parameter")


def test_a_node_with_other_code_is_refused() -> None:
    with pytest.raises(TrainingError, match=r"node n has Cappuccino 0\.0\+other, this machine .*; install the same"):
        _require_same_code(Node("n", "0.0+other"))
    _require_same_code(Node("n", code_version()))


def test_a_cluster_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match=r"ray_address = '127\.0\.0\.1:9'"), RayPool("127.0.0.1:9"):
        pass
