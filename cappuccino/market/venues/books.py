"""How much is offered on either side of an order book."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import polars as pl

from cappuccino.market.source import TIME

BEST_LEVELS = 10
SCHEMA = {"symbol": pl.String(), "seen_at_utc": TIME, "bid_units": pl.Float64(), "ask_units": pl.Float64()}
"""One row per symbol and moment: base units wanted and offered on the best levels."""

_LEVELS = {"symbol": pl.String(), "side": pl.String(), "price": pl.Float64(), "size": pl.Float64()}


Side = Literal["bid", "ask"]


@dataclass(frozen=True)
class Level:
    """One price of a book, with numbers as the venue spells them."""

    symbol: str
    side: Side
    price: Any
    size: Any


def level_frame(levels: Iterable[Level]) -> pl.DataFrame:
    """Return levels as a frame; raises ValueError, naming one, when a price or size is no such number."""
    rows = [(level.symbol, level.side, float(level.price), float(level.size)) for level in levels]
    frame = pl.DataFrame(rows, schema=_LEVELS, orient="row")
    price, size = pl.col("price"), pl.col("size")
    bad = frame.filter(~((price > 0) & (size >= 0) & price.is_finite() & size.is_finite()))
    if len(bad):
        symbol, side, price_found, size_found = bad.row(0)
        raise ValueError(f"{side} of {symbol}: price {price_found}, size {size_found}")
    return frame


def depth(levels: pl.DataFrame, seen_at: datetime) -> pl.DataFrame:
    """Return the units on the best levels of each side, in columns of SCHEMA, sorted by symbol.

    A symbol without both sides is left out: one empty side is more likely a broken answer than a market, and would
    look like the strongest imbalance there is.
    """
    # The best bid is the highest, the best ask the lowest.
    rank = pl.when(pl.col("side") == "bid").then(-pl.col("price")).otherwise("price")
    best = (
        levels.filter(pl.col("size") > 0).sort(rank).group_by("symbol", "side", maintain_order=True).head(BEST_LEVELS)
    )
    sides = best.group_by("symbol").agg(
        pl.col("size").filter(pl.col("side") == side).sum().alias(f"{side}_units") for side in ("bid", "ask")
    )
    both = sides.filter((pl.col("bid_units") > 0) & (pl.col("ask_units") > 0)).sort("symbol")
    return both.with_columns(pl.lit(seen_at, dtype=TIME).alias("seen_at_utc")).select(*SCHEMA)
