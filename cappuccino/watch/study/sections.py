"""The page of a study, part by part."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import polars as pl

from cappuccino.watch.plots import study as plots
from cappuccino.watch.replay.words import counted
from cappuccino.watch.report.page import Grid, Section, grid, picture
from cappuccino.watch.study.read import Analysis

_PROBE = "`cappuccino study probe` does it."


def sections(found: Analysis) -> Iterator[Section]:
    """Yield the sections of the page in order."""
    yield convergence(found)
    yield endings(found)
    yield importances(found)
    yield seeds(found)
    yield ablation(found)
    yield worst(found)


def convergence(found: Analysis) -> Section:
    """Show when the study found something better, and since when it has not."""
    title, rows = "Convergence", found.convergence
    if rows.is_empty():
        return Section("convergence", title, ("No trial has been completed yet.",))
    records = rows.filter(pl.col("is_record"))
    since = rows["n_since_record"][-1]
    sentences = (
        f"The best score, {records['score'][-1]:.2f}, is that of trial {records['trial'][-1]}; "
        f"{counted(since, 'completed trial')} since then did not reach it.",
        _half_way(rows),
    )
    draw = partial(plots.convergence, rows, simulated=found.is_simulated)
    table = _grid(found, records.reverse(), ("trial", "score", "share_frac"), "lab.convergence", "is_record")
    return Section(
        "convergence", title, sentences, (picture("Score of each trial and the best so far", draw),), (table,)
    )


def endings(found: Analysis) -> Section:
    """Show how the trials ended."""
    title, rows = "How trials ended", found.endings
    if rows.is_empty():
        return Section("endings", title, ("No trial has been started yet.",))
    n_bad = int(rows.filter(~pl.col("is_well"))["n_trials"].sum())
    sentence = (
        "All of them completed or were pruned as hopeless." if n_bad == 0 else f"{counted(n_bad, 'trial')} failed."
    )
    columns = ("ending", "n_trials", "share_frac", "n_retried", "example")
    table = _grid(found, rows, columns, "lab.trial_endings", mark=pl.col("is_well") == pl.lit(False))
    return Section("endings", title, (sentence,), grids=(table,))


def importances(found: Analysis) -> Section:
    """Show which hyper-parameters mattered."""
    title, rows = "What mattered", found.importances
    if rows.is_empty():
        return Section("importances", title, ("Too few trials have been completed to say which settings mattered.",))
    draw = partial(plots.importances, rows, simulated=found.is_simulated)
    sentence = f"From {counted(rows['n_trials'][0], 'completed trial')}; a few dozen say little."
    table = _grid(found, rows, ("parameter", "importance_frac"), "lab.importances")
    return Section("importances", title, (sentence,), (picture("Importance of each parameter", draw),), (table,))


def seeds(found: Analysis) -> Section:
    """Show how much of a score is the luck of its seed."""
    title, rows = "The luck of the seed", found.seeds
    if rows.is_empty():
        return Section("seeds", title, (f"No trial has been trained again with other seeds; {_PROBE}",))
    draw = partial(plots.seeds, rows, simulated=found.is_simulated)
    columns = ("trial", "score", "n_seeds", "mean_score", "score_deviation", "min_score", "max_score", "as_good_frac")
    table = _grid(found, rows, columns, "lab.seed_sensitivity")
    return Section("seeds", title, (_luck(rows),), (picture("Scores with other seeds", draw),), (table,))


def ablation(found: Analysis) -> Section:
    """Show what each part of the reward does for the best trial that was asked."""
    title, rows = "The reward, part by part", found.ablation
    if rows.is_empty():
        return Section("ablation", title, (f"No part of a reward has been left out yet; {_PROBE}",))
    told = rows.filter(pl.col("is_told"))
    sentence = (
        f"{', '.join(told['part'])}: leaving it out changes the score of trial {rows['trial'][0]} by more than two "
        "deviations over seeds."
        if told.height
        else f"No part changes the score of trial {rows['trial'][0]} by more than another seed does."
    )
    draw = partial(plots.ablation, rows, simulated=found.is_simulated)
    columns = ("part", "weight", "score", "score_without", "change", "change_in_seeds", "collapsed")
    table = _grid(found, rows, columns, "lab.reward_ablation", mark=pl.col("is_told"))
    return Section("ablation", title, (sentence,), (picture("Change of the score without each part", draw),), (table,))


def worst(found: Analysis) -> Section:
    """Show the worst tenth of the trials, and what they share."""
    title, rows = "The worst tenth", found.worst
    if rows.is_empty():
        return Section("worst", title, ("No trial has been judged yet.",))
    n_collapsed = rows["collapsed"].is_not_null().sum()
    sentences = (
        f"{counted(rows.height, 'trial')}, pruned ones included, by the mean distance from the others on the same "
        f"folds; {n_collapsed:,} of them collapsed.",
    )
    draw = partial(plots.worst, found.parameters, simulated=found.is_simulated)
    trials = ("place", "trial", "state", "score", "distance", "n_folds", "collapsed", "flags", "reason")
    shared = ("parameter", "worst_mean", "rest_mean", "distance_std")
    grids = (
        _grid(found, found.parameters, shared, "lab.worst_parameters", mark=pl.col("distance_std").abs() >= 2),
        _grid(found, rows, trials, "lab.worst_trials"),
    )
    return Section("worst", title, sentences, (picture("Parameters of the worst tenth", draw),), grids)


def _half_way(rows: pl.DataFrame) -> str:
    half = rows.filter(pl.col("share_frac") >= 0.5)["trial"][0]
    return f"Half of the way from the first score to the best was gone at trial {half}."


def _luck(rows: pl.DataFrame) -> str:
    best = rows.row(0, named=True)
    n_as_good = round(best["as_good_frac"] * best["n_seeds"])
    said = f"Trial {best['trial']} scored {best['score']:.2f}; {n_as_good} of {best['n_seeds']} other seeds did as well"
    return f"{said}, their mean is {best['mean_score']:.2f}."


def _grid(
    found: Analysis,
    rows: pl.DataFrame,
    columns: tuple[str, ...],
    table: str,
    also: str = "",
    mark: pl.Expr | None = None,
) -> Grid:
    more = f" and {also}" if also else ""
    return grid(rows, columns, f"from {table} where study = '{found.name}'{more}", mark=mark)
