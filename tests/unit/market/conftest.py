"""Bars by hand for the tests of the market package."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from cappuccino.market.source import BAR_SCHEMA

MakeBars = Callable[..., pl.DataFrame]


@pytest.fixture
def make_bars() -> MakeBars:
    """Return bars that close at the given prices, 15 minutes apart; None leaves a bar out."""

    def make(
        closes: list[float | None],
        symbol: str = "BTC/USD",
        start: datetime = datetime(2024, 1, 1, tzinfo=UTC),
        step: timedelta = timedelta(minutes=15),
    ) -> pl.DataFrame:
        rows = [
            (symbol, start + n * step, close, close + 1.0, close - 0.5, close, 10.0)
            for n, close in enumerate(closes)
            if close is not None
        ]
        return pl.DataFrame(rows, schema=BAR_SCHEMA, orient="row")

    return make
