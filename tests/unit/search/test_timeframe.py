"""Which pair wins a timeframe search."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from cappuccino.errors import TrainingError
from cappuccino.search.timeframe import best_pair


def timeframes(*rows: tuple[str, int, int, float | None]) -> pl.DataFrame:
    names = ("interval", "lookback", "n_complete", "mean_score")
    return pl.DataFrame(
        rows, schema=dict(zip(names, (pl.String, pl.Int64, pl.Int64, pl.Float64), strict=True)), orient="row"
    )


def winner(*rows: tuple[str, int, int, float | None]) -> tuple[Any, Any]:
    best = best_pair(timeframes(*rows))
    return best["interval"], best["lookback"]


def test_the_best_mean_score_wins() -> None:
    assert winner(("1h", 20, 3, 0.5), ("4h", 20, 3, 0.7), ("1d", 20, 3, -1.0)) == ("4h", 20)


def test_a_tie_goes_to_the_longer_interval_then_to_the_shorter_lookback() -> None:
    assert winner(("15m", 60, 3, 0.5), ("1d", 60, 3, 0.5), ("4h", 20, 3, 0.5)) == ("1d", 60)
    assert winner(("4h", 60, 3, 0.5), ("4h", 20, 3, 0.5)) == ("4h", 20)
    assert winner(("4h", 20, 3, 0.5), ("30m", 20, 3, 0.5)) == ("4h", 20)


def test_a_pair_without_a_completed_trial_cannot_win() -> None:
    assert winner(("1h", 20, 0, None), ("4h", 20, 1, -3.0)) == ("4h", 20)
    with pytest.raises(TrainingError, match=r"see lab\.attempts"):
        winner(("1h", 20, 0, None))
