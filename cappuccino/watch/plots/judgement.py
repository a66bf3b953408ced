"""The picture of a judgement: what the folds promised, and what the holdout kept of it."""

from __future__ import annotations

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cappuccino.watch.plots.canvas import LIGHT, Theme, axes, nothing, sheet

_FAMILIES = ("ppo", "apg", "trees")
_MARKS = "Ds^vPXh*"
_TALL_IN = 4.9
_MARGIN = 0.06
_LEAST_SPAN = 1.0


def decay(ranks: pl.DataFrame, *, simulated: bool, theme: Theme = LIGHT) -> Figure:
    """Return the Sharpe of each model on the folds against that in the holdout, baselines as marks of their own.

    `ranks` is lab.leaderboard: study, family, rank, subject, is_baseline, sharpe_annualized, holdout_sharpe_annualized.
    Studies of ensembles are left out: they were chosen by later bars.
    """
    title = "What the holdout kept"
    on_folds = (pl.col("family") == "ensemble").any().over("study").not_()
    shown = ranks.filter(on_folds).drop_nulls(["sharpe_annualized", "holdout_sharpe_annualized"])
    models, baselines = shown.filter(~pl.col("is_baseline")), shown.filter(pl.col("is_baseline"))
    if models.is_empty():
        return nothing(title, "no holdout has been opened yet", simulated, theme)
    said = "Sharpe ratios after costs; below the dashed line the folds had promised more"
    figure = sheet(title, said, simulated, theme, _TALL_IN)
    panel = axes(figure, theme)
    _models(panel, models, theme)
    _baselines(panel, baselines.unique("subject", keep="first").sort("subject"), theme)
    _lines(panel, shown, theme)
    panel.grid(True, axis="x", color=theme.grid, linewidth=0.8)
    panel.set_xlabel("Sharpe on the folds, where models were chosen", color=theme.muted, fontsize=8.5)
    panel.set_ylabel("Sharpe in the holdout", color=theme.muted, fontsize=8.5)
    panel.legend(
        loc="upper left",
        bbox_to_anchor=(1.01, 1.0),
        borderaxespad=0.0,
        frameon=False,
        fontsize=8.5,
        labelcolor=theme.ink,
        handlelength=1.6,
    )
    return figure


def _models(panel: Axes, models: pl.DataFrame, theme: Theme) -> None:
    """Draw a dot for each model, and a ring around the one that each study would have chosen."""
    for place, family in enumerate(_FAMILIES):
        own = models.filter(pl.col("family") == family)
        if own.height:
            x, y = own["sharpe_annualized"], own["holdout_sharpe_annualized"]
            panel.scatter(x, y, s=24, color=theme.line(place), alpha=0.75, linewidths=0, zorder=3, label=family)
    chosen = models.filter(pl.col("rank") == pl.col("rank").min().over("study"))
    x, y = chosen["sharpe_annualized"], chosen["holdout_sharpe_annualized"]
    panel.scatter(x, y, s=80, facecolors="none", edgecolors=theme.ink, zorder=4, label="best on the folds")


def _baselines(panel: Axes, baselines: pl.DataFrame, theme: Theme) -> None:
    for place, row in enumerate(baselines.iter_rows(named=True)):
        panel.scatter(
            [row["sharpe_annualized"]],
            [row["holdout_sharpe_annualized"]],
            s=34,
            marker=_MARKS[place % len(_MARKS)],
            color=theme.baseline,
            zorder=2,
            label=row["subject"].replace("_", " "),
        )


def _lines(panel: Axes, shown: pl.DataFrame, theme: Theme) -> None:
    """Draw the line on which nothing is lost, and the zeros; both axes reach equally far."""
    sharpes = shown.select("sharpe_annualized", "holdout_sharpe_annualized").to_numpy()
    low, high = min(float(sharpes.min()), 0.0), max(float(sharpes.max()), 0.0)
    margin = max(high - low, _LEAST_SPAN) * _MARGIN
    ends = (low - margin, high + margin)
    panel.plot(ends, ends, color=theme.muted, linewidth=1.0, linestyle=(0, (4, 3)), zorder=1, label="nothing lost")
    panel.axhline(0, color=theme.muted, linewidth=0.8, zorder=1)
    panel.axvline(0, color=theme.muted, linewidth=0.8, zorder=1)
    panel.set_xlim(*ends)
    panel.set_ylim(*ends)
