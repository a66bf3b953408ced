"""A small real warehouse: six weeks of simulated hours, their features, and a chosen timeframe."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cappuccino.features.spec import FeatureSpec
from cappuccino.rl.hyper import Hyper
from cappuccino.search.arrays import StudyArrays, write_arrays
from cappuccino.search.tasks import task_of
from cappuccino.search.trial import TrialTask
from cappuccino.settings import Settings
from tests.unit.search.fakes import NOW, plan, settings_in
from tests.unit.synced_market import synced_market

SQL = Path(__file__).parents[3] / "sql"
LATER = NOW + timedelta(days=2)
MakeTask = Callable[[int, str], TrialTask]


@pytest.fixture(scope="session")
def searched_market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The warehouse file that every test of a study copies; it knows bars until two days after NOW."""
    settings = settings_in(tmp_path_factory.mktemp("market"))
    synced_market(settings, LATER)
    return settings.database


@pytest.fixture
def lab(tmp_path: Path, searched_market: Path) -> Callable[..., Settings]:
    """Return a function that copies the warehouse into a folder of its own and returns settings for it."""

    def make(folder: str = "warehouse", **training: Any) -> Settings:
        settings = settings_in(tmp_path / folder, **training)
        settings.warehouse.mkdir()
        shutil.copy(searched_market, settings.database)
        return settings

    return make


@pytest.fixture
def make_task(tmp_path: Path) -> MakeTask:
    """Return a function that makes the task of a trial without a model: (trial, what it does, see `ray_fakes.act`)."""
    settings = settings_in(tmp_path)
    study = plan(settings)
    (data,) = study.data.values()
    spec = FeatureSpec.from_settings(settings.features)
    write_arrays(tmp_path / "arrays", StudyArrays(data.panel, data.features, spec))

    def make(trial: int, behaviour: str) -> TrialTask:
        wanted = f"tell {tmp_path}/told-{trial}" if behaviour == "tell" else behaviour
        task = task_of(study, settings, trial, Hyper())
        return replace(task, arrays=tmp_path / "arrays", data_fingerprint=wanted, keeps_model=False)

    return make
