"""The section for a sceptic: what is left of the figures when luck, choice and the market are taken off."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

import polars as pl

from cappuccino.watch import formats, plots
from cappuccino.watch.report.frames import QUERIES, Frames
from cappuccino.watch.report.page import Grid, Section, Term, Tile, grid, picture

N_BEST = 5
"""Models of each study that stand beside the baselines."""
BESIDE: Final = (
    "subject",
    "family",
    "rank",
    "sharpe_annualized",
    "holdout_sharpe_annualized",
    "holdout_alpha_frac",
    "p_random_timing",
    "p_entry_permutation",
    "beta",
    "alpha_t",
    "gate_passed",
)
_VERDICT = (
    "kind",
    "above",
    "verdict",
    "trials",
    "folds_sharpe_daily_365",
    "luck_sharpe_daily_365",
    "deflated_sharpe",
    "pbo",
    "holdout_sharpe_daily_365",
    "holdout_place",
    "mean_decay",
    "track_record_needed",
)
_ENSEMBLE = {
    "vote": "vote",
    "is_better": "entered",
    "score": "sharpe",
    "first_member": "first_member",
    "first_score": "first_sharpe",
    "best_score": "best_sharpe",
    "median_score": "median_sharpe",
    "beats_frac": "members_beaten_frac",
    "equal_weight_score": "buy_and_hold_sharpe",
}
"""Columns of lab.ensembles_beside_single, and what the page calls them."""
_ABOVE = pl.col("benchmark").replace_strict({"cash": "cash", "buy_and_hold": "buy-and-hold"}).alias("above")
_LONG_DAYS = 730
_TERMS = tuple(
    Term(column, meaning)
    for column, meaning in {
        "deflated_sharpe": "Probability that the best on the folds beats what the best of so many tries without any "
        "edge would show; 0.95 is needed.",
        "pbo": "Probability of backtest overfitting: how often the best on half of the days is below the middle on the "
        "others. One half is noise, 0 a real choice.",
        "mean_decay": "By how much the Sharpe ratio fell from the folds to the holdout, mean over all trials.",
        "track_record_needed": "How long such a Sharpe ratio would have to be shown to rule out luck; never when it is "
        "below luck.",
        "p_random_timing": "Share of accounts with the same exposure at other times that did at least as well in the "
        "holdout. About one half: it was only there. Small: it knew when.",
        "p_entry_permutation": "The same with its own holds and gaps in another order: small only if the moments of "
        "entry mattered.",
        "beta": "How much it moves with equal-weight buy-and-hold: 1 fully, 0 not at all. Gains from beta can be had "
        "without a model.",
        "alpha_t": "What the market does not explain, over its error; between -2 and 2 it cannot be told from nothing.",
    }.items()
)


def believed(frames: Frames, simulated: bool) -> Section:
    """Say of the newest judged studies whether they found more than luck, choice and the market would give."""
    title, studies = "Can it be believed?", frames["judged"]
    if studies.is_empty():
        sentence = "No holdout has been opened yet: that is done once, when a study and the arena have chosen."
        return Section("believed", title, (sentence,))
    ranks = frames["beside"]
    sentences = (*_where(studies, simulated), *_verdicts(frames["verdicts"]), *_gate(frames["gates"]))
    draw = partial(plots.decay, ranks, simulated=simulated)
    pictures = (picture("Sharpe of each model on the folds against the holdout, beside the baselines", draw),)
    grids = (_figures(frames["verdicts"]), _best(ranks), _ensembles(frames["ensembles"]))
    return Section("believed", title, sentences, pictures, tuple(each for each in grids if each.rows), _TERMS)


def tiles(frames: Frames) -> Iterator[Tile]:
    """Yield the verdict on the newest training study above buy-and-hold, the harder of the two."""
    rows = frames["verdicts"].filter((pl.col("kind") == "training") & (pl.col("benchmark") == "buy_and_hold"))
    for verdict in rows["verdict"]:
        yield Tile("Verdict on training", verdict, "above buy-and-hold, luck taken off")


def best_beside_baselines(ranks: pl.DataFrame, n_each: int = N_BEST) -> pl.DataFrame:
    """Return the best models of each study and each baseline once, the best in the holdout first.

    `ranks` is lab.leaderboard in its order. Models are chosen by their rank on the folds: not by what they did later.
    """
    models = ranks.filter(~pl.col("is_baseline")).group_by("study", maintain_order=True).head(n_each)
    baselines = ranks.filter(pl.col("is_baseline")).unique("subject", keep="first", maintain_order=True)
    return (
        pl.concat([models.select(ranks.columns), baselines])
        .sort("holdout_sharpe_annualized", "subject", descending=[True, False], nulls_last=True)
        .select(*BESIDE, "is_baseline")
    )


def _where(studies: pl.DataFrame, simulated: bool) -> Iterator[str]:
    since, until = studies.select("from_utc", "to_utc").row(0)
    days = formats.age(until - since)
    yield (
        f"The holdout, {formats.text('', since)} to {formats.text('', until)} UTC ({days}), was opened once, after "
        "studies and arena had chosen: no search and no match got its bars."
    )
    if simulated:
        yield "The market is simulated: whatever the verdict, it says nothing about a real one."


def _verdicts(rows: pl.DataFrame) -> Iterator[str]:
    """Yield what was decided on each study, once when both benchmarks say the same."""
    said = rows.with_columns(_ABOVE, pl.col("reasons").list.join(" ")).group_by(
        "study", "verdict", "reasons", maintain_order=True
    )
    for (study, verdict, reasons), same in said:
        yield f"{study}, above {' and '.join(same['above'])}: {verdict}. {reasons}"


def _gate(gates: pl.DataFrame) -> Iterator[str]:
    if gates.height:
        asked = gates.sort("judged_at_utc").row(-1, named=True)
        yield (
            f"The arena's gate let in {gates['passed'].sum():,} of {gates.height:,} candidates: it asks for a Sharpe "
            f"ratio of {asked['min_sharpe']:g} and a profit factor of {asked['min_profit_factor']:g}."
        )


def _figures(rows: pl.DataFrame) -> Grid:
    told = rows.with_columns(
        _ABOVE,
        trials=pl.format("{} of {} completed", "n_completed", "n_trials"),
        folds_sharpe_daily_365="sharpe_daily_365",
        holdout_place=pl.format("{} of {}", "holdout_place", "n_completed"),
        track_record_needed=pl.col("min_track_record_days").map_elements(_length, pl.String, skip_nulls=False),
    )
    return grid(told, _VERDICT, QUERIES["verdicts"], title="The best trial of each study against luck")


def _length(days: float | None) -> str:
    if days is None:
        return "never"
    return f"{days:,.0f} days" if days < _LONG_DAYS else f"{days / 365:,.1f} years"


def _best(ranks: pl.DataFrame) -> Grid:
    title = f"The {N_BEST} best of each study on the folds, in the order of the holdout"
    sql = QUERIES["beside"]
    return grid(best_beside_baselines(ranks), BESIDE, sql, mark=pl.col("is_baseline"), n_shown=4 * N_BEST, title=title)


def _ensembles(rows: pl.DataFrame) -> Grid:
    title = "Ensembles beside their members on the same later bars; the fair rival is the first member"
    told = rows.sort("trial").rename(_ENSEMBLE)
    return grid(told, tuple(_ENSEMBLE.values()), QUERIES["ensembles"], title=title)
