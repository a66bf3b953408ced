"""How the trials of a study learned: one small panel a figure, the spread over trials beside the best one."""

from __future__ import annotations

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from cappuccino.watch.plots.canvas import LIGHT, Theme, axes, nothing, percents, sheet

COLUMNS = 4
_WORST_EXPLAINED = -1.0
"""A critic begins far below; what counts is whether it comes above 0."""


_PANELS = (
    ("reward_mean", "reward"),
    ("gain", "reward: log return"),
    ("turnover_cost", "reward: turnover"),
    ("variance", "reward: variance"),
    ("concentration", "reward: concentration"),
    ("cash_shortfall", "reward: cash shortfall"),
    ("time_decay", "reward: time decay"),
    ("entropy", "entropy, nats"),
    ("kl", "KL, nats"),
    ("clip_frac", "clipped"),
    ("explained_variance", "explained variance"),
    ("grad_norm", "gradient norm"),
    ("exposure_frac", "exposure"),
    ("turnover_frac", "turnover a bar"),
    ("saturation_frac", "saturated actions"),
    ("action_spread", "action spread"),
)


def learning(curves: pl.DataFrame, *, simulated: bool, theme: Theme = LIGHT) -> Figure:
    """Return the figures of every update: the median trial, the middle 80 %, and the best trial drawn over.

    `curves` is lab.learning_curves of one study: study, figure, update, n_trials, low, median, high, best_trial, best.
    """
    title = "Learning curves"
    if curves.is_empty():
        return nothing(title, "no training has told of its updates yet", simulated, theme)
    n_rows = -(-len(_PANELS) // COLUMNS)
    n_trials = int(curves["n_trials"].to_numpy().max())
    said = f"{curves['study'][0]} · {n_trials:,} trials, mean over each one's trainings; update →"
    figure = sheet(title, said, simulated, theme, height_in=1.1 + 1.5 * n_rows)
    for place, (name, words) in enumerate(_PANELS, start=1):
        rows = curves.filter(pl.col("figure") == name).sort("update")
        _draw(axes(figure, theme, n_rows, COLUMNS, place), name, words, rows, theme)
    figure.legend(
        handles=_key(curves["best_trial"][0], theme),
        loc="outside lower center",
        ncols=3,
        frameon=False,
        fontsize=8.5,
        labelcolor=theme.ink,
    )
    return figure


def _draw(panel: Axes, name: str, words: str, rows: pl.DataFrame, theme: Theme) -> None:
    update = rows["update"].to_numpy()
    panel.fill_between(update, rows["low"], rows["high"], color=theme.baseline, alpha=0.25, linewidth=0)
    panel.plot(update, rows["median"].to_numpy(), color=theme.baseline, linewidth=1.4)
    panel.plot(update, rows["best"].cast(pl.Float64).to_numpy(), color=theme.agent, linewidth=1.4)
    panel.set_title(words, loc="left", fontsize=8.5, color=theme.ink, pad=3)
    panel.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    panel.yaxis.set_major_locator(MaxNLocator(4))
    panel.tick_params(labelsize=7.5)
    panel.yaxis.get_offset_text().set(color=theme.muted, fontsize=7)
    panel.margins(x=0.02)
    if name.endswith("_frac"):
        percents(panel, decimals=0 if _reach(rows) > 0.1 else 2)
    if name == "explained_variance":
        panel.set_ylim(bottom=max(panel.get_ylim()[0], _WORST_EXPLAINED))


def _reach(rows: pl.DataFrame) -> float:
    """Return the largest value that is drawn."""
    return float(np.nanmax(rows.select("high", "best").cast(pl.Float64).to_numpy(), initial=0.0))


def _key(best_trial: int | None, theme: Theme) -> list[Line2D | Patch]:
    key: list[Line2D | Patch] = [
        Line2D([], [], color=theme.baseline, linewidth=1.4, label="median trial"),
        Patch(color=theme.baseline, alpha=0.25, label="middle 80 % of the trials"),
    ]
    if best_trial is not None:
        key.append(Line2D([], [], color=theme.agent, linewidth=1.4, label=f"best trial ({best_trial})"))
    return key
