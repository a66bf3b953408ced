"""Studies of thresholds in the warehouse: stored whole in one transaction."""

from __future__ import annotations

import json
from datetime import datetime

import polars as pl

from cappuccino.store.warehouse import Warehouse
from cappuccino.validation.deflated import a_year, sharpes
from cappuccino.validation.run_columns import TYPES, origin_columns, subject_columns
from cappuccino.validation.threshold_choice import Choice, conclusion
from cappuccino.validation.thresholds import NAMES

ALL = "all"


def store_thresholds(warehouse: Warehouse, choice: Choice, now: datetime) -> str:
    """Store a study in the place of an earlier one of its name, and return the name."""
    tables = {"threshold_studies": header_of(choice, now), "thresholds": points_of(choice)}
    with warehouse.write() as writer:
        for table, frame in tables.items():
            named = frame.select(pl.lit(choice.name).alias("threshold_study"), pl.all())
            writer.replace(f"lab.{table}", named, "threshold_study = $name", name=choice.name)
    return choice.name


def header_of(choice: Choice, now: datetime) -> pl.DataFrame:
    """Return the row of lab.threshold_studies, without the name of the study."""
    verdict, lead = choice.verdict, choice.superiority
    row = {
        **subject_columns(choice.subject, choice.stretch, choice.settings.sandbox.cash_usd),
        "n_points": len(choice.tried),
        "n_days": verdict.n_days,
        "best_point": lead.best,
        "today_place": lead.place_in_use,
        "conclusion": conclusion(choice),
        "verdict": verdict.word,
        "reasons": list(verdict.reasons),
        "best_sharpe_daily_365": verdict.sharpe_daily_365,
        "today_sharpe_daily_365": verdict.sharpe_daily_365 - lead.difference_sharpe,
        "luck_sharpe_daily_365": a_year(verdict.luck_sharpe_per_day),
        "deflated_sharpe": verdict.deflated_sharpe,
        "pbo": verdict.overfitting.pbo if verdict.overfitting else None,
        "difference_sharpe_daily_365": lead.difference_sharpe,
        "difference_low_daily_365": lead.low_sharpe,
        "difference_high_daily_365": lead.high_sharpe,
        "difference_per_day_frac": lead.difference_per_day_frac,
        "difference_low_per_day_frac": lead.low_per_day_frac,
        "difference_high_per_day_frac": lead.high_per_day_frac,
        "p_value": lead.p_value,
        **origin_columns(choice.settings, choice.stretch, choice.code_version, now),
    }
    return pl.DataFrame([row], schema_overrides={**TYPES, "pbo": pl.Float64})


def points_of(choice: Choice) -> pl.DataFrame:
    """Return the rows of lab.thresholds, without the name of the study: today's first, then in the order of trying."""
    tried = choice.tried
    # Rounded, so that points that differ in the last bits share a place.
    sharpe = pl.Series(sharpes(choice.study.daily_returns)).round(12)
    return choice.study.frame.with_columns(
        point=pl.int_range(len(tried), dtype=pl.Int64),
        place=sharpe.rank("min", descending=True).cast(pl.Int64),
        is_today=pl.int_range(len(tried)) == 0,
        is_best=pl.int_range(len(tried)) == choice.superiority.best,
        in_grid=pl.Series(tried.in_grid),
        symbol=pl.Series(tried.symbols, dtype=pl.String),
        stop_loss_frac=pl.Series(_stop_losses(choice), dtype=pl.Float64),
    )


def by_symbol(header: pl.DataFrame, points: pl.DataFrame) -> pl.DataFrame:
    """Return for each symbol that was varied alone its best stop-loss, and first the best common one.

    Takes the rows of lab.threshold_studies and lab.thresholds of one study. Columns: symbol (`ALL` for the common one),
    today_frac, stop_loss_frac, sharpe_daily_365, gain_sharpe_daily_365 over today's, total_return_frac,
    max_drawdown_frac, n_stop_loss. Today's settings are among the candidates. Empty where nothing was varied alone.
    """
    if points["symbol"].is_null().all():
        return pl.DataFrame()
    position = json.loads(header["settings"].item())["risk"]["position"]
    stop_losses = dict.fromkeys(points["symbol"].drop_nulls().unique(), position["stop_loss_frac"])
    stop_losses |= position["stop_loss_by_symbol"]
    today = points.filter("is_today")
    usual = {name: today[name].item() for name in NAMES if name != "stop_loss_frac"}
    common = points.filter(pl.col("symbol").is_null(), **usual)
    rows = [_best(common, ALL, today["stop_loss_frac"].item())]
    for symbol in points["symbol"].drop_nulls().unique(maintain_order=True):
        own = today.with_columns(stop_loss_frac=pl.lit(stop_losses[symbol]))
        rows.append(_best(pl.concat([own, points.filter(symbol=symbol)]), symbol, stop_losses[symbol]))
    return pl.concat(rows).with_columns(
        gain_sharpe_daily_365=pl.col("sharpe_daily_365") - today["sharpe_daily_365"].item()
    )


def _best(points: pl.DataFrame, symbol: str, today_frac: float) -> pl.DataFrame:
    """Return the row with the best Sharpe, the first of equals."""
    best = points.sort("sharpe_daily_365", descending=True, maintain_order=True).head(1)
    return best.select(
        "stop_loss_frac",
        "sharpe_daily_365",
        "total_return_frac",
        "max_drawdown_frac",
        "n_stop_loss",
        symbol=pl.lit(symbol),
        today_frac=pl.lit(today_frac),
    ).select("symbol", "today_frac", pl.exclude("symbol", "today_frac"))


def _stop_losses(choice: Choice) -> list[float]:
    """Return the stop-loss of each point, of its symbol where it is for one only."""
    points, symbols = choice.tried.points, choice.tried.symbols
    usual = choice.study.frame["stop_loss_frac"].to_list()
    return [
        float(dict(point["stop_loss_by_symbol"])[symbol]) if symbol else number  # type: ignore[arg-type]
        for point, symbol, number in zip(points, symbols, usual, strict=True)
    ]
