"""What the rows of backtests and of studies of thresholds share: who traded which bars, and what made them."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import polars as pl

from cappuccino.settings import Settings
from cappuccino.validation.backtest import Stretch, Subject, decisive

TIME = pl.Datetime("us", "UTC")
Row = dict[str, Any]
_TIMES = ("from_utc", "to_utc", "trained_from_utc", "trained_until_utc", "made_at_utc")
TYPES: Row = {**dict.fromkeys(_TIMES, TIME), "study": pl.String, "trial": pl.Int64}
"""Of the columns that may be empty, and of all times."""


def subject_columns(subject: Subject, stretch: Stretch, cash_usd: float) -> Row:
    """Return the first columns of a row: the subject, its training and the range that it traded with `cash_usd`."""
    model, trained = subject.model, subject.trained or (None, None)
    return {
        "subject": subject.name,
        "study": model.study if model else None,
        "trial": model.trial if model else None,
        "interval": stretch.panel.interval.value,
        "symbols": list(stretch.panel.symbols),
        "from_utc": stretch.start,
        "to_utc": stretch.stop,
        "is_simulated": stretch.is_simulated,
        "cash_usd": cash_usd,
        "trained_from_utc": trained[0],
        "trained_until_utc": trained[1],
        "in_sample_frac": subject.in_sample_frac(stretch.start, stretch.stop),
    }


def origin_columns(settings: Settings, stretch: Stretch, code_version: str, now: datetime) -> Row:
    """Return the last columns of a row: what its figures were made from, and when."""
    return {
        "seed": settings.training.seed,
        "settings": json.dumps(decisive(settings)),
        "bars_fingerprint": stretch.panel.fingerprint(),
        "code_version": code_version,
        "made_at_utc": now,
    }
