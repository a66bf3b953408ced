"""The holdout is opened once, after everything was chosen, and says what nobody chose by."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from cappuccino.arena.candidate import load_candidate
from cappuccino.judgement.holdout import open_holdouts, sealed_studies
from cappuccino.judgement.trials import play, play_all, stretch_of
from cappuccino.registry.identity import ModelId
from cappuccino.risk.rules import Rules
from cappuccino.search.study import closed_if_opened, plan_study
from cappuccino.validation.baselines import BASELINES
from cappuccino.validation.seal import open_until
from tests.unit.search.fakes import NOW
from tests.unit.trained_lab import N_TRIALS, TrainedLab, trained_lab

DAY = timedelta(days=1)


@pytest.fixture
def lab(tmp_path_factory: pytest.TempPathFactory) -> TrainedLab:
    return trained_lab(tmp_path_factory)


def opened(lab: TrainedLab) -> tuple[str, ...]:
    return open_holdouts(lab.warehouse, lab.settings, NOW, lambda line: None)


def test_every_completed_trial_is_judged_once_on_bars_that_its_study_never_had(lab: TrainedLab) -> None:
    assert opened(lab) == (lab.study,)
    judged = lab.warehouse.query("from lab.evaluations where scope = 'holdout' order by trial, subject")
    assert judged.filter(pl.col("subject") == "agent")["trial"].to_list() == list(range(N_TRIALS))
    assert set(judged.filter(pl.col("trial") < 0)["subject"]) == set(BASELINES)
    train_end = lab.warehouse.query("select train_end_utc from lab.studies").item()
    assert judged["from_utc"].min() >= NOW - 4 * DAY - timedelta(hours=1)
    assert judged["to_utc"].unique().to_list() == [NOW]
    arena = lab.warehouse.query("from lab.evaluations where scope = 'arena'")
    assert arena["from_utc"].min() >= train_end
    assert arena["to_utc"].max() == NOW - 4 * DAY
    (row,) = lab.warehouse.query("from lab.holdouts").rows(named=True)
    assert (row["n_models"], row["n_windows_inside"], row["opened_at_utc"]) == (N_TRIALS, 0, NOW)
    assert opened(lab) == ()


def test_its_figures_are_those_of_the_model_trading_there(lab: TrainedLab) -> None:
    opened(lab)
    model = ModelId(lab.study, 1)
    candidate = load_candidate(lab.settings.artifacts, model)
    with lab.warehouse.read() as reader:
        panel = candidate.market.panel(reader, NOW)
    rules = Rules.of(lab.settings.risk, lab.settings.costs)
    holdout = stretch_of("holdout", panel, NOW - 4 * DAY, NOW)
    episode = play(model, lab.settings.artifacts, holdout, rules)
    stored = lab.warehouse.query(
        "select total_return_frac from lab.evaluations where scope = 'holdout' and trial = 1"
    ).item()
    assert stored == pytest.approx(episode.equity_usd[-1, 0] / episode.equity_usd[0, 0] - 1, abs=1e-12)
    days = lab.warehouse.query(
        "select return_frac from lab.daily_returns where scope = 'holdout' and trial = 1 order by closed_at_utc"
    )["return_frac"]
    assert len(days) == 4
    assert np.prod(1 + days.to_numpy()) == pytest.approx(episode.equity_usd[96, 0] / 10_000.0)


def test_processes_see_what_one_process_sees(lab: TrainedLab) -> None:
    models = [ModelId(lab.study, trial) for trial in range(2)]
    candidate = load_candidate(lab.settings.artifacts, models[0])
    with lab.warehouse.read() as reader:
        panel = candidate.market.panel(reader, NOW)
    rules = Rules.of(lab.settings.risk, lab.settings.costs)
    holdout = stretch_of("holdout", panel, NOW - 4 * DAY, NOW)
    apart = play_all(models, lab.settings.artifacts, holdout, rules, 2, parallel_from=0)
    here = play_all(models, lab.settings.artifacts, holdout, rules, 1)
    for one, other in zip(apart, here, strict=True):
        np.testing.assert_array_equal(one.equity_usd, other.equity_usd)


def test_a_holdout_in_which_the_arena_has_played_is_recorded_as_worthless(lab: TrainedLab) -> None:
    inside = (NOW - 2 * DAY).isoformat()
    windows = (
        f'[{{"start_utc": "{(NOW - 5 * DAY).isoformat()}", "stop_utc": "{inside}", '
        '"champion_score": 1, "challenger_score": 0}]'
    )
    with lab.warehouse.write() as writer:
        writer.execute(
            """
            insert into arena.matches values
            ('m', 1, $champion, $challenger, $champion, 1, 0, 'log_return', $windows, 1, $now)
            """,
            champion=f"{lab.study}/0",
            challenger=f"{lab.study}/1",
            windows=windows,
            now=NOW,
        )
    said: list[str] = []
    open_holdouts(lab.warehouse, lab.settings, NOW, said.append)
    assert "proves nothing" in said[0]
    assert lab.warehouse.query("from lab.evaluations where scope = 'holdout'").is_empty()
    (row,) = lab.warehouse.query("from lab.holdouts").rows(named=True)
    assert (row["n_models"], row["n_windows_inside"]) == (0, 1)
    assert opened(lab) == ()  # and it does not stand in the way of others


def test_studies_that_run_or_have_no_holdout_stay_closed(lab: TrainedLab) -> None:
    def due() -> list[str]:
        with lab.warehouse.read() as reader:
            return [sealed.study for sealed in sealed_studies(reader, NOW)]

    assert due() == [lab.study]
    for change in (
        "state = 'running'",
        "state = 'complete', holdout_from_utc = data_end_utc",
        "state = 'complete', holdout_from_utc = null",
    ):
        with lab.warehouse.write() as writer:
            writer.execute(f"update lab.studies set {change}")
        assert due() == []


def test_matches_stay_before_a_holdout_that_is_closed_also_days_later(lab: TrainedLab) -> None:
    later = NOW + 3 * DAY

    def until() -> datetime:
        with lab.warehouse.read() as reader:
            return open_until(reader, lab.settings, later)

    assert until() == NOW - 4 * DAY
    opened(lab)
    assert until() == later - 4 * DAY


def test_a_study_whose_holdout_was_opened_takes_no_further_trial(lab: TrainedLab) -> None:
    more = lab.settings.model_copy(update={"training": lab.settings.training.model_copy(update={"trials": 50})})
    with lab.warehouse.read() as reader:
        plan = plan_study(reader, more, "training", NOW)
        assert plan.study == lab.study
        assert closed_if_opened(reader, plan).trial_cap == 50
    opened(lab)
    with lab.warehouse.read() as reader:
        assert closed_if_opened(reader, plan).trial_cap == N_TRIALS


def test_the_comparison_with_chance_is_stored_for_the_best(lab: TrainedLab) -> None:
    opened(lab)
    skill = lab.warehouse.query("from lab.skill order by scope, trial")
    assert skill["scope"].to_list() == ["arena"] * N_TRIALS + ["holdout"] * N_TRIALS
    for name in ("p_random_timing", "p_entry_permutation", "p_symbol_permutation"):
        assert skill[name].is_between(0, 1, closed="right").all()


def test_the_verdict_is_said_against_both_benchmarks_and_counts_every_started_trial(lab: TrainedLab) -> None:
    opened(lab)
    verdicts = lab.warehouse.query("from lab.overfitting order by benchmark")
    assert verdicts["benchmark"].to_list() == ["buy_and_hold", "cash"]
    assert set(verdicts["verdict"]) == {"nothing here"}  # a few days, a few trials
    assert verdicts["n_trials"].to_list() == [N_TRIALS] * 2
