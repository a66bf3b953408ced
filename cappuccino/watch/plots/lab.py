"""Pictures of the search for agents: timeframes, the study, the leaderboard and the arena's ladder."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from cappuccino.market.interval import Interval
from cappuccino.watch.plots.canvas import LIGHT, Theme, axes, legend, nothing, sheet

_LADDER_STATES = ("champion", "left", "waiting", "eliminated")


def timeframes(pairs: pl.DataFrame, *, simulated: bool, theme: Theme = LIGHT) -> Figure:
    """Return the mean score of each pair of interval and lookback, the winner framed.

    `pairs` is lab.timeframes of one study: interval, lookback, n_complete, mean_score, is_winner.
    """
    title = "Timeframe search"
    if pairs.is_empty():
        return nothing(title, "no timeframe search yet", simulated, theme)
    intervals = sorted(pairs["interval"].unique(), key=lambda name: Interval(name).us)
    lookbacks = sorted(pairs["lookback"].unique())
    scores = np.full((len(intervals), len(lookbacks)), np.nan)
    figure = sheet(
        title, "mean walk-forward score; bars an agent sees →", simulated, theme, 1.5 + 0.46 * len(intervals)
    )
    panel = axes(figure, theme)
    for pair in pairs.iter_rows(named=True):
        y, x = intervals.index(pair["interval"]), lookbacks.index(pair["lookback"])
        scores[y, x] = math.nan if pair["mean_score"] is None else pair["mean_score"]
        text = "failed" if math.isnan(scores[y, x]) else f"{scores[y, x]:.2f}"
        panel.text(x, y, f"{text}  (n={pair['n_complete']})", ha="center", va="center", color=theme.ink, fontsize=9.5)
        if pair["is_winner"]:
            panel.add_patch(Rectangle((x - 0.48, y - 0.46), 0.96, 0.92, fill=False, edgecolor=theme.ink, lw=1.8))
    reach = max(float(np.nanmax(np.abs(scores), initial=0.0)), 1e-9) * 1.6
    panel.imshow(scores, aspect="auto", cmap=theme.diverging, vmin=-reach, vmax=reach)
    panel.grid(False)
    panel.set_yticks(range(len(intervals)), intervals)
    panel.set_xticks(range(len(lookbacks)), [f"{n} bars" for n in lookbacks])
    return figure


def progress(trials: pl.DataFrame, *, simulated: bool, theme: Theme = LIGHT) -> Figure:
    """Return the score of each trial of a study and the best so far; pruned and failed trials as ticks below.

    `trials` is lab.trials of one study: study, trial, state, score.
    """
    title = "Progress of the study"
    if trials.is_empty():
        return nothing(title, "no trial has started yet", simulated, theme)
    trials = trials.sort("trial")
    done = trials.filter(pl.col("score").is_not_null() & pl.col("score").is_finite())
    counts = dict(trials.group_by("state").len().iter_rows())
    said = ", ".join(f"{counts[s]:,} {s}" for s in ("complete", "pruned", "failed", "running") if counts.get(s))
    figure = sheet(title, f"{trials['study'][0]} · {said}", simulated, theme)
    panel = axes(figure, theme)
    panel.scatter(done["trial"], done["score"], s=18, color=theme.agent, alpha=0.75, linewidths=0, label="trial")
    panel.step(
        done["trial"],
        done["score"].cum_max(),
        where="post",
        color=theme.good,
        linewidth=1.8,
        label="best so far",
    )
    for state, color in (("pruned", theme.baseline), ("failed", theme.bad)):
        ended = trials.filter(pl.col("state") == state)["trial"]
        if len(ended):
            panel.plot(
                ended,
                [0.03] * len(ended),
                "|",
                color=color,
                markersize=9,
                transform=panel.get_xaxis_transform(),
                label=state,
            )
    _whole_numbers(panel)
    panel.set_ylabel("walk-forward score", color=theme.muted, fontsize=8.5)
    panel.set_xlabel("trial", color=theme.muted, fontsize=8.5)
    legend(panel, theme)
    return figure


def leaderboard(ranks: pl.DataFrame, *, simulated: bool, n_agents: int = 12, theme: Theme = LIGHT) -> Figure:
    """Return the walk-forward Sharpe of the best agents and of every baseline, in one order.

    `ranks` is lab.leaderboard of one study: rank, subject, is_baseline, sharpe_annualized.
    """
    title = "Leaderboard"
    if ranks.is_empty():
        return nothing(title, "no trial has been completed yet", simulated, theme)
    ranks = ranks.sort("rank", "subject")
    agents = ranks.filter(~pl.col("is_baseline"))
    shown = pl.concat([agents.head(n_agents), ranks.filter(pl.col("is_baseline"))]).sort("rank", "subject")
    left_out = max(agents.height - n_agents, 0)
    said = "Sharpe ratio, mean over walk-forward folds, after costs"
    figure = sheet(
        title,
        said + f" · {left_out:,} lower agents left out" * bool(left_out),
        simulated,
        theme,
        1.45 + 0.25 * shown.height,
    )
    panel = axes(figure, theme)
    for name, is_baseline, color in (("agent", False, theme.agent), ("baseline", True, theme.baseline)):
        rows = shown.with_row_index("y").filter(pl.col("is_baseline") == is_baseline)
        values = rows["sharpe_annualized"].to_numpy()
        panel.barh(rows["y"], values, height=0.66, color=color, label=name)
        _values_at_bars(panel, rows["y"].to_list(), values.tolist(), theme)
    _lying(panel, shown["subject"].to_list(), theme)
    panel.axvline(0, color=theme.muted, linewidth=0.8)
    legend(panel, theme)
    return figure


def ladder(entrants: pl.DataFrame, streak: int, *, simulated: bool, n_shown: int = 20, theme: Theme = LIGHT) -> Figure:
    """Return the wins of each model beside the streak that promotes it.

    `entrants` is arena.ladder: model, position, state, wins.
    """
    title = "Arena ladder"
    if entrants.is_empty():
        return nothing(title, "nobody has entered the arena yet", simulated, theme)
    order = pl.col("state").replace_strict({state: i for i, state in enumerate(_LADDER_STATES)})
    fought = entrants.filter((pl.col("wins") > 0) | (pl.col("state") == "champion"))
    ranked = entrants if fought.is_empty() else fought
    shown = ranked.sort(pl.col("wins") * -1, order, "position").head(n_shown)
    left_out = entrants.height - shown.height
    said = f"opponents beaten in a row; {streak} promote to the sandbox"
    figure = sheet(
        title,
        said + f" · {left_out:,} with fewer wins not shown" * bool(left_out),
        simulated,
        theme,
        1.6 + 0.25 * shown.height,
    )
    panel = axes(figure, theme)
    colors = (theme.agent, theme.good, theme.series[1], theme.baseline)
    for state, color in zip(_LADDER_STATES, colors, strict=True):
        rows = shown.with_row_index("y").filter(pl.col("state") == state)
        if rows.height:
            panel.barh(rows["y"], rows["wins"], height=0.66, color=color, label=state)
            _values_at_bars(panel, rows["y"].to_list(), rows["wins"].to_list(), theme, "d")
    panel.axvline(streak, color=theme.ink, linewidth=1.2, linestyle=(0, (4, 3)), label="promotion")
    panel.set_xlim(0, max(streak, int(shown["wins"].max() or 0)) * 1.06)  # type: ignore[arg-type]
    _whole_numbers(panel)
    _lying(panel, shown["model"].to_list(), theme)
    legend(panel, theme)
    return figure


def _lying(panel: Axes, names: list[str], theme: Theme) -> None:
    """Dress a panel of lying bars: names at the left, first at the top, grid across."""
    panel.set_yticks(range(len(names)), names)
    panel.tick_params(axis="y", labelcolor=theme.ink)
    panel.set_ylim(len(names) - 0.4, -0.6)
    panel.grid(False, axis="y")
    panel.grid(True, axis="x", color=theme.grid, linewidth=0.8)


def _values_at_bars(panel: Axes, ys: list[int], values: list[float], theme: Theme, how: str = ".2f") -> None:
    for y, value in zip(ys, values, strict=True):
        side = 1 if value >= 0 else -1
        panel.annotate(
            format(value, how),
            (value, y),
            (4 * side, 0),
            textcoords="offset points",
            ha="left" if side > 0 else "right",
            va="center",
            color=theme.muted,
            fontsize=8,
        )


def _whole_numbers(panel: Axes) -> None:
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
