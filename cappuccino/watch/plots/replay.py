"""Pictures of a replay: the system's curve beside everybody else's, falls from the peak, who was in production."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise

import polars as pl
from matplotlib.axes import Axes
from matplotlib.dates import date2num
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cappuccino.watch import formats
from cappuccino.watch.plots.canvas import (
    LIGHT,
    Theme,
    axes,
    dates,
    legend,
    moments,
    nothing,
    percents,
    sheet,
)

SYSTEM, BENCHMARK = "system", "buy_and_hold"
NOBODY = "nobody (cash)"
_LABEL_IN = 0.165
"""Height of a line's name."""
_CURVES_IN = 4.8
_MARGINS_IN = 1.3
"""What title, key and dates take of a picture's height."""
_MAX_TALL_MARKS = 24


def growth(
    curves: pl.DataFrame,
    changes: Sequence[datetime],
    studies: Sequence[datetime],
    *,
    simulated: bool,
    theme: Theme = LIGHT,
) -> Figure:
    """Return the value of the system and of everybody beside it, start = 100 %, each named at its end.

    `curves` is subject, closed_at_utc, growth (value over the opening cash). Vertical lines mark `changes` of
    production, and `studies` that were run.
    """
    title = "The system beside the baselines"
    if curves.is_empty():
        return nothing(title, "nothing has been traded yet", simulated, theme)
    figure = sheet(title, "start = 100 %, after costs, of which buy and hold has none", simulated, theme, _CURVES_IN)
    panel = axes(figure, theme)
    ends: dict[str, float] = {}
    for subject, rows in _by_subject(curves):
        _line(panel, subject, rows, "growth", len(ends), theme)
        ends[subject] = float(rows["growth"][-1])
    panel.axhline(1, color=theme.muted, linewidth=0.7, zorder=1)
    panel.set_xlim(*_ends(curves))
    _mark(panel, changes, theme.ink, "-")
    _mark(panel, studies, theme.muted, ":")
    _name_at_end(panel, ends, theme)
    percents(panel)
    dates(panel)
    legend(panel, theme, handles=_key(bool(changes), bool(studies), theme))
    return figure


def drawdown(curves: pl.DataFrame, *, simulated: bool, theme: Theme = LIGHT) -> Figure:
    """Return how far the system and buy-and-hold stood below their peaks; the opening is the first one.

    `curves` is subject, closed_at_utc, growth.
    """
    title = "Drawdown"
    shown = curves.filter(pl.col("subject").is_in([SYSTEM, BENCHMARK])).sort("closed_at_utc")
    if shown.is_empty():
        return nothing(title, "nothing has been traded yet", simulated, theme)
    below = shown.with_columns(below=(pl.col("growth") / pl.col("growth").cum_max()).over("subject") - 1)
    figure = sheet(title, "fall below the highest value at the end of a day so far", simulated, theme, 2.9)
    panel = axes(figure, theme)
    for i, (subject, rows) in enumerate(_by_subject(below)):
        _line(panel, subject, rows, "below", i, theme)
        if subject == SYSTEM:
            times = moments(rows["closed_at_utc"])
            panel.fill_between(times, rows["below"].to_numpy(), 0, color=theme.agent, alpha=0.18, linewidth=0)
    panel.set_ylim(top=0)
    panel.set_xlim(*_ends(below))
    percents(panel, 1)
    dates(panel)
    legend(panel, theme)
    return figure


def production(spells: pl.DataFrame, *, simulated: bool, n_shown: int = 20, theme: Theme = LIGHT) -> Figure:
    """Return when each model was in production, one row a model in order of coming, on top the time without any.

    `spells` is model (null: nobody), from_utc, to_utc, without holes. Of more than `n_shown` models those that were
    there for the shortest time share the last row.
    """
    title = "Who was in production"
    if spells.is_empty():
        return nothing(title, "no time has passed yet", simulated, theme)
    named, names = _rows_of_models(spells, n_shown)
    figure = sheet(title, "time in production, and its share of the replay", simulated, theme, 1.35 + 0.27 * len(names))
    panel = axes(figure, theme)
    total = (spells["to_utc"][-1] - spells["from_utc"][0]) / timedelta(days=1)
    for y, name in enumerate(names):
        rows = named.filter(pl.col("row") == name)
        starts = date2num(moments(rows["from_utc"]))  # type: ignore[no-untyped-call]
        days = ((rows["to_utc"] - rows["from_utc"]) / timedelta(days=1)).to_numpy()
        color = theme.baseline if name == NOBODY else theme.agent
        panel.broken_barh(list(zip(starts, days, strict=True)), (y - 0.34, 0.68), facecolors=color)
        _text_at_right(panel, y, _time_and_share(float(days.sum()), total), theme)
    panel.xaxis_date()
    panel.set_xlim(_place(spells["from_utc"][0]), _place(spells["to_utc"][-1]))
    panel.set_ylim(len(names) - 0.4, -0.6)
    panel.set_yticks(range(len(names)), names)
    panel.tick_params(axis="y", labelcolor=theme.ink)
    panel.grid(False, axis="y")
    panel.grid(True, axis="x", color=theme.grid, linewidth=0.8)
    dates(panel)
    return figure


def spread(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Return `places` moved as little as needed to stand `gap` apart between `low` and `high`, in their order.

    Where they do not all fit, they stand closer.
    """
    if len(places) < 2:
        return [min(max(place, low), high) for place in places]
    gap = min(gap, (high - low) / (len(places) - 1))
    order = sorted(range(len(places)), key=lambda i: places[i])
    moved = [min(max(places[i], low), high) for i in order]
    for below, above in pairwise(range(len(moved))):
        moved[above] = max(moved[above], moved[below] + gap)
    moved[-1] = min(moved[-1], high)
    for above, below in pairwise(reversed(range(len(moved)))):
        moved[below] = min(moved[below], moved[above] - gap)
    return [moved[order.index(i)] for i in range(len(places))]


def _by_subject(curves: pl.DataFrame) -> list[tuple[str, pl.DataFrame]]:
    """The system, then buy-and-hold, then the others by name: so each keeps its colour."""
    parts = curves.sort("closed_at_utc").partition_by("subject", as_dict=True)
    names = sorted((str(name) for (name,) in parts), key=lambda name: (name != SYSTEM, name != BENCHMARK, name))
    return [(name, parts[(name,)]) for name in names]


def _look(subject: str, place: int, theme: Theme) -> tuple[str, float, str]:
    """Return colour, width and style of a line; the first colour of the series is the system's own."""
    if subject == SYSTEM:
        return theme.agent, 2.4, "-"
    if subject == BENCHMARK:
        return theme.ink, 1.3, "--"
    others = theme.series[1:]
    return others[place % len(others)], 1.0, "-"


def _line(panel: Axes, subject: str, rows: pl.DataFrame, column: str, place: int, theme: Theme) -> None:
    color, width, style = _look(subject, place, theme)
    panel.plot(
        moments(rows["closed_at_utc"]),
        rows[column].to_numpy(),
        color=color,
        linewidth=width,
        linestyle=style,
        zorder=4 if subject == SYSTEM else 3 if subject == BENCHMARK else 2,
        label=_words(subject),
    )


def _words(subject: str) -> str:
    return subject.replace("_", " ")


def _ends(curves: pl.DataFrame) -> tuple[float, float]:
    times = curves["closed_at_utc"].sort()
    first, last = _place(times[0]), _place(times[-1])
    # A picture of one moment has no width.
    return first, max(last, first + 1 / 24)


def _place(time: datetime) -> float:
    """Return where matplotlib, which knows no zones here, draws `time`."""
    return float(date2num(time.replace(tzinfo=None)))  # type: ignore[no-untyped-call]


def _mark(panel: Axes, times: Sequence[datetime], color: str, style: str) -> None:
    """Draw vertical lines; so many that they would hide the curves are ticks at the bottom."""
    height = 1.0 if len(times) <= _MAX_TALL_MARKS else 0.06
    for time in times:
        panel.axvline(_place(time), ymax=height, color=color, linestyle=style, linewidth=0.9, alpha=0.45, zorder=1)


def _key(changed: bool, studied: bool, theme: Theme) -> list[Line2D]:
    change = Line2D([], [], color=theme.ink, alpha=0.45, linewidth=0.9, label="production changed hands")
    study = Line2D([], [], color=theme.muted, linestyle=":", linewidth=1.2, label="a study was run")
    return [change] * changed + [study] * studied


def _name_at_end(panel: Axes, ends: dict[str, float], theme: Theme) -> None:
    low, high = panel.get_ylim()
    gap = (high - low) * _LABEL_IN / (_CURVES_IN - _MARGINS_IN)
    places = spread(list(ends.values()), gap, low, high)
    for i, ((subject, end), place) in enumerate(zip(ends.items(), places, strict=True)):
        color = _look(subject, i, theme)[0]
        panel.annotate(
            f"{_words(subject)} {formats.text('return_frac', end - 1)}",
            xy=(1, end),
            xytext=(1.03, place),
            xycoords=panel.get_yaxis_transform(),
            textcoords=panel.get_yaxis_transform(),
            va="center",
            fontsize=8.5,
            fontweight="bold" if subject == SYSTEM else "normal",
            color=color,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": color, "lw": 0.7, "shrinkA": 1, "shrinkB": 0, "relpos": (0, 0.5)},
        )
    panel.set_ylim(low, high)


def _rows_of_models(spells: pl.DataFrame, n_shown: int) -> tuple[pl.DataFrame, list[str]]:
    """Return the spells with `row`, the name of the row that each is drawn in, and these names from the top."""
    length = (pl.col("to_utc") - pl.col("from_utc")).sum()
    models = spells.drop_nulls("model").group_by("model", maintain_order=True).agg(length=length)
    kept = models.sort("length", descending=True, maintain_order=True).head(n_shown)["model"].to_list()
    n_left = models.height - len(kept)
    others = f"{n_left} other{'' if n_left == 1 else 's'}"
    name = pl.when(pl.col("model").is_in(kept)).then(pl.col("model")).otherwise(pl.lit(others))
    named = spells.with_columns(row=pl.when(pl.col("model").is_null()).then(pl.lit(NOBODY)).otherwise(name))
    present = named["row"].unique(maintain_order=True).to_list()
    return named, sorted(present, key=lambda row: (row != NOBODY, row == others))


def _time_and_share(days: float, total: float) -> str:
    return f"{formats.age(timedelta(days=days))} · {formats.text('share_frac', days / total)}"


def _text_at_right(panel: Axes, y: int, text: str, theme: Theme) -> None:
    place = panel.get_yaxis_transform()
    panel.text(1.01, y, text, transform=place, va="center", fontsize=8, color=theme.muted)
