"""Sections about models at work: who stands where, how they trade, and why they were moved."""

from __future__ import annotations

import json
import math
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import polars as pl

from cappuccino.watch import formats, plots
from cappuccino.watch.report.frames import QUERIES, Frames
from cappuccino.watch.report.page import Picture, Section, grid, picture

SHORT_RECORD = timedelta(days=30)
MODEL = pl.format("{}/{}", "study", "trial").alias("model")
NO_PRODUCTION = "No model has reached production yet."
_ACTIVE = ("live", "production", "sandbox", "arena")
_BESIDE = (
    "subject",
    "total_return_frac",
    "alpha_frac",
    "sharpe_annualized",
    "sortino_annualized",
    "max_drawdown_frac",
    "volatility_annualized",
    "win_rate_frac",
    "profit_factor",
    "trades_per_month",
    "exposure_frac",
    "fees_usd",
)
_ACCOUNT = (
    "model",
    "stage",
    "from_utc",
    "bars",
    "value_usd",
    "total_return_frac",
    "benchmark_return_frac",
    "alpha_frac",
    "max_drawdown_frac",
    "exposure_frac",
    "fee_usd",
)
_DECISION = ("decided_at_utc", "model", "action", "from_stage", "to_stage", "decided_by", "reason", "figures")


def producer(frames: Frames) -> str | None:
    """Return the model in production, None when nobody is."""
    found = frames["production"]
    return None if found.is_empty() else f"{found['study'][0]}/{found['trial'][0]}"


def stages(frames: Frames) -> Section:
    """Say which model is in which stage."""
    title, rows = "Stages", frames["stages"].with_columns(MODEL)
    if rows.is_empty():
        return Section("stages", title, ("No model exists yet: nothing has been trained.", NO_PRODUCTION))
    counts: dict[str, int] = dict(rows.group_by("stage").len().iter_rows())
    active = ", ".join(f"{counts[stage]:,} in {stage}" for stage in _ACTIVE if stage in counts)
    sentences = [f"{active or 'Nobody is active'}; {counts.get('retired', 0):,} retired."]
    if not producer(frames):
        sentences.append(NO_PRODUCTION)
    if "sandbox" not in counts:
        sentences.append("No model is in the sandbox now.")
    table = grid(rows, ("model", "stage", "since_utc", "reason"), QUERIES["stages"])
    return Section("stages", title, tuple(sentences), grids=(table,))


def production(frames: Frames, simulated: bool) -> Section:
    """Set the figures of the model in production beside those of the baselines on the same bars."""
    title, model = "Production beside the baselines", producer(frames)
    if model is None:
        return Section("production", title, (NO_PRODUCTION,))
    draw = partial(plots.equity, frames["equity"].filter(model == MODEL), simulated=simulated)
    pictures = (picture(f"Value of {model} beside buy-and-hold", draw),)
    own = frames["paper"].filter((pl.col("subject") == "agent") & (model == MODEL))
    if own.is_empty():
        return Section("production", title, (f"{model} has not been measured on paper yet.",), pictures)
    study, trial, start, stop = own.select("study", "trial", "from_utc", "to_utc").row(0)
    on_same_bars = (pl.col("study") == study) & (pl.col("paper_of") == trial)
    baselines = frames["paper"].filter((pl.col("trial") < 0) & on_same_bars)
    sentences = [f"{_span(start, stop)}; paper money, after fees and slippage, all on the same bars."]
    if baselines.is_empty():
        sentences.append("The baselines have not been measured on these bars yet.")
    if stop - start < SHORT_RECORD:
        sentences.append("The record is short: yearly ratios from so few days are mostly chance.")
    rows = pl.concat([own.with_columns(subject=pl.lit(model)), baselines]).sort("total_return_frac", descending=True)
    sql = f"select * from lab.evaluations where study = '{study}' and paper_of = {trial}"
    table = grid(rows, _BESIDE, sql, mark=pl.col("trial") >= 0)
    return Section("production", title, tuple(sentences), pictures, (table,))


def accounts(frames: Frames, simulated: bool) -> Section:
    """Show every account that trades or has traded on paper."""
    title, bars = "Paper accounts", frames["equity"]
    if bars.is_empty():
        return Section("accounts", title, ("No account has traded yet.",))
    pictures: tuple[Picture, ...] = (
        picture("Value of every paper account", partial(plots.equity, bars, simulated=simulated)),
        picture("Drawdown of every paper account", partial(plots.drawdown, bars, simulated=simulated)),
        picture("Exposure of every paper account", partial(plots.exposure, bars, simulated=simulated)),
    )
    rows = frames["performance"].with_columns(MODEL)
    return Section("accounts", title, (), pictures, (grid(rows, _ACCOUNT, QUERIES["performance"]),))


def verdicts(frames: Frames) -> Section:
    """Show how the time in the sandbox ended for each model that was there."""
    title = "Sandbox verdicts"
    rows = _readable(frames["history"].filter(pl.col("from_stage") == "sandbox"))
    if rows.is_empty():
        return Section("sandbox", title, ("No model has left the sandbox yet.",))
    columns = ("decided_at_utc", "model", "action", "to_stage", "reason", "figures")
    table = grid(rows, columns, "select * from promotion.history where from_stage = 'sandbox'")
    return Section("sandbox", title, (), grids=(table,))


def decisions(frames: Frames) -> Section:
    """Show every decision; the many entries to the arena are only counted."""
    title, history = "Decisions", frames["history"]
    if history.is_empty():
        return Section("decisions", title, ("Nothing has been decided yet.",))
    moves = _readable(history.filter(pl.col("action") != "enter"))
    n_entered = history.height - moves.height
    if moves.is_empty():
        sentence = f"{n_entered:,} models entered the arena, and none has left it."
        return Section("decisions", title, (sentence,))
    sentence = f"{n_entered:,} models entered the arena; the other decisions, newest first:"
    return Section("decisions", title, (sentence,), grids=(grid(moves, _DECISION, QUERIES["history"]),))


def _readable(history: pl.DataFrame) -> pl.DataFrame:
    return history.with_columns(figures=pl.col("figures").map_elements(_figures, return_dtype=pl.String))


def _figures(document: str) -> str:
    """Return the JSON object of compared numbers in words; what is no number stays as it is."""
    figures: dict[str, Any] = json.loads(document)
    return " · ".join(f"{formats.heading(name)} {_figure(name, value)}" for name, value in figures.items())


def _figure(name: str, value: Any) -> str:
    if isinstance(value, float) and math.isfinite(value) and value == int(value) and name.startswith("n_"):
        return f"{int(value):,}"
    return formats.text(name, value)


def _span(start: datetime, stop: datetime) -> str:
    return f"{formats.text('', start)} to {formats.text('', stop)} UTC ({formats.age(stop - start)})"
