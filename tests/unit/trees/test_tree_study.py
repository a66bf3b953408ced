"""Whole studies of trees on a small warehouse: run, killed, continued, failed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.tables import key_of
from assets.trees import best_network, trees
from cappuccino.clock import FixedClock
from cappuccino.errors import DataError, StudyFailed, TrainingError
from cappuccino.registry.identity import ModelId
from cappuccino.search.book import StudyBook
from cappuccino.search.diary import Diary
from cappuccino.search.outcome import Report, RunTrial, end_of, reporter
from cappuccino.search.study import folds_of, plan_study, study_folder
from cappuccino.search.suggest import seed_of
from cappuccino.search.trial_result import TrialResult
from cappuccino.search.workers import Ended, FoldScored, Pool
from cappuccino.settings import Settings, load
from cappuccino.store.models import run_tests
from cappuccino.store.warehouse import Warehouse
from cappuccino.trees.agent import TreeAgent
from cappuccino.trees.hyper import TreeHyper
from cappuccino.trees.plan import plan_trees, task_of
from cappuccino.trees.study import TreeStudy, run_trees
from cappuccino.trees.trial import TreeTask, run_tree_trial
from cappuccino.validation.baselines import BASELINES
from tests.unit.search.fakes import NOW, SMALL
from tests.unit.small_lab import add_study, add_trial
from tests.unit.small_market import SCHEMA

N_TRIALS = 3
TREES = {"trials": N_TRIALS, "startup_trials": 2}
RESULTS = """
    select trial, state, interval, lookback, parameters, seed, score, fold_scores, weight_sha256, equity_sha256,
        collapsed, action_spread, reason
    from lab.trials order by trial
"""


class StudyKilled(Exception):  # noqa: N818 - an event, not an error
    """Raised where a real study would be killed."""


class HerePool(Pool):
    """Trials that run in this process, one after the other, when somebody listens."""

    def __init__(self, run: RunTrial = run_tree_trial, killed_after: int | None = None) -> None:  # type: ignore[assignment]
        self.run, self.killed_after = run, killed_after
        self.tasks: dict[int, TreeTask] = {}

    def __len__(self) -> int:
        return len(self.tasks)

    def start(self, trial: int, task: Any) -> None:
        self.tasks[trial] = task

    def go_on(self, trial: int, prune_reason: str | None) -> None:
        assert prune_reason is None

    def events(self, timeout_s: float | None = None) -> Iterator[FoldScored | Ended]:
        trial = max(self.tasks)
        if self.killed_after == 0:
            raise StudyKilled
        self.killed_after = self.killed_after and self.killed_after - 1
        diary: Diary = []
        scores: list[float] = []
        end = end_of(self.run, self.tasks.pop(trial), reporter(lambda fold, score: scores.append(score)), diary)
        yield from (FoldScored(trial, fold, score) for fold, score in enumerate(scores))
        yield Ended(trial, end.outcome, end.result, end.reason, 1.0, None, tuple(diary))


Lab = Callable[..., Settings]


def growing(settings: Settings, **trees: Any) -> Settings:
    """Return the settings with trees of a few trials."""
    fields = settings.model_dump(mode="json")
    return Settings.stored({**fields, "trees": {**fields["trees"], **TREES, **trees}})


def study_of(settings: Settings) -> TreeStudy:
    warehouse = Warehouse(settings.database)
    with warehouse.read() as reader:
        plan = plan_trees(reader, settings, NOW)
    return TreeStudy(plan, StudyBook(warehouse, plan, settings), settings, lambda line: None)


def run_here(settings: Settings, pool: HerePool | None = None) -> TreeStudy:
    study = study_of(settings)
    study.begin()
    study.run(HerePool() if pool is None else pool)  # an empty pool is false
    study.close(Warehouse(settings.database))
    return study


def ask(settings: Settings, sql: str) -> list[tuple[Any, ...]]:
    return Warehouse(settings.database).query(sql).rows()


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, searched_market: Path) -> tuple[Settings, list[str]]:
    """A study in processes of its own, and what it said."""
    folder = tmp_path_factory.mktemp("trees")
    (folder / "cappuccino.duckdb").write_bytes(searched_market.read_bytes())
    settings = growing(load(None, {"warehouse": folder, **SMALL}))
    said: list[str] = []
    run_trees(settings, NOW, said.append)
    return settings, said


def test_a_study_is_recorded_as_those_of_the_networks_are(ran: tuple[Settings, list[str]]) -> None:
    settings, _ = ran
    ((study, kind, state, cap),) = ask(settings, "select study, kind, state, trial_cap from lab.studies")
    assert (study[:20], kind, state, cap) == ("trees-20240601T0000-", "trees", "complete", N_TRIALS)
    trials = ask(settings, "select trial, state, interval, lookback, artifact from lab.trials order by trial")
    assert trials == [(n, "complete", "1h", 8, f"{study}/{n}") for n in range(N_TRIALS)]
    assert ask(settings, "select trial, attempt, outcome, batch_size from lab.attempts order by all") == [
        (n, 1, "complete", 0) for n in range(N_TRIALS)
    ]
    judged = "select trial, subject, scope, fold from lab.{} where trial >= 0 group by all order by all"
    expected = [(n, "agent", "validation", fold) for n in range(N_TRIALS) for fold in range(2)]
    assert ask(settings, judged.format("evaluations")) == expected
    assert ask(settings, judged.format("daily_returns")) == expected
    beside = ask(settings, "select distinct subject from lab.daily_returns where trial < 0")
    assert {subject for (subject,) in beside} == set(BASELINES)
    assert not study_folder(settings.warehouse, study).exists()


def test_the_rows_of_a_study_keep_the_contracts(ran: tuple[Settings, list[str]]) -> None:
    with Warehouse(ran[0].database).read() as reader:
        for table in ("studies", "trials", "attempts", "evaluations", "daily_returns", "tree_importances"):
            found = run_tests(reader, SCHEMA.contracts[f"lab.{table}"])
            assert [result.name for result in found if not result.passed] == [], table


def test_a_score_is_the_mean_sharpe_ratio_of_the_folds(ran: tuple[Settings, list[str]]) -> None:
    rows = ask(
        ran[0],
        """
        select trial, any_value(score), avg(sharpe_annualized)
        from lab.trials inner join lab.evaluations using (study, trial) group by trial
        """,
    )
    for _, score, mean in rows:
        assert score == pytest.approx(mean, abs=1e-9)


def test_every_model_can_be_loaded_and_says_what_it_looks_at(ran: tuple[Settings, list[str]]) -> None:
    settings, _ = ran
    ((study,),) = ask(settings, "select study from lab.studies")
    for trial in range(N_TRIALS):
        agent = TreeAgent.load(settings.artifacts, ModelId(study, trial))
        stored = ask(settings, f"select feature, view, gain_frac from lab.tree_importances where trial = {trial}")
        shares = agent.forest.importances()
        assert {(column.feature, column.view): share for column, share in shares.items()} == {
            (feature, view): share for feature, view, share in stored
        }
    (sums,) = zip(*ask(settings, "select sum(gain_frac) from lab.tree_importances group by trial"), strict=True)
    assert all(total == pytest.approx(1.0) or total == 0.0 for total in sums)


def test_progress_is_said_trial_by_trial(ran: tuple[Settings, list[str]]) -> None:
    said = ran[1]
    assert len(said) == 1 + N_TRIALS
    assert f"{N_TRIALS} trials, 2 at a time" in said[0]
    assert all(line.startswith("trees trial ") and "min left" in line for line in said[1:])
    assert f"{N_TRIALS}/{N_TRIALS} done" in said[-1]


def test_a_study_that_is_done_is_not_done_again(ran: tuple[Settings, list[str]]) -> None:
    settings, _ = ran
    before = ask(settings, "from lab.trials order by trial")
    said: list[str] = []
    summary = run_trees(settings, NOW, said.append)
    assert (summary.n_complete, summary.state, len(said)) == (N_TRIALS, "complete", 1)
    assert ask(settings, "from lab.trials order by trial") == before


def test_a_killed_study_ends_as_one_that_was_not(ran: tuple[Settings, list[str]], lab: Lab) -> None:
    settings = growing(lab())
    with pytest.raises(StudyKilled):
        run_here(settings, HerePool(killed_after=1))
    states = [state for (state,) in ask(settings, "select state from lab.trials order by trial")]
    assert sorted(states) == ["complete", "running", "running"]
    run_here(settings)
    assert ask(settings, RESULTS) == ask(ran[0], RESULTS)
    assert [row[0] for row in ask(settings, "select outcome from lab.attempts order by outcome")] == [
        *["complete"] * N_TRIALS,
        *["interrupted"] * 2,
    ]


def test_a_study_works_on_the_bars_and_folds_of_the_newest_training(lab: Lab) -> None:
    settings = growing(lab())
    warehouse = Warehouse(settings.database)
    before = NOW - timedelta(minutes=30)
    with warehouse.write() as writer:
        add_study(writer, "training-1", before, kind="training")
    with warehouse.read() as reader:
        beside, plan = plan_study(reader, settings, "training", before), plan_trees(reader, settings, NOW)
    assert (plan.as_of, plan.fingerprint, plan.pairs, plan.seal) == (
        beside.as_of,
        beside.fingerprint,
        beside.pairs,
        beside.seal,
    )
    task, (pair,) = task_of(plan, settings, 1, TreeHyper()), plan.pairs
    assert task.folds == folds_of(beside.data[pair.interval], pair, settings.training)
    assert task.seed == seed_of(settings.training.seed, 1)


def test_what_makes_another_study_changes_its_name(lab: Lab) -> None:
    def name(settings: Settings) -> str:
        with Warehouse(settings.database).read() as reader:
            return plan_trees(reader, settings, NOW).study

    settings = growing(lab())
    assert name(growing(settings, trials=9)) == name(settings)
    assert name(growing(settings, startup_trials=3)) != name(settings)
    assert name(settings.model_copy(update={"costs": settings.costs.model_copy(update={"fee_bps": 9.0})})) != name(
        settings
    )


def failing(errors: dict[int, list[Exception]]) -> RunTrial:
    """Return how trials run whose first attempts end with `errors`, by trial."""

    def run(task: Any, report: Report, diary: Diary) -> TrialResult:
        if waiting := errors.get(task.model.trial):
            raise waiting.pop(0)
        return run_tree_trial(task, report, diary)

    return run


def test_a_trial_that_fails_is_recorded_and_one_without_memory_tried_again(
    ran: tuple[Settings, list[str]], lab: Lab
) -> None:
    settings = growing(lab())
    run_here(settings, HerePool(failing({1: [DataError("there are holes")], 2: [MemoryError("no room")]})))
    assert ask(settings, "select trial, attempt, outcome, reason from lab.attempts order by all") == [
        (0, 1, "complete", ""),
        (1, 1, "failed", "there are holes"),
        (2, 1, "out_of_memory", "memory: no room"),
        (2, 2, "complete", ""),
    ]
    assert ask(settings, "select state, score, artifact, reason from lab.trials where trial = 1") == [
        ("failed", None, None, "there are holes")
    ]
    assert ask(settings, RESULTS)[0] == ask(ran[0], RESULTS)[0]
    assert ask(settings, RESULTS)[2] == ask(ran[0], RESULTS)[2]
    assert ask(settings, "select distinct trial from lab.tree_importances order by trial") == [(0,), (2,)]


def test_a_study_in_which_nothing_completes_fails(lab: Lab) -> None:
    settings = growing(lab(), trials=1)
    with pytest.raises(StudyFailed, match="none of 1 trials of trees-"):
        run_here(settings, HerePool(failing({0: [DataError("there are holes")]})))
    assert ask(settings, "select state from lab.studies") == [("failed",)]


@pytest.mark.parametrize(("trials", "workers"), [(0, 1), (1, 0)])
def test_without_trials_or_workers_nothing_grows(trials: int, workers: int, lab: Lab) -> None:
    with pytest.raises(TrainingError, match="set both to at least 1"):
        run_trees(growing(lab(workers=workers), trials=trials), NOW, print)


def materialized(settings: Settings) -> dict[str, Any]:
    resources = {"settings": settings, "clock": FixedClock(NOW), "warehouse": Warehouse(settings.database)}
    result = dg.materialize([trees], resources=resources)
    (made,) = result.asset_materializations_for_node("trees")
    assert made.asset_key == key_of("lab.tree_importances")
    return {name: value.value for name, value in made.metadata.items()}


def test_the_asset_shows_the_best_score_beside_the_best_network(ran: tuple[Settings, list[str]]) -> None:
    settings, _ = ran
    metadata = materialized(settings)
    ((best,),) = ask(settings, "select max(score) from lab.trials")
    assert metadata["best_score"] == pytest.approx(best)
    assert metadata["best_network"] == "none"
    assert metadata["inputs"].splitlines()[0] == "| input | seen as | share of gain |"
    assert metadata["dagster/row_count"] == ask(settings, "select count(*) from lab.tree_importances")[0][0]


def test_the_asset_does_nothing_without_trials(lab: Lab) -> None:
    settings = growing(lab(), trials=0)
    assert materialized(settings)["study"] == "none (trees.trials is 0)"
    assert ask(settings, "from lab.studies") == []


def test_the_best_network_is_that_of_the_newest_training(lab: Lab) -> None:
    warehouse = Warehouse(lab().database)
    with warehouse.write() as writer:
        for days, (study, score) in enumerate([("a", 3.0), ("b", 1.5)]):
            add_study(writer, study, NOW - timedelta(days=5 - days))
            add_trial(writer, ModelId(study, 0), score)
    assert best_network(warehouse) == 1.5
