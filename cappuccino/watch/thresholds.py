"""The page of a study of thresholds: what the best would have brought, and whether it is more than luck."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from cappuccino.errors import UnknownName
from cappuccino.store.warehouse import Reader, Warehouse
from cappuccino.validation.threshold_grid import LAYERS, OPTIONS
from cappuccino.validation.thresholds_record import ALL, by_symbol
from cappuccino.watch import formats
from cappuccino.watch.backtest.words import sample_sentence
from cappuccino.watch.formats import heading
from cappuccino.watch.plots import thresholds as plots
from cappuccino.watch.report.glossary import GLOSSARY
from cappuccino.watch.report.page import SIMULATED_MARKET, Banner, Page, Picture, Section, Term, Tile, grid, picture
from cappuccino.watch.report.write import html_of, store

FLAGS = {name: flag for name in OPTIONS for flag, names in LAYERS.items() if name in names}
"""The thresholds that a study varies, each with the flag that says its unit; the first two that differ are drawn."""
MEASURES = (
    "sharpe_daily_365",
    "total_return_frac",
    "alpha_frac",
    "max_drawdown_frac",
    "exposure_frac",
    "trades_per_month",
    "fees_usd",
)
_RULES = ("n_trailing_stop", "n_profit_take", "n_stop_loss", "n_position_trailing_stop")
FIRED = {name: f"{heading(name)} fired" for name in _RULES}
"""Columns that count how often a rule fired, with the names under which they are shown beside its threshold."""
N_BEST = 12


@dataclass(frozen=True)
class ThresholdRows:
    """Every row of one study."""

    header: pl.DataFrame
    """Its row of lab.threshold_studies."""
    points: pl.DataFrame

    @property
    def run(self) -> dict[str, Any]:
        return self.header.row(0, named=True)

    @property
    def is_simulated(self) -> bool:
        return bool(self.run["is_simulated"])


def read_thresholds(reader: Reader, study: str) -> ThresholdRows:
    """Return all rows of a study of thresholds; raises UnknownName with the newest there are."""
    header = reader.query("from lab.threshold_studies where threshold_study = $study", study=study)
    if header.is_empty():
        newest = reader.query(
            "select threshold_study from lab.threshold_studies order by made_at_utc desc, threshold_study limit 5"
        )
        names = ", ".join(newest["threshold_study"]) or "none yet; `cappuccino thresholds SUBJECT` makes one"
        raise UnknownName(f"no study of thresholds {study!r}; the newest are: {names}")
    points = reader.query("from lab.thresholds where threshold_study = $study order by point", study=study)
    return ThresholdRows(header, points)


def write_thresholds_page(warehouse: Warehouse, study: str, file: Path) -> Path:
    """Write the page of a study to `file` and return it; raises UnknownName with the studies there are."""
    with warehouse.read() as reader:
        found = read_thresholds(reader, study)
    # Drawing takes seconds; nobody has to wait for the warehouse meanwhile.
    return store(render(found), file)


def render(found: ThresholdRows) -> str:
    """Return the page of a study of thresholds."""
    run = found.run
    seen = (Banner("In-sample.", sample_sentence(run).removeprefix("In-sample: "), "alarm"),)
    return html_of(
        Page(
            f"Thresholds for {run['subject']}",
            f"{formats.text('', run['from_utc'])} to {formats.text('', run['to_utc'])} UTC · {run['interval']} bars · "
            f"{run['threshold_study']}",
            found.is_simulated,
            (SIMULATED_MARKET,) * found.is_simulated + seen * (run["in_sample_frac"] > 0),
            tuple(tiles(run)),
            tuple(sections(found)),
        )
    )


def tiles(run: dict[str, Any]) -> Iterator[Tile]:
    """Yield the figures at the top: the best, today's, and what luck would have shown."""
    tried = f"of {run['n_points']:,}"
    for name, column, note in (
        ("Best Sharpe", "best_sharpe_daily_365", f"{tried} points"),
        ("Today's", "today_sharpe_daily_365", f"place {run['today_place']:,} {tried}"),
        ("Luck alone", "luck_sharpe_daily_365", f"the best {tried} without an edge"),
    ):
        yield Tile(name, formats.text(column, run[column]), note)
    yield Tile("Deflated Sharpe", f"{run['deflated_sharpe']:.3f}", "0.95 is needed")
    yield Tile("Lead over today's, p", f"{run['p_value']:.3f}", "reality check; below 0.05 is more than luck")


def sections(found: ThresholdRows) -> Iterator[Section]:
    """Yield the sections of the page in order."""
    name = found.run["threshold_study"]
    yield Section("worth", "What it is worth", told(found.run))
    yield Section("maps", "Two thresholds at a time", _maps_said(), tuple(maps(found)))
    sql = f"from lab.thresholds where threshold_study = '{name}' order by place, point"
    columns = ("place", "settings", *threshold_columns(), "symbol", *MEASURES, *FIRED.values())
    table = grid(best_of(found.points, None), columns, sql, mark=pl.col("is_today"), n_shown=N_BEST)
    yield Section(
        "best", "The best, and today's", ("Today's settings are marked; 0 switches a rule off.",), grids=(table,)
    )
    symbols = by_symbol(found.header, found.points)
    if not symbols.is_empty():
        yield _symbols(found, symbols, name)
    yield Section("glossary", "What the measures say", terms=tuple(Term(k, GLOSSARY[k]) for k in MEASURES))


def told(run: dict[str, Any]) -> tuple[str, ...]:
    """Return what the study says in sentences; `run` is a row of lab.threshold_studies."""
    days = (run["difference_per_day_frac"], run["difference_low_per_day_frac"], run["difference_high_per_day_frac"])
    mean, low, high = (f"{value * 1e4:+.1f}" for value in days)
    ratios = (run[f"difference_{end}_daily_365"] for end in ("sharpe", "low", "high"))
    sharpe, sharpe_low, sharpe_high = (f"{value:+.2f}" for value in ratios)
    lead = (
        f"The best leads today's settings by {sharpe} ({sharpe_low} to {sharpe_high}) of Sharpe a year and {mean} "
        f"({low} to {high}) basis points a day, 95 % intervals; the luckiest of {run['n_points']:,} that are no better "
        f"than today's leads as much with probability {run['p_value']:.3f}."
    )
    return (run["conclusion"], *run["reasons"], lead, sample_sentence(run))


def maps(found: ThresholdRows) -> Iterator[Picture]:
    """Yield a map of two thresholds for each unit of the grid, and one of symbols."""
    points, simulated = found.points, found.is_simulated
    rows = points.filter("in_grid")
    y, x = sorted(FLAGS, key=lambda name: rows[name].n_unique() < 2)[:2]
    for shown in rows.partition_by(list(dict.fromkeys((FLAGS[y], FLAGS[x])))):
        are_scaled = (bool(shown[FLAGS[x]][0]), bool(shown[FLAGS[y]][0]))
        draw = partial(plots.heat, shown, x, y, are_scaled=are_scaled, simulated=simulated)
        yield picture(f"Sharpe by {plots.threshold(y)} and {plots.threshold(x)}", draw)
    alone, today = points.drop_nulls("symbol"), points.filter("is_today")
    if not alone.is_empty():
        are_scaled, above = (bool(today["position_scaled"].item()), False), today["sharpe_daily_365"].item()
        draw = partial(
            plots.heat, alone, "stop_loss_frac", "symbol", are_scaled=are_scaled, above=above, simulated=simulated
        )
        yield picture("Sharpe by symbol and its stop-loss", draw)


def best_of(points: pl.DataFrame, n: int | None = N_BEST) -> pl.DataFrame:
    """Return the `n` best points and today's, thresholds in words."""
    ranked = points.sort("place", "point")
    shown = ranked if n is None else ranked.filter((pl.int_range(pl.len()) < n) | pl.col("is_today"))
    words = [_in_words(name, flag) for name, flag in FLAGS.items()]
    fired = [pl.col(name).alias(shown) for name, shown in FIRED.items()]
    return shown.with_columns(*words, *fired, symbol=pl.col("symbol").fill_null(ALL), settings=_settings())


def threshold_columns() -> tuple[str, ...]:
    """Return the columns of `best_of` that have the thresholds in words."""
    return tuple(plots.threshold(name) for name in FLAGS)


def _settings() -> pl.Expr:
    return (
        pl.when("is_today")
        .then(pl.lit("today's"))
        .when("is_best")
        .then(pl.lit("best"))
        .otherwise(pl.lit(""))
        .alias("settings")
    )


def _in_words(name: str, flag: str) -> pl.Expr:
    def word(row: dict[str, Any]) -> str:
        return plots.level(row[name], is_scaled=row[flag])

    return pl.struct(name, flag).map_elements(word, return_dtype=pl.String).alias(plots.threshold(name))


def _symbols(found: ThresholdRows, symbols: pl.DataFrame, name: str) -> Section:
    sentence = (
        "The stop-loss of one symbol at a time, all else as today; the first line is the best that all share. Each "
        "line is the best of several, and all of them are counted as tries above."
    )
    is_scaled = bool(found.points.filter("is_today")["position_scaled"].item())
    words = symbols.rename({"n_stop_loss": FIRED["n_stop_loss"]}).with_columns(
        pl.col(column).map_elements(partial(plots.level, is_scaled=is_scaled), return_dtype=pl.String).alias(shown)
        for column, shown in (("today_frac", "today"), ("stop_loss_frac", "stop loss"))
    )
    columns = ("symbol", "today", "stop loss", "sharpe_daily_365", "gain_sharpe_daily_365", "total_return_frac")
    table = grid(
        words,
        (*columns, "max_drawdown_frac", FIRED["n_stop_loss"]),
        f"from lab.thresholds where threshold_study = '{name}' and symbol is not null order by symbol, place",
    )
    return Section("symbols", "Symbol by symbol", (sentence,), grids=(table,))


def _maps_said() -> tuple[str, ...]:
    return (
        "Each cell is the mean over everything else that was varied.",
        "Neighbours that agree say more than the best cell.",
    )
