"""One trial from arrays to a model that trades; a killed one goes on, and comes to the same."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import torch

from cappuccino.errors import ArtifactError, DataError
from cappuccino.features.compute import compute, first_row
from cappuccino.features.scaler import Scaler, fit
from cappuccino.features.spec import FeatureSpec
from cappuccino.market.interval import Interval
from cappuccino.market.panel import BarPanel
from cappuccino.portfolio.account import open_accounts
from cappuccino.registry import artifacts
from cappuccino.registry.identity import ModelId
from cappuccino.risk.rules import Rules
from cappuccino.rl.agent import Agent
from cappuccino.rl.compute import Compute
from cappuccino.rl.figures import Figures
from cappuccino.rl.hyper import Hyper
from cappuccino.rl.learning import Budget
from cappuccino.search.arrays import StudyArrays, write_arrays
from cappuccino.search.diary import Diary, action_spread, collapsed
from cappuccino.search.folds import Gaps, combinatorial, walk_forward
from cappuccino.search.trial import TrialTask, run_trial
from cappuccino.search.trial_result import TrialResult
from cappuccino.settings import CostSettings, RiskSettings
from cappuccino.validation.evaluate import run

SPEC = FeatureSpec((), ("roc_12",))
RULES = Rules.of(RiskSettings(), CostSettings())


def market(n_bars: int = 1200) -> BarPanel:
    rng = np.random.default_rng(0)
    close = 100 * np.exp(np.cumsum(0.01 * rng.standard_normal((n_bars, 2)), axis=0))
    opened = np.vstack([close[:1], close[:-1]])
    high, low = np.maximum(opened, close) * 1.001, np.minimum(opened, close) * 0.999
    volume = rng.random((n_bars, 2)) + 1
    opened_at = np.datetime64("2024-03-01", "us") + np.arange(n_bars) * np.timedelta64(1, "h")
    names = ("A/USD", "B/USD")
    return BarPanel(Interval.H1, names, opened_at, opened, high, low, close, volume, volume < 0)


@pytest.fixture(autouse=True)
def _threads_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def whole() -> BarPanel:
    return market()


@pytest.fixture
def task(tmp_path: Path, whole: BarPanel) -> TrialTask:
    """A trial on the bars that have features, as a study hands them over."""
    panel, features = studied(whole)
    write_arrays(tmp_path / "arrays", StudyArrays(panel, features, SPEC))
    return TrialTask(
        model=ModelId("study", 7),
        arrays=tmp_path / "arrays",
        lookback=6,
        hyper=Hyper(width=16, batch_size=64, cash_reserve=0.1),
        budget=Budget(updates=3, n_groups=3, n_accounts=4, horizon=12, checkpoint_every=1),
        compute=Compute(),
        rules=RULES,
        training_rules=RULES,
        folds=walk_forward(len(panel), 2, 10),
        seed=1,
        checkpoints=tmp_path / "checkpoints",
        artifacts=tmp_path / "artifacts",
        data_fingerprint="bars",
        code_version="1",
        is_simulated=True,
    )


def studied(whole: BarPanel) -> tuple[BarPanel, np.ndarray]:
    """Return what a study gets: bars and features up to 100 bars before the end."""
    first, stop = first_row(whole, SPEC), len(whole) - 100
    return whole.rows(first, stop), compute(whole, SPEC)[first:stop].copy()


def ignore(fold: int, score: float) -> None:
    """Let the trial go on."""


def same(first: TrialResult, second: TrialResult) -> bool:
    return replace(first, duration_s=0) == replace(second, duration_s=0)


def folder(task: TrialTask) -> Path:
    return artifacts.folder_of(task.artifacts, task.model)


def test_learning_under_other_rules_changes_the_policy_and_judging_does_not_follow(task: TrialTask) -> None:
    """A stop at a hair's breadth sells at once: judged under it nobody earns, whatever was learned."""
    without = replace(task, training_rules=RULES.without_protection(), model=ModelId("study", 8))
    strict = replace(RULES, portfolio_trailing_stop_frac=1e-9, profit_take_frac=0.0)
    judged_strictly = replace(without, rules=strict, model=ModelId("study", 9))
    under, free, strict_result = (run_trial(one, ignore) for one in (task, without, judged_strictly))
    assert under.weight_sha256 != free.weight_sha256
    assert strict_result.fold_scores != free.fold_scores


def test_a_trial_leaves_a_model_that_says_what_it_is(task: TrialTask, whole: BarPanel) -> None:
    reported: list[tuple[int, float]] = []
    result = run_trial(task, lambda fold, score: reported.append((fold, score)))
    assert reported == list(enumerate(result.fold_scores))
    assert result.score == pytest.approx(np.mean(result.fold_scores))
    assert [measures.sharpe_annualized for measures in result.fold_measures] == list(result.fold_scores)
    manifest = artifacts.read_manifest(folder(task), task.model)
    assert manifest.weight_sha256 == result.weight_sha256
    assert manifest.metrics["score"] == result.score
    assert manifest.features.names == SPEC.names
    assert manifest.train_end == manifest.data_end == whole.closed_at[-101].item().replace(tzinfo=UTC)
    assert Hyper.from_dict(manifest.hyper) == task.hyper
    assert not task.checkpoints.exists()


def test_a_trial_of_a_timeframe_search_keeps_no_model(task: TrialTask) -> None:
    kept, judged = run_trial(task, ignore), run_trial(replace(task, keeps_model=False), ignore)
    assert judged.weight_sha256 is None
    assert judged.fold_measures == kept.fold_measures
    cheap = replace(task, keeps_model=False, artifacts=task.artifacts / "cheap")
    run_trial(cheap, ignore)
    assert not cheap.artifacts.exists()


def test_the_model_trades_as_it_was_trained(task: TrialTask, whole: BarPanel) -> None:
    """The agent from the folder, on a panel with all history, sees what the training saw."""
    run_trial(task, ignore)
    agent = Agent.load(task.artifacts, task.model)
    assert (agent.interval, agent.lookback, agent.symbols) == (Interval.H1, 6, whole.symbols)
    start = len(whole) - 100
    episode = run(agent.policy(whole), whole, start, len(whole), RULES)
    again = run(agent.policy(whole), whole, start, len(whole), RULES)
    np.testing.assert_array_equal(episode.equity_usd, again.equity_usd)
    assert np.ptp(episode.equity_usd) > 0


def test_live_and_batch_decide_alike(task: TrialTask, whole: BarPanel) -> None:
    """A decision from all history and one from the bars known at that moment are the same bits."""
    run_trial(task, ignore)
    agent, accounts = Agent.load(task.artifacts, task.model), open_accounts(1, 2, 10_000.0)
    batch = agent.policy(whole)
    for t in (len(whole) - 90, len(whole) - 1):
        live = agent.policy(whole.rows(0, t + 1))
        assert torch.equal(batch(t, accounts), live(t, accounts))
        least = agent.policy(whole.rows(t + 1 - agent.history_bars, t + 1))
        assert torch.equal(batch(t, accounts), least(agent.history_bars - 1, accounts))


def test_equal_tasks_give_equal_results_in_any_folder(task: TrialTask, tmp_path: Path) -> None:
    first = run_trial(pickle.loads(pickle.dumps(task)), ignore)
    again = run_trial(replace(task, artifacts=tmp_path / "elsewhere"), ignore)
    assert same(first, again)


def test_a_killed_trial_goes_on_and_ends_the_same(task: TrialTask, tmp_path: Path) -> None:
    straight = run_trial(replace(task, checkpoints=tmp_path / "other"), ignore)

    def kill(fold: int, score: float) -> None:
        if fold == 1:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        run_trial(task, kill)
    assert sorted(file.name for file in task.checkpoints.iterdir()) == ["fold-0.pt", "fold-1.pt"]
    assert same(run_trial(task, ignore), straight)


def learned(diary: Diary) -> list[tuple[str, int, Figures]]:
    """Return what must not depend on luck or kills."""
    return [(log.training, progress.update, progress.figures) for log in diary for progress in log.updates]


def test_every_update_of_every_training_is_in_the_diary(task: TrialTask) -> None:
    diary: Diary = []
    run_trial(task, ignore, diary)
    updates = [(training, update) for training, update, _ in learned(diary)]
    assert updates == [(training, update) for training in ("fold-0", "fold-1", "final") for update in (1, 2, 3)]
    assert [log.conduct is None for log in diary] == [False, False, True]
    budget = task.budget
    n_steps = budget.horizon * budget.n_groups * budget.n_accounts
    assert {progress.n_env_steps for log in diary for progress in log.updates} == {n_steps}


def test_a_killed_trial_tells_each_update_once_and_a_pruned_one_what_it_has(task: TrialTask, tmp_path: Path) -> None:
    straight: Diary = []
    run_trial(replace(task, checkpoints=tmp_path / "other"), ignore, straight)

    def kill(fold: int, score: float) -> None:
        raise InterruptedError

    killed: Diary = []
    with pytest.raises(InterruptedError):
        run_trial(task, kill, killed)
    assert learned(killed) == learned(straight)[:3]
    assert killed[0].conduct == straight[0].conduct
    finished: Diary = []
    run_trial(task, ignore, finished)
    assert learned(finished) == learned(straight)


def test_a_training_that_fails_has_told_its_updates_until_then(task: TrialTask) -> None:
    """Its first checkpoint, after the second update, finds a file where its folder should be."""
    task.checkpoints.write_text("in the way")
    diary: Diary = []
    with pytest.raises(OSError, match="checkpoints"):
        run_trial(replace(task, budget=replace(task.budget, checkpoint_every=2)), ignore, diary)
    assert [(log.training, len(log.updates)) for log in diary] == [("fold-0", 2)]


def test_a_policy_that_never_trades_on_validation_bars_has_collapsed(task: TrialTask) -> None:
    """No wish is further from cash than the whole portfolio."""
    diary: Diary = []
    run_trial(replace(task, keeps_model=False, hyper=replace(task.hyper, no_trade_band=1.0)), ignore, diary)
    assert collapsed(diary) == "cash"
    assert action_spread(diary)


def test_an_agent_is_judged_on_bars_that_its_fold_did_not_train_on(
    task: TrialTask, whole: BarPanel, tmp_path: Path
) -> None:
    """Whatever the last validation says, the first fold and all trainings before it are the same."""
    honest = run_trial(task, ignore)
    panel, features = studied(whole)
    close = panel.close.copy()
    close[task.folds[1].validation[0][0] :] *= 3
    write_arrays(tmp_path / "other", StudyArrays(replace(panel, close=close), features, SPEC))
    other = run_trial(replace(task, arrays=tmp_path / "other", artifacts=tmp_path / "a2"), ignore)
    assert honest.fold_scores[0] == other.fold_scores[0]
    assert honest.equity_sha256 != other.equity_sha256


def test_combinatorial_folds_train_around_what_they_are_judged_on(task: TrialTask, whole: BarPanel) -> None:
    n_bars = len(studied(whole)[0])
    folds = combinatorial(n_bars, 4, 2, Gaps(10, 20), 7)
    diary: Diary = []
    result = run_trial(replace(task, folds=folds), ignore, diary)
    assert len(result.fold_scores) == 6
    assert [measures.n_bars for measures in result.fold_measures] == [
        sum(stop - start - 1 for start, stop in fold.validation) for fold in folds
    ]
    n_days = [sum((stop - start - 1) // 24 for start, stop in fold.validation) for fold in folds]
    assert [len(daily.returns) for daily in result.fold_daily] == n_days


def test_scales_know_the_training_range_only(task: TrialTask, whole: BarPanel) -> None:
    run_trial(task, ignore)
    stored = Scaler.from_dict(artifacts.read_manifest(folder(task), task.model).scaler)
    np.testing.assert_array_equal(stored.mean, fit(studied(whole)[1], SPEC.names, whole.symbols).mean)
    train = task.folds[0].train[0]
    scales = json.loads((task.arrays / f"scaled-{train[0]}-{train[1]}" / "scaler.json").read_text())
    mean = fit(studied(whole)[1][slice(*train)], SPEC.names, whole.symbols).mean
    np.testing.assert_array_equal(Scaler.from_dict(scales).mean, mean)


def test_gaps_in_the_features_are_refused(task: TrialTask, whole: BarPanel, tmp_path: Path) -> None:
    panel, features = studied(whole)
    features[300, 1, 2] = np.nan
    write_arrays(tmp_path / "gap", StudyArrays(panel, features, SPEC))
    with pytest.raises(DataError, match="build the features again"):
        run_trial(replace(task, arrays=tmp_path / "gap"), ignore)


def test_an_agent_refuses_other_markets_and_other_weights(task: TrialTask, whole: BarPanel) -> None:
    run_trial(task, ignore)
    agent = Agent.load(task.artifacts, task.model)
    with pytest.raises(DataError, match="A/USD, C/USD"):
        agent.policy(replace(whole, symbols=("A/USD", "C/USD")))
    artifact = artifacts.load(folder(task), task.model)
    wrong = {**artifact.state_dict, "context.weight": torch.zeros(3, 3)}
    with pytest.raises(ArtifactError, match=r"do not fit its manifest: context\.weight"):
        Agent(replace(artifact, state_dict=wrong))
    early = agent.policy(whole.rows(0, first_row(whole, SPEC) + 5))
    with pytest.raises(DataError, match="without a value"):
        early(first_row(whole, SPEC) + 4, open_accounts(1, 2, 1.0))
    assert agent.manifest.train_start >= datetime(2024, 3, 1, tzinfo=UTC)
