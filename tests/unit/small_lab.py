"""Rows of a study and the folder of an untrained model, as a training would have left them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from cappuccino.features.scaler import Scaler
from cappuccino.features.spec import FeatureSpec
from cappuccino.market.interval import Interval
from cappuccino.portfolio.measures import measure
from cappuccino.registry import artifacts, moves
from cappuccino.registry.identity import ModelId
from cappuccino.registry.manifest import Manifest, ManifestFeatures
from cappuccino.registry.stages import Decision, StageBook
from cappuccino.rl.hyper import Hyper
from cappuccino.rl.model import Policy
from cappuccino.rl.runner import policy_shape
from cappuccino.search.book import evaluation_frame, evaluation_row
from cappuccino.store.warehouse import Warehouse, Writer
from tests.unit.small_market import DAY, END, START, SYMBOLS

SPEC = FeatureSpec((), ("roc_12",))
TIME = pl.Datetime("us", "UTC")
MODEL = ModelId("training-1", 3)
TRAIN_END = START + 30 * DAY


def vetted(model: ModelId) -> None:
    """Find nothing against anybody."""


def add_one_model(warehouse: Warehouse, artifacts: Path) -> None:
    """Write a study of which `MODEL` came, trained until `TRAIN_END`, to a warehouse with the bars up to `END`."""
    save_model(artifacts, MODEL, TRAIN_END)
    with warehouse.write() as writer:
        add_study(writer, MODEL.study, END)
        add_trial(writer, MODEL)


def save_model(
    root: Path,
    model: ModelId,
    train_end: datetime,
    *,
    interval: Interval = Interval.H1,
    lookback: int = 6,
    symbols: tuple[str, ...] = SYMBOLS,
) -> Manifest:
    """Store a network of random weights; its seed is the trial, so equal trials are equal models."""
    hyper = Hyper(width=16, no_trade_band=0.0)
    n_features = len(SPEC.names)
    generator = torch.Generator().manual_seed(model.trial)
    policy = Policy(policy_shape(len(symbols), n_features, lookback, hyper), generator)
    shape = (len(symbols), n_features)
    # Scales that are too small make an untrained network restless.
    scaler = Scaler(np.zeros(shape), np.full(shape, 1e-3), SPEC.names, symbols)
    manifest = Manifest(
        study=model.study,
        trial=model.trial,
        hyper=dict(hyper.to_dict()),
        features=ManifestFeatures(SPEC.indicators, SPEC.extras, SPEC.names),
        scaler=scaler.to_dict(),
        symbols=symbols,
        interval=interval,
        lookback=lookback,
        data_start=train_end - 30 * DAY,
        data_end=train_end + 30 * DAY,
        train_start=train_end - 30 * DAY,
        train_end=train_end,
        data_fingerprint="f",
        code_version="1",
        learner="none",
        simulated=True,
        metrics={},
    )
    return artifacts.save(artifacts.folder_of(root, model), manifest, policy.state_dict())


def add_study(writer: Writer, study: str, as_of: datetime, **changes: Any) -> None:
    """Append a completed training study that looked at all data until `as_of`."""
    row = {
        "study": study,
        "kind": "training",
        "state": "complete",
        "as_of_utc": as_of,
        "seed": 7,
        "trial_cap": 9,
        "symbols": list(SYMBOLS),
        "interval": "1h",
        "lookback": 6,
        "is_simulated": True,
        "data_start_utc": as_of - 60 * DAY,
        "data_end_utc": as_of,
        "train_end_utc": as_of - 30 * DAY,
        "data_fingerprint": "f",
        "code_version": "1",
        "settings": "{}",
        "bars_from_utc": None,
        "bars_fingerprint": None,
        "holdout_from_utc": None,
        "packages": None,
        "finished_at_utc": None,
    }
    types = dict.fromkeys(("bars_from_utc", "holdout_from_utc", "finished_at_utc"), TIME) | dict.fromkeys(
        ("bars_fingerprint", "packages"), pl.String
    )
    writer.append("lab.studies", pl.DataFrame([row | changes], schema_overrides=types))


def add_trial(writer: Writer, model: ModelId, score: float | None = 0.5, state: str = "complete") -> None:
    """Append a trial that completed with `score`, or did not."""
    done = state == "complete"
    row = {
        "study": model.study,
        "trial": model.trial,
        "state": state,
        "interval": "1h",
        "lookback": 6,
        "parameters": "{}",
        "seed": model.trial,
        "score": score if done else None,
        "fold_scores": [score] if done else None,
        "started_as_of_utc": datetime.fromisoformat("2025-01-01T00:00Z"),
        "duration_s": 1.0,
        "env_steps": 1,
        "artifact": str(model) if done else None,
        "weight_sha256": "ab" if done else None,
        "reason": None if done else "it was hopeless",
        "collapsed": None,
        "action_spread": 0.2 if done else None,
        "equity_sha256": "cd" if done else None,
    }
    types = {
        "score": pl.Float64,
        "fold_scores": pl.List(pl.Float64),
        "collapsed": pl.String,
        "equity_sha256": pl.String,
        "action_spread": pl.Float64,
    }
    writer.append("lab.trials", pl.DataFrame([row], schema_overrides=types))
    if done:
        add_evaluation(writer, model, score or 0.0)


def add_evaluation(writer: Writer, model: ModelId, sharpe: float, profit_factor: float = 2.0) -> None:
    """Write how the model was judged on its only fold."""
    nothing = measure(np.zeros(24), np.zeros(24), Interval.H1)
    measures = replace(nothing, sharpe_annualized=sharpe, profit_factor=profit_factor)
    span = (datetime.fromisoformat("2025-01-01T00:00Z"), datetime.fromisoformat("2025-01-02T00:00Z"))
    row = evaluation_row(model.study, model.trial, "agent", "validation", 0, Interval.H1, span, measures)
    writer.upsert("lab.evaluations", evaluation_frame([row]))


def replace_production(book: StageBook, by: ModelId, now: datetime, reason: str) -> tuple[Decision, ...]:
    """Return the decisions that lead `by` all the way up, to where it replaces the model in production."""
    decisions: tuple[Decision, ...] = ()
    while book.production != by:
        move = moves.enter if book.stage(by) is None else moves.promote
        step = move(book, by, now, reason)
        book, decisions = book.apply(*step), decisions + step
    return decisions
