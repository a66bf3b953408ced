"""The picture of a study of thresholds: its Sharpe ratios over two of them."""

from __future__ import annotations

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from cappuccino.watch import formats
from cappuccino.watch.plots.canvas import LIGHT, Theme, axes, nothing, sheet

_NOTHING = "nothing was tried yet"
_LEAST_SCALE = 0.5
_DARK_TEXT_ABOVE = 0.45
OFF = "off"


def heat(
    points: pl.DataFrame,
    x: str,
    y: str,
    *,
    are_scaled: tuple[bool, bool],
    simulated: bool,
    above: float | None = None,
    theme: Theme = LIGHT,
) -> Figure:
    """Return the daily Sharpe over the values of two thresholds, or of a threshold and symbols; the mean in each cell.

    A mean over all else that was varied: a cell that is good among bad neighbours was lucky. `points` is lab.thresholds
    with `x` and `y` in one unit each, multiples of volatility where `are_scaled`. With `above`, what today's settings
    have, the cells show the difference. The cells of today's settings and of the best point are framed.
    """
    title = f"{threshold(y).capitalize()} and {threshold(x)}"
    if points.is_empty():
        return nothing(title, _NOTHING, simulated, theme)
    across, down = (points[name].unique().sort().to_list() for name in (x, y))
    what = "daily Sharpe per year" + (" above today's settings" if above is not None else "")
    unit = "; x: multiples of the volatility of a day" if any(are_scaled) else ""
    figure = sheet(title, what + unit, simulated, theme, 1.75 + 0.42 * len(down))
    panel = axes(figure, theme)
    cells = _cells(points, x, y, across, down) - (above or 0.0)
    largest = max(float(np.nanmax(np.abs(cells))), _LEAST_SCALE)
    panel.imshow(cells, cmap=theme.diverging, vmin=-largest, vmax=largest, aspect="auto")
    for (row, column), sharpe in np.ndenumerate(cells):
        if np.isfinite(sharpe):
            color = _readable(theme.diverging((sharpe / largest + 1) / 2), theme)
            panel.text(column, row, f"{sharpe:+.2f}", ha="center", va="center", fontsize=8.5, color=color)
    for flag, style in (("is_today", "--"), ("is_best", "-")):
        for chosen in points.filter(pl.col(flag)).iter_rows(named=True):
            _frame(panel, across.index(chosen[x]), down.index(chosen[y]), style, theme)
    panel.set_xticks(range(len(across)), [level(value, is_scaled=are_scaled[0]) for value in across])
    panel.set_yticks(range(len(down)), [level(value, is_scaled=are_scaled[1]) for value in down])
    panel.set_xlabel(f"{threshold(x)}; dashed: today's settings, framed: the best", fontsize=8.5, color=theme.muted)
    panel.set_ylabel(threshold(y), fontsize=8.5, color=theme.muted)
    panel.grid(False)
    panel.spines["bottom"].set_visible(False)
    return figure


def threshold(column: str) -> str:
    """Return the name of a threshold in words."""
    return column.removeprefix("portfolio_").removesuffix("_frac").replace("_", " ")


def level(value: float | str | None, *, is_scaled: bool) -> str:
    """Return a threshold for a person: off, a fraction, or a multiple of volatility; a symbol stays what it is."""
    if not isinstance(value, int | float):
        return formats.text("", value)
    if value == 0.0:
        return OFF
    return f"{value:g} x" if is_scaled else f"{value * 100:g} %"


def _frame(panel: Axes, column: int, row: int, style: str, theme: Theme) -> None:
    box = Rectangle(
        (column - 0.47, row - 0.45), 0.94, 0.9, fill=False, edgecolor=theme.ink, linestyle=style, linewidth=1.8
    )
    panel.add_patch(box)


def _cells(
    points: pl.DataFrame, x: str, y: str, across: list[float], down: list[float]
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    cells = np.full((len(down), len(across)), np.nan)
    means = points.group_by(x, y).agg(pl.col("sharpe_daily_365").mean())
    for column, row, sharpe in means.select(x, y, "sharpe_daily_365").iter_rows():
        cells[down.index(row), across.index(column)] = sharpe
    return cells


def _readable(background: tuple[float, float, float, float], theme: Theme) -> str:
    """Return the one of ink and paper that stands out more."""
    light = float(np.dot(background[:3], (0.299, 0.587, 0.114)))
    darker, lighter = sorted((theme.ink, theme.paper), key=lambda color: sum(to_rgb(color)))
    return darker if light > _DARK_TEXT_ABOVE else lighter
