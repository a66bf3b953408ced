"""Pictures of a study looked at afterwards: when it got better, what mattered, what was luck, what the worst share."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from cappuccino.watch.plots.canvas import LIGHT, Theme, axes, legend, nothing, sheet

N_SHOWN = 12


def convergence(rows: pl.DataFrame, *, simulated: bool, theme: Theme = LIGHT) -> Figure:
    """Return the score of each completed trial under the best so far, its records marked.

    `rows` is lab.convergence of one study: study, trial, score, best_so_far, is_record, n_since_record.
    """
    title = "Convergence of the best score"
    if rows.is_empty():
        return nothing(title, "no trial has been completed yet", simulated, theme)
    rows = rows.sort("trial")
    records = rows.filter(pl.col("is_record"))
    since = rows["n_since_record"][-1]
    said = f"{rows['study'][0]} · {records.height:,} records, {since:,} completed trials since the last"
    figure = sheet(title, said, simulated, theme)
    panel = axes(figure, theme)
    panel.axvspan(records["trial"][-1], rows["trial"][-1], color=theme.grid, alpha=0.5, linewidth=0)
    panel.scatter(rows["trial"], rows["score"], s=16, color=theme.baseline, alpha=0.8, linewidths=0, label="trial")
    panel.step(rows["trial"], rows["best_so_far"], where="post", color=theme.good, linewidth=1.8, label="best so far")
    panel.scatter(records["trial"], records["score"], s=34, color=theme.agent, linewidths=0, label="record", zorder=3)
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    panel.set_xlabel("trial", color=theme.muted, fontsize=8.5)
    panel.set_ylabel("score of the folds", color=theme.muted, fontsize=8.5)
    legend(panel, theme)
    return figure


def importances(rows: pl.DataFrame, *, simulated: bool, theme: Theme = LIGHT) -> Figure:
    """Return the share of the score's variance that each hyper-parameter explains.

    `rows` is lab.importances of one study: parameter, importance_frac, n_trials.
    """
    title = "What mattered"
    if rows.is_empty():
        return nothing(title, "too few completed trials to say what mattered", simulated, theme)
    shown = rows.sort("importance_frac", "parameter", descending=[True, False]).head(N_SHOWN)
    said = f"share of the score's variance, from {rows['n_trials'][0]:,} completed trials"
    figure, panel = _lying(title, said, shown["parameter"].to_list(), simulated, theme)
    _bars(panel, shown["importance_frac"].to_list(), [theme.agent] * shown.height, theme, "{:.0%}")
    panel.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    return figure


def seeds(rows: pl.DataFrame, *, simulated: bool, theme: Theme = LIGHT) -> Figure:
    """Return the scores of each trial with other seeds beside that with its own.

    `rows` has trial, score (its own), other (list of scores with other seeds).
    """
    title = "The luck of the seed"
    if rows.is_empty():
        return nothing(title, "no trial has been trained again with other seeds", simulated, theme)
    shown = rows.head(N_SHOWN)
    names = [f"trial {trial}" for trial in shown["trial"]]
    figure, panel = _lying(title, "score of the folds, the same trial with other seeds", names, simulated, theme)
    others = [(y, score) for y, scores in enumerate(shown["other"]) for score in scores]
    for y, scores in enumerate(shown["other"]):
        panel.plot([scores.min(), scores.max()], [y, y], color=theme.grid, linewidth=6, solid_capstyle="round")
    places, scored = zip(*others, strict=True)
    panel.scatter(scored, places, s=30, color=theme.baseline, linewidths=0, zorder=3, label="other seeds")
    own, rows_shown = shown["score"], range(shown.height)
    panel.scatter(own, rows_shown, s=52, marker="D", color=theme.agent, linewidths=0, zorder=4, label="its own seed")
    panel.axvline(0, color=theme.muted, linewidth=0.8)
    legend(panel, theme)
    return figure


def ablation(rows: pl.DataFrame, *, simulated: bool, theme: Theme = LIGHT) -> Figure:
    """Return what leaving out each part of the reward does to the score, beside what another seed does.

    `rows` is lab.reward_ablation of one trial: trial, part, change, and change_in_seeds, by which a deviation over
    seeds is known.
    """
    title = "The reward with a part left out"
    rows = rows.filter(pl.col("change").is_not_null())
    if rows.is_empty():
        return nothing(title, "no trial has been trained again with a part of its reward left out", simulated, theme)
    shown = rows.sort("change", "part")
    said = f"change of the score of trial {shown['trial'][0]}; below 0 the part is of use"
    figure, panel = _lying(title, said, shown["part"].str.replace_all("_", " ").to_list(), simulated, theme)
    deviation = (rows["change"] / rows["change_in_seeds"]).drop_nans().drop_nulls()
    if len(deviation):
        reach = 2 * abs(float(deviation[0]))
        panel.axvspan(-reach, reach, color=theme.grid, alpha=0.6, linewidth=0, label="two deviations over seeds")
        legend(panel, theme)
    changes = shown["change"].to_list()
    _bars(panel, changes, [theme.good if change < 0 else theme.bad for change in changes], theme, "{:+.2f}")
    panel.axvline(0, color=theme.muted, linewidth=0.8)
    return figure


def worst(rows: pl.DataFrame, *, simulated: bool, theme: Theme = LIGHT) -> Figure:
    """Return by how much the worst tenth of the trials differs from the rest, parameter by parameter.

    `rows` is lab.worst_parameters of one study: parameter, distance_std, n_worst, n_rest.
    """
    title = "What the worst tenth has in common"
    if rows.is_empty():
        return nothing(title, "too few trials have been judged", simulated, theme)
    shown = rows.sort(pl.col("distance_std").abs(), "parameter", descending=[True, False]).head(N_SHOWN)
    said = f"means of {rows['n_worst'][0]:,} trials less those of {rows['n_rest'][0]:,} others, in deviations"
    figure, panel = _lying(title, said, shown["parameter"].to_list(), simulated, theme)
    _bars(panel, shown["distance_std"].to_list(), [theme.series[1]] * shown.height, theme, "{:+.1f}")
    panel.axvline(0, color=theme.muted, linewidth=0.8)
    return figure


def _lying(title: str, said: str, names: Sequence[str], simulated: bool, theme: Theme) -> tuple[Figure, Axes]:
    """Return a figure for lying bars: names at the left, first at the top, grid across."""
    figure = sheet(title, said, simulated, theme, height_in=1.5 + 0.27 * len(names))
    panel = axes(figure, theme)
    panel.set_yticks(range(len(names)), names)
    panel.tick_params(axis="y", labelcolor=theme.ink)
    panel.set_ylim(len(names) - 0.4, -0.6)
    panel.grid(False, axis="y")
    panel.grid(True, axis="x", color=theme.grid, linewidth=0.8)
    panel.margins(x=0.12)
    return figure, panel


def _bars(panel: Axes, values: Sequence[float], colors: Sequence[str], theme: Theme, how: str) -> None:
    """Draw a bar for each value, with the value at its end."""
    panel.barh(range(len(values)), values, height=0.64, color=colors)
    for y, value in enumerate(values):
        side = 1 if value >= 0 else -1
        panel.annotate(
            how.format(value),
            (value, y),
            (4 * side, 0),
            textcoords="offset points",
            ha="left" if side > 0 else "right",
            va="center",
            color=theme.muted,
            fontsize=8,
        )
