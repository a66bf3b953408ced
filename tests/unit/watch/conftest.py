"""A small organisation in the middle of its work, made of the real tables and views over invented rows."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from cappuccino.market.quality import RECORD, SEVERITIES
from cappuccino.settings import Settings, load
from cappuccino.store import models
from cappuccino.store.schema import Schema
from cappuccino.store.warehouse import Warehouse

SQL = Path(__file__).parents[3] / "sql"
NOW = datetime(2025, 7, 1, tzinfo=UTC)
SYMBOLS = ("BTC/USD", "ETH/USD", "LTC/USD", "BCH/USD", "LINK/USD", "UNI/USD", "AAVE/USD")
BASELINES = ("buy_and_hold", "momentum", "mean_reversion", "sixty_forty", "random_entry", "cash")
SEARCH, STUDY, ENSEMBLE = "timeframe-20250625", "training-20250625", "ensemble-20250625"


@pytest.fixture(scope="session")
def schema() -> Schema:
    return Schema.load(SQL)


@pytest.fixture(scope="session")
def first_day(tmp_path_factory: pytest.TempPathFactory, schema: Schema) -> Warehouse:
    """A warehouse on its first day; nobody changes it."""
    warehouse = Warehouse(tmp_path_factory.mktemp("empty") / "cappuccino.duckdb")
    warehouse.migrate(schema)
    return warehouse


@pytest.fixture
def empty_warehouse(tmp_path: Path, first_day: Warehouse) -> Warehouse:
    """A warehouse on its first day, to change."""
    return Warehouse(Path(shutil.copy(first_day.file, tmp_path)))


@pytest.fixture(scope="session")
def busy_warehouse(tmp_path_factory: pytest.TempPathFactory, first_day: Warehouse, schema: Schema) -> Warehouse:
    """A warehouse with two studies, an arena, a sandbox and a production account; nobody changes it."""
    copy = shutil.copy(first_day.file, tmp_path_factory.mktemp("busy"))
    return fill(Warehouse(Path(copy)), schema)


def fill(warehouse: Warehouse, schema: Schema) -> Warehouse:
    rng = np.random.default_rng(3)
    tables = {**_market(rng), **_lab(rng), **_judged(), **_arena(rng), **_desk(rng), **_ops()}
    with warehouse.write() as writer:
        for table, rows in tables.items():
            writer.append(table, rows)
        for model in ("bars_all", "absences", "days"):
            models.build(writer, schema.models[f"market.{model}"])
    return warehouse


def _market(rng: np.random.Generator) -> dict[str, pl.DataFrame]:
    n_bars = 24 * 60
    opened = [NOW - timedelta(hours=n_bars - t) for t in range(n_bars)]
    frames = []
    for a, symbol in enumerate(SYMBOLS):
        close = 100 * (a + 1) * np.exp(np.cumsum(rng.standard_t(5, n_bars) * 0.006))
        open_ = np.concatenate([[close[0]], close[:-1]])
        frame = pl.DataFrame(
            {
                "symbol": symbol,
                "opened_at_utc": opened,
                "closed_at_utc": [o + timedelta(hours=1) for o in opened],
                "open": open_,
                "high": np.maximum(open_, close) * 1.002,
                "low": np.minimum(open_, close) * 0.998,
                "close": close,
                "volume": rng.uniform(1, 9, n_bars),
                "source": "simulated",
                "ingested_at_utc": NOW,
            }
        )
        lost = rng.random(n_bars) < (0.01 if symbol in ("UNI/USD", "AAVE/USD") else 0.0)
        lost[0] = lost[-1] = False
        frames.append(frame.filter(pl.Series(~lost)))
    return {"market.bars": pl.concat(frames)}


def _study(name: str, kind: str, state: str, cap: int) -> dict[str, Any]:
    return {
        "study": name,
        "kind": kind,
        "state": state,
        "as_of_utc": NOW - timedelta(days=6),
        "seed": 7,
        "trial_cap": cap,
        "symbols": list(SYMBOLS),
        "interval": "1h" if kind == "training" else None,
        "lookback": 24 if kind == "training" else None,
        "is_simulated": True,
        "data_start_utc": NOW - timedelta(days=60),
        "data_end_utc": NOW - timedelta(days=6),
        "train_end_utc": NOW - timedelta(days=26),
        "data_fingerprint": "f0f0",
        "code_version": "0.1.0",
        "settings": "{}",
        "finished_at_utc": None,
        "bars_from_utc": None,
        "bars_fingerprint": None,
        "holdout_from_utc": NOW - timedelta(days=16),
        "packages": "{}",
    }


def _trial(study: str, trial: int, state: str, pair: tuple[str, int], score: float) -> dict[str, Any]:
    complete = state == "complete"
    return {
        "study": study,
        "trial": trial,
        "state": state,
        "interval": pair[0],
        "lookback": pair[1],
        "parameters": "{}",
        "seed": trial,
        "score": score if complete else None,
        "fold_scores": [score] * 2 if complete else None,
        "started_as_of_utc": NOW - timedelta(days=6),
        "duration_s": 31.5,
        "env_steps": 393_216,
        "artifact": f"{study}/{trial}" if complete else None,
        "weight_sha256": "ab" * 32 if complete else None,
        "reason": None if complete else "its score after fold 1 is below the median",
        "collapsed": "cash" if trial == 5 else "constant" if trial in (9, 14) else None,
        "action_spread": 0.0 if trial in (5, 9, 14) else 0.21,
        "equity_sha256": "cd" * 32 if complete else None,
    }


def updates(study: str, trial: int, trainings: tuple[str, ...], rng: np.random.Generator) -> pl.DataFrame:
    """Return rows of lab.updates of a trial whose reward rises and whose entropy falls."""
    n_updates = 24
    t = np.arange(n_updates)
    noise = rng.standard_normal((len(trainings), 2, n_updates)) * 0.05
    level = rng.normal(0.0, 0.05)
    frames = [
        pl.DataFrame(
            {
                "study": study,
                "trial": trial,
                "training": training,
                "update": t + 1,
                "n_env_steps": 16_384,
                "duration_s": 0.4,
                "steps_per_s": 40_960.0,
                "gain": 0.2 * (1 - np.exp(-t / 8)) + level + noise[k, 0],
                "turnover_cost": -0.05 * np.exp(-t / 8),
                "concentration": -0.01,
                "cash_shortfall": 0.0,
                "time_decay": -0.004,
                "variance": -0.03,
                "policy_loss": -0.01 + noise[k, 1] / 9,
                "value_loss": 0.5 * np.exp(-t / 6) + 0.1,
                "entropy": 9.0 - 0.1 * t,
                "kl": 0.012 + 0.1 * np.abs(noise[k, 0]),
                "clip_frac": 0.11 + noise[k, 1],
                "explained_variance": 0.6 - 3 * np.exp(-t / 4) + noise[k, 0],
                "grad_norm": 0.8 + np.abs(noise[k, 1]),
                "n_epochs": 4.0,
                "exposure_frac": 0.5 + noise[k, 1],
                "turnover_frac": 0.02 * np.exp(-t / 12) + 0.004,
                "saturation_frac": 0.05 + 0.004 * t,
                "action_spread": 0.02 + 0.01 * t,
            }
        )
        for k, training in enumerate(trainings)
    ]
    parts = ("gain", "turnover_cost", "concentration", "cash_shortfall", "time_decay", "variance")
    return pl.concat(frames).with_columns(reward_mean=pl.sum_horizontal(parts))


def evaluation(study: str, trial: int, subject: str, scope: str, fold: int, sharpe: float) -> dict[str, Any]:
    """Return one row of lab.evaluations; figures follow from the Sharpe ratio."""
    measures = dict.fromkeys(("sortino_annualized", "sharpe_daily_365"), sharpe * 1.3)
    measures |= {"total_return_frac": sharpe * 0.04, "annualized_return_frac": sharpe * 0.4}
    measures |= {"alpha_frac": (sharpe - 0.4) * 0.04, "sharpe_annualized": sharpe, "calmar": sharpe * 2}
    measures |= {"information_ratio_annualized": sharpe - 0.4, "max_drawdown_frac": 0.06 + 0.01 * fold}
    measures |= {"volatility_annualized": 0.4, "tail_loss_frac": 0.011, "win_rate_frac": 0.53}
    measures |= {"profit_factor": float("inf") if subject == "cash" else 1.2, "turnover_per_day": 0.31}
    measures |= {"trades_per_month": 88.4, "exposure_frac": 0.0 if subject == "cash" else 0.61}
    measures |= {"fees_usd": 31.2, "slippage_usd": 6.24}
    identity = {"study": study, "trial": trial, "subject": subject, "scope": scope, "fold": fold}
    identity["paper_of"] = 3 if scope == "paper" else -1
    span = {"interval": "1h", "from_utc": NOW - timedelta(days=4), "to_utc": NOW}
    return {**identity, **span, **measures, "n_bars": 96, "max_drawdown_bars": 41}


def _lab(rng: np.random.Generator) -> dict[str, pl.DataFrame]:
    pairs = [(i, n) for i in ("1h", "4h") for n in (12, 24)]
    trials = [_trial(SEARCH, t, "complete", pairs[t % 4], rng.normal(0.3, 0.5)) for t in range(8)]
    states = ["pruned" if t in (9, 12, 13, 19) else "failed" if t == 6 else "complete" for t in range(24)]
    scores = [float(rng.normal(0.4 + 0.03 * t, 0.5)) for t in range(24)]
    trials += [_trial(STUDY, t, states[t], ("1h", 24), scores[t]) for t in range(24)]
    evaluations = []
    for fold in range(2):
        for t in range(24):
            if states[t] == "complete":
                evaluations.append(evaluation(STUDY, t, "agent", "validation", fold, scores[t] + 0.1 * fold))
        for i, name in enumerate(BASELINES):
            evaluations.append(evaluation(STUDY, -1, name, "validation", fold, 0.9 - 0.35 * i))
    evaluations.append(evaluation(STUDY, 3, "agent", "paper", 0, 1.42))
    for i, name in enumerate(BASELINES):
        evaluations.append(evaluation(STUDY, -1, name, "paper", 0, 0.9 - 0.35 * i))
    for i, name in enumerate(BASELINES):
        evaluations.append(evaluation(STUDY, -1, name, "holdout", 0, 0.2 - 0.15 * i))
    for t in range(24):
        if states[t] == "complete":
            evaluations.append(evaluation(STUDY, t, "agent", "holdout", 0, scores[t] - 0.7))
    for scope, sharpe in (("validation", 1.1), ("holdout", 0.4)):
        evaluations.append(evaluation(ENSEMBLE, 0, "agent", scope, 0, sharpe))
        evaluations.append(evaluation(ENSEMBLE, -1, "equal_weight", scope, 0, 0.3))
    trials.append(_trial(ENSEMBLE, 0, "complete", ("1h", 24), 1.1))
    trainings = {"complete": ("fold-0", "fold-1", "final"), "pruned": ("fold-0",), "failed": ("fold-0", "fold-1")}
    choice = {"study": SEARCH, "interval": "1h", "lookback": 24, "score": 0.61, "n_trials": 2, "holding_bars": 24}
    studies = [
        _study(SEARCH, "timeframe", "complete", 8),
        _study(STUDY, "training", "converged", 1000),
        _study(ENSEMBLE, "ensemble", "complete", 4),
    ]
    return {
        "lab.studies": pl.DataFrame(studies, infer_schema_length=None),
        "lab.trials": pl.DataFrame(trials, infer_schema_length=None),
        "lab.evaluations": pl.DataFrame(evaluations),
        "lab.updates": pl.concat([updates(STUDY, t, trainings[states[t]], rng) for t in range(24)]),
        "lab.timeframe_choices": pl.DataFrame([{**choice, "decided_at_utc": NOW - timedelta(days=6)}]),
    }


def _judged() -> dict[str, pl.DataFrame]:
    since, until = NOW - timedelta(days=16), NOW - timedelta(days=6)
    opened = {
        "from_utc": since,
        "to_utc": until,
        "n_models": 19,
        "n_windows_inside": 0,
        "n_opened_before": 0,
        "opened_at_utc": until,
    }
    shared = {"score": 1.1, "from_utc": since, "to_utc": until}
    ensemble = {"study": ENSEMBLE, "trial": 0, "vote": "median", "n_members": 2, **shared, "previous": None}
    ensemble |= {"previous_score": None, "is_better": True, "reason": "the first of its kind", "built_at_utc": until}
    measures = {"n_bars": 96, "total_return_frac": 0.02, "alpha_frac": 0.01, "max_drawdown_frac": 0.05}
    measures |= {"profit_factor": 1.2, "exposure_frac": 0.4, "turnover_per_day": 0.2, "trades_per_month": 40.0}
    measures |= {"fees_usd": 9.0, "slippage_usd": 2.0, "from_utc": since, "to_utc": until, "study": ENSEMBLE}
    voting = [("median", "ensemble", 0, None, 1.1), (f"{STUDY}/3", "member", None, 1, 0.5)]
    voting.append((f"{STUDY}/7", "member", None, 2, 1.4))
    names = ("subject", "role", "trial", "rank", "sharpe_annualized")
    scores = [
        {**measures, **dict(zip(names, row, strict=True)), "walk_forward_score": None if row[3] is None else 1.0}
        for row in voting
    ]
    return {
        "lab.holdouts": pl.DataFrame([{"study": study, **opened} for study in (STUDY, ENSEMBLE)]),
        "lab.skill": pl.DataFrame([skill(STUDY, trial) for trial in (15, 22)]),
        "lab.overfitting": pl.DataFrame(
            [verdict(STUDY, "cash", "weak"), verdict(STUDY, "buy_and_hold", "nothing here")]
            + [verdict(ENSEMBLE, benchmark, "nothing here") for benchmark in ("cash", "buy_and_hold")],
            infer_schema_length=None,
        ),
        "lab.ensembles": pl.DataFrame(
            [ensemble], schema_overrides={"previous": pl.String, "previous_score": pl.Float64}
        ),
        "lab.ensemble_scores": pl.DataFrame(scores, infer_schema_length=None),
    }


def skill(study: str, trial: int) -> dict[str, Any]:
    """Return one row of lab.skill in the holdout, of an agent that was only there."""
    chance = {f"p_{way}": 0.5 for way in ("random_timing", "entry_permutation", "symbol_permutation")}
    medians = {f"{way[2:]}_sharpe_annualized": 0.1 for way in chance}
    fit = {"beta": 0.98, "alpha_per_day_frac": 0.0001, "alpha_t": 0.2, "timing_gamma": 0.0, "timing_t": 0.0}
    identity = {"study": study, "trial": trial, "scope": "holdout", "sharpe_annualized": 0.1, "n_permutations": 200}
    return {**identity, **chance, **medians, **fit}


def verdict(study: str, benchmark: str, word: str) -> dict[str, Any]:
    """Return one row of lab.overfitting; above buy-and-hold it would take decades, an ensemble is below luck."""
    is_short = study == ENSEMBLE
    return {
        "study": study,
        "benchmark": benchmark,
        "verdict": word,
        "reasons": ["18 days are too few to tell."] if is_short else [f"Deflated Sharpe above {benchmark}.", "PBO."],
        "best_trial": 0 if is_short else 23,
        "n_trials": 1 if is_short else 32,
        "n_completed": 1 if is_short else 19,
        "n_effective_trials": 4.2,
        "n_days": 18 if is_short else 90,
        "sharpe_daily_365": 1.9,
        "sharpe_low_daily_365": -0.2,
        "sharpe_high_daily_365": 3.7,
        "luck_sharpe_daily_365": 1.7,
        "probabilistic_sharpe": 0.97,
        "deflated_sharpe": 0.96 if benchmark == "cash" else 0.53,
        "deflated_sharpe_published": 0.9,
        "deflated_sharpe_effective": 0.9,
        "min_track_record_days": None if is_short else 80.4 if benchmark == "cash" else 15_896.0,
        "pbo": None if is_short else 0.25,
        "loss_probability": None if is_short else 0.3,
        "holdout_sharpe_daily_365": -0.4,
        "holdout_place": 1 if is_short else 13,
        "rank_correlation": 0.1,
        "rank_p_value": 0.3,
        "mean_decay": 1.2,
        "decided_at_utc": NOW - timedelta(days=6),
    }


def _decision(
    sequence: int, trial: int, moves: tuple[str | None, str, str], reason: str, days: float
) -> dict[str, Any]:
    return {
        "sequence": sequence,
        "study": STUDY,
        "trial": trial,
        "from_stage": moves[0],
        "to_stage": moves[1],
        "action": moves[2],
        "reason": reason,
        "figures": json.dumps({"streak": 5, "total_return_frac": 0.0213}) if moves[2] != "enter" else "{}",
        "decided_by": "rule",
        "decided_at_utc": NOW - timedelta(days=days),
    }


def _arena(rng: np.random.Generator) -> dict[str, pl.DataFrame]:
    enter: tuple[str | None, str, str] = (None, "arena", "enter")
    decisions = [_decision(t + 1, t, enter, "completed its trial", 6) for t in range(20)]
    for trial, streak in (
        (3, "beat 5 different opponents in a row"),
        (7, "beat 5 different opponents in a row"),
    ):
        decisions.append(_decision(len(decisions) + 1, trial, ("arena", "sandbox", "promote"), streak, 5.5))
    reason = "2.0 days in the sandbox: +2.13 %; nobody was in production, and it is the best of those who finished"
    decisions.append(_decision(23, 3, ("sandbox", "production", "promote"), reason, 3.5))
    lost = "2.0 days in the sandbox: -0.40 % against +2.13 % of the production model over the same period"
    decisions.append(_decision(24, 7, ("sandbox", "retired", "retire"), lost, 3.5))
    decisions.append(_decision(25, 11, ("arena", "sandbox", "promote"), "beat 5 different opponents in a row", 1))
    matches = []
    for champion, challengers in ((3, (0, 1, 2, 4, 5)), (7, (8, 9, 10, 12, 13)), (11, (14, 15, 16, 17, 18))):
        for challenger in challengers:
            matches.append(
                {
                    "match_id": f"{champion:04d}{challenger:04d}",
                    "sequence": len(matches) + 1,
                    "champion": f"{STUDY}/{champion}",
                    "challenger": f"{STUDY}/{challenger}",
                    "winner": f"{STUDY}/{champion}",
                    "champion_wins": int(rng.integers(3, 6)),
                    "challenger_wins": 1,
                    "score": "log_return",
                    "windows": "[]",
                    "seed": 5,
                    "played_at_utc": NOW - timedelta(days=5.8) + timedelta(minutes=len(matches)),
                }
            )
    gates = [gate(t, 1.5 if t < 20 else 0.3) for t in range(24)]
    return {
        "arena.gates": pl.DataFrame(gates, infer_schema_length=None),
        "promotion.decisions": pl.DataFrame(decisions, infer_schema_length=None),
        "arena.matches": pl.DataFrame(matches),
    }


def gate(trial: int, sharpe: float) -> dict[str, Any]:
    """Return one row of arena.gates, which asks for a Sharpe of 0.7."""
    asked = {"min_sharpe": 0.7, "min_profit_factor": 1.1, "passed": sharpe >= 0.7, "judged_at_utc": NOW}
    reason = None if sharpe >= 0.7 else "Sharpe below 0.7"
    return {
        "study": STUDY,
        "trial": trial,
        "sharpe_annualized": sharpe,
        "profit_factor": 1.3,
        **asked,
        "reason": reason,
    }


def _desk(rng: np.random.Generator) -> dict[str, pl.DataFrame]:
    accounts, bars = [], []
    for trial, days, until in ((3, 5.5, 0.0), (7, 5.5, 3.5), (11, 1.0, 0.0)):
        opened, n_bars = NOW - timedelta(days=days), int((days - until) * 24)
        value = 10_000 * np.exp(np.cumsum(rng.normal(0.0004, 0.004, n_bars)))
        benchmark = 10_000 * np.exp(np.cumsum(rng.normal(0.0, 0.006, n_bars)))
        accounts.append(
            {
                "study": STUDY,
                "trial": trial,
                "opened_at_utc": opened,
                "traded_until_utc": NOW - timedelta(days=until),
                "cash_usd": 10_000.0,
                "state": "{}",
            }
        )
        for t in range(n_bars):
            bars.append(
                {
                    "study": STUDY,
                    "trial": trial,
                    "closed_at_utc": opened + timedelta(hours=t + 1),
                    "stage": "production" if trial == 3 and t >= 48 else "sandbox",
                    "value_usd": value[t],
                    "benchmark_usd": benchmark[t],
                    "exposure_frac": float(np.clip(0.6 + 0.3 * np.sin(t / 9), 0, 1)),
                    "fee_usd": 0.4,
                    "slippage_usd": 0.08,
                    "turnover_usd": 160.0,
                    "rules": 0,
                }
            )
    return {"desk.accounts": pl.DataFrame(accounts), "desk.equity": pl.DataFrame(bars)}


def _ops() -> dict[str, pl.DataFrame]:
    rows = []
    for check, severity in SEVERITIES.items():
        for symbol in SYMBOLS:
            bad = check == "gaps" and symbol == "UNI/USD"
            rows.append(
                {
                    "checked_at_utc": NOW,
                    "interval": "15m",
                    "day": (NOW if check in RECORD else NOW - timedelta(days=60)).date(),
                    "check": check,
                    "symbol": symbol,
                    "severity": severity,
                    "passed": not bad,
                    "n_bad": 12 if bad else 0,
                    "n_checked": 1440,
                    "figure": 0.0083 if bad else 0.0,
                    "detail": "hole of 2 bars (2.0 h) after 2025-05-09 03:00 UTC" if bad else "",
                    "bars_fingerprint": None,
                }
            )
    return {"ops.data_quality": pl.DataFrame(rows)}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """The demo's settings over an empty folder, whatever configuration lies around."""
    file = tmp_path / "empty.toml"
    file.write_text("")
    return load(file, {"warehouse": tmp_path / "warehouse"})
