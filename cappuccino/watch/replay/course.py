"""What follows from the rows of a replay: curves, months, who was in production when. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl

from cappuccino.watch.plots.replay import BENCHMARK, SYSTEM

_TIME = pl.Datetime("us", "UTC")
_SPELLS = pl.Schema({"model": pl.String(), "from_utc": _TIME, "to_utc": _TIME})
# The end of a day is the first moment of the next one.
_WITHIN = timedelta(microseconds=1)


def curves(equity: pl.DataFrame, opened: datetime, cash_usd: float) -> pl.DataFrame:
    """Return subject, closed_at_utc, growth: the value over the opening cash, 1 at the opening for everybody.

    `equity` is subject, closed_at_utc, value_usd at the end of each day.
    """
    after = equity.filter(pl.col("closed_at_utc") > opened)
    growth = after.select("subject", "closed_at_utc", growth=pl.col("value_usd") / cash_usd)
    opening = growth.select(
        pl.col("subject").unique(maintain_order=True),
        closed_at_utc=pl.lit(opened).cast(growth.schema["closed_at_utc"]),
        growth=pl.lit(1.0),
    )
    return pl.concat([opening, growth]).sort("subject", "closed_at_utc")


def months(growth: pl.DataFrame, opened: datetime) -> pl.DataFrame:
    """Return month, n_days, system_return_frac, buy_and_hold_return_frac, alpha_frac; of months in part, the part.

    `growth` is what `curves` returns.
    """
    month = (pl.col("closed_at_utc") - _WITHIN).dt.strftime("%Y-%m")
    ends = (
        growth.filter(pl.col("closed_at_utc") > opened)
        .sort("closed_at_utc")
        .group_by("subject", month=month, maintain_order=True)
        .agg(pl.col("growth").last(), n_days=pl.len())
        .with_columns(gain=pl.col("growth") / pl.col("growth").shift(1, fill_value=1.0).over("subject") - 1)
    )
    system, benchmark = (ends.filter(pl.col("subject") == subject) for subject in (SYSTEM, BENCHMARK))
    beside = benchmark.select("month", buy_and_hold_return_frac="gain")
    return (
        system.select("month", "n_days", system_return_frac="gain")
        .join(beside, on="month", how="left", maintain_order="left")
        .with_columns(alpha_frac=pl.col("system_return_frac") - pl.col("buy_and_hold_return_frac"))
    )


def spells(decisions: pl.DataFrame, start: datetime, stop: datetime) -> pl.DataFrame:
    """Return model (null: nobody), from_utc, to_utc: who was in production between `start` and `stop`, without holes.

    `decisions` is replay.decisions in their order. Of several at one moment, as in a replacement, the last counts.
    """
    comings: list[tuple[str | None, datetime]] = [(None, start)]
    for study, trial, to_stage, at in _moves(decisions).iter_rows():
        model = f"{study}/{trial}" if to_stage == "production" else None
        if comings[-1][1] == at:
            comings.pop()
        if not comings or comings[-1][0] != model:
            comings.append((model, at))
    ends = [*(at for _, at in comings[1:]), stop]
    rows = [(model, at, end) for (model, at), end in zip(comings, ends, strict=True) if at < end]
    return pl.DataFrame(rows, schema=_SPELLS, orient="row")


def _moves(decisions: pl.DataFrame) -> pl.DataFrame:
    """Who came to production or left it; at most one model is there, so whoever leaves is the one."""
    moved = (pl.col("from_stage") == "production").fill_null(False) | (pl.col("to_stage") == "production")
    return decisions.filter(moved).sort("sequence").select("study", "trial", "to_stage", "decided_at_utc")
