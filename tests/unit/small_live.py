"""A warehouse in which a model that was trained on real bars has stood two days in production."""

from __future__ import annotations

import json
import math
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from cappuccino.registry import moves
from cappuccino.registry.capital import Confirmation
from cappuccino.registry.green_light import PaperFigures, go_live
from cappuccino.registry.identity import ModelId
from cappuccino.registry.live_record import BROKER, append_confirmation
from cappuccino.registry.record import decide
from cappuccino.settings import LiveSettings, Settings, load
from cappuccino.store.warehouse import Warehouse
from tests.unit.small_lab import add_study, add_trial
from tests.unit.small_market import END, SYMBOLS

MODEL = ModelId("training-1", 3)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NOW = END
CAME = NOW - 3 * DAY
"""When the model came to production."""
ACCOUNT = "7c1f2a90-5b6d-4e8f-9a01-23456789abcd"
GREEN = PaperFigures(2.0, 0.01, 1.0, 0.02, 0, is_simulated=False)


def live_settings(folder: Any, **groups: Any) -> Settings:
    """Return settings with every switch on; `groups` overrule."""
    file = folder / "live.toml"
    file.write_text("")
    chosen: dict[str, Any] = {
        "profile": "live",
        "warehouse": folder,
        "market": {"symbols": SYMBOLS, "source": "coinbase"},
        "live": {"enabled": True},
    }
    return load(file, {**chosen, **groups})


def put_in_production(warehouse: Warehouse, *, is_simulated: bool = False) -> None:
    """Let the model come to production, trained on bars of that kind."""
    with warehouse.write() as writer:
        add_study(writer, MODEL.study, CAME, is_simulated=is_simulated)
        add_trial(writer, MODEL)
    decide(warehouse, lambda book: moves.enter(book, MODEL, CAME - DAY, "candidate"))
    decide(warehouse, lambda book: moves.promote(book, MODEL, CAME - DAY, "streak"))
    decide(warehouse, lambda book: moves.promote(book, MODEL, CAME, "won"))


def gaining(n_hours: int, drift: float = 0.0005) -> list[float]:
    """Return what an account of 10,000 USD is worth at each hour's end: it gains with ups and downs."""
    steps = drift + 0.001 * np.sin(np.arange(n_hours))
    values: list[float] = (10_000.0 * np.exp(np.cumsum(steps))).tolist()
    return values


def trade(
    warehouse: Warehouse,
    values: list[float],
    *,
    stage: str = "production",
    opened: datetime = CAME - DAY,
    benchmark_usd: float = 10_000.0,
) -> None:
    """Store an account with one value an hour after `opened`, beside a benchmark that stands still."""
    keys = {"study": MODEL.study, "trial": MODEL.trial}
    account = {"opened_at_utc": opened, "traded_until_utc": opened + len(values) * HOUR, "cash_usd": 10_000.0}
    zeros = dict.fromkeys(("exposure_frac", "fee_usd", "slippage_usd", "turnover_usd"), 0.0)
    bars = [
        {
            **keys,
            "closed_at_utc": opened + n * HOUR,
            "stage": stage,
            "value_usd": value,
            "benchmark_usd": benchmark_usd,
            **zeros,
            "rules": 0,
        }
        for n, value in enumerate(values, start=1)
    ]
    with warehouse.write() as writer:
        if stage != "live":
            writer.upsert("desk.accounts", pl.DataFrame([{**keys, **account, "state": "{}", "kept_by": "trader"}]))
        writer.upsert("desk.equity", pl.DataFrame(bars))


def alarm(warehouse: Warehouse, at: datetime, severity: str = "critical", *, is_resolved: bool = False) -> None:
    """Store an alert of the trader."""
    row = {"key": "k", "at_utc": at, "severity": severity, "message": "m", "is_resolved": is_resolved, "version": 1}
    with warehouse.write() as writer:
        writer.append("desk.alerts", pl.DataFrame([row]))


def put_live(warehouse: Warehouse, at: datetime = NOW, figures: PaperFigures = GREEN) -> None:
    """Let the operator put the model of production live."""
    decide(warehouse, lambda book: go_live(book, figures, LiveSettings(enabled=True), at, "trust"))


def put_live_without_gates(warehouse: Warehouse, at: datetime = NOW, **figures: float) -> None:
    """Let the model be live by a decision that has only `figures`, as somebody might write it into the table."""
    decide(warehouse, lambda book: moves.promote_to_live(book, at, "trust me", figures))


def confirm(warehouse: Warehouse, at: datetime, step: int = 1, account: str = ACCOUNT, **fields: Any) -> None:
    """Let the operator confirm a step, or take it back with step 0."""
    capital = (0.0, 100.0, 1_000.0, 2_000.0, 3_000.0)[step]
    chosen = {"broker": BROKER, "account_id": account, "step": step, "capital_usd": capital, "model": MODEL}
    append_confirmation(warehouse, Confirmation(**{**chosen, "reason": "mine", "confirmed_at": at, **fields}))


def spoil_figures(warehouse: Warehouse, name: str, value: float | None) -> None:
    """Write something else into the figures of the newest decision, or leave one out."""
    newest = warehouse.query("select * from promotion.decisions order by sequence desc limit 1").row(0, named=True)
    figures = json.loads(newest["figures"])
    if value is None:
        del figures[name]
    else:
        figures[name] = value if math.isfinite(value) else "NaN"
    text = json.dumps(figures).replace('"NaN"', "NaN")
    with warehouse.write() as writer:
        writer.execute(
            "update promotion.decisions set figures = $text where sequence = $sequence",
            text=text,
            sequence=newest["sequence"],
        )
