"""The verdict from stored returns: every started trial counts, an edge must be more than the market's."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from cappuccino.judgement.verdict import verdict_rows
from cappuccino.market.panel import FloatArray
from cappuccino.registry.identity import ModelId
from cappuccino.store.warehouse import Warehouse
from tests.unit.small_lab import add_study, add_trial
from tests.unit.small_market import END

DAYS, TRIALS, FAILED = 400, 20, 30
STUDY = "s"


@pytest.fixture
def study(new_warehouse: Warehouse) -> Warehouse:
    with new_warehouse.write() as writer:
        add_study(writer, STUDY, END)
        for trial in range(TRIALS):
            add_trial(writer, ModelId(STUDY, trial))
        for trial in range(TRIALS, TRIALS + FAILED):
            add_trial(writer, ModelId(STUDY, trial), state="pruned" if trial % 2 else "failed")
    return new_warehouse


def store(warehouse: Warehouse, scope: str, own: FloatArray, market: FloatArray) -> None:
    columns = {f"{trial}": own[:, trial] for trial in range(own.shape[1])}
    frames = [
        pl.DataFrame({"return_frac": values}).select(
            pl.lit(STUDY).alias("study"),
            pl.lit(int(name) if name.isdigit() else -1, dtype=pl.Int64).alias("trial"),
            pl.lit("agent" if name.isdigit() else name).alias("subject"),
            pl.lit(scope).alias("scope"),
            pl.lit(0, dtype=pl.Int64).alias("fold"),
            pl.Series("closed_at_utc", [END + timedelta(days=day) for day in range(len(own))]),
            "return_frac",
        )
        for name, values in {**columns, "equal_weight": market, "cash": 0 * market}.items()
    ]
    with warehouse.write() as writer:
        writer.append("lab.daily_returns", pl.concat(frames))


def verdicts(warehouse: Warehouse) -> dict[str, dict[str, object]]:
    with warehouse.read() as reader:
        rows = verdict_rows(reader, STUDY, END)
    return {row["benchmark"]: row for row in rows.iter_rows(named=True)}


def test_noise_is_nothing_and_failed_and_pruned_trials_count(study: Warehouse) -> None:
    rng = np.random.default_rng(1)
    store(study, "validation", rng.normal(0, 0.02, (DAYS, TRIALS)), rng.normal(0, 0.02, DAYS))
    found = verdicts(study)
    assert {row["verdict"] for row in found.values()} == {"nothing here"}
    assert found["cash"]["n_trials"] == TRIALS + FAILED
    assert found["cash"]["n_completed"] == TRIALS


def test_a_planted_edge_is_found_when_the_holdout_agrees_and_is_weak_when_not(study: Warehouse) -> None:
    rng = np.random.default_rng(2)
    edge = np.where(np.arange(TRIALS) < 10, 0.006, 0.0)
    store(study, "validation", rng.normal(0, 0.02, (DAYS, TRIALS)) + edge, rng.normal(0, 0.02, DAYS))
    store(study, "holdout", rng.normal(0, 0.02, (60, TRIALS)) + edge, rng.normal(0, 0.02, 60))
    assert {row["verdict"] for row in verdicts(study).values()} == {"an edge"}
    with study.write() as writer:
        writer.execute("update lab.daily_returns set return_frac = -return_frac where scope = 'holdout'")
    found = verdicts(study)["cash"]
    assert found["verdict"] == "weak"
    assert found["holdout_sharpe_daily_365"] < 0


def test_who_is_only_long_in_a_rising_market_has_an_edge_over_cash_but_none_over_buy_and_hold(
    study: Warehouse,
) -> None:
    rng = np.random.default_rng(3)
    market = rng.normal(0.006, 0.02, DAYS)
    exposure = rng.uniform(0.8, 1.2, TRIALS)
    own = market[:, None] * exposure + rng.normal(0, 0.003, (DAYS, TRIALS)) - 0.0015 * exposure
    store(study, "validation", own, market)
    store(study, "holdout", own[:60], market[:60])
    found = verdicts(study)
    assert found["cash"]["verdict"] == "an edge"
    assert found["buy_and_hold"]["verdict"] == "nothing here"


def test_a_study_without_a_completed_trial_has_no_verdict(study: Warehouse) -> None:
    assert verdicts(study) == {}
