"""Pictures of the bars: what they cost, and where they are missing."""

from __future__ import annotations

import numpy as np
import polars as pl
from matplotlib.colors import to_rgb
from matplotlib.dates import date2num
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, NullLocator

from cappuccino.watch.plots.canvas import LIGHT, Theme, axes, dates, legend, mixed, moments, nothing, sheet

_FEW, _HALF = 0.1, 0.5
_CELLS = 540
"""Most cells of a row: two pixels each."""
_ROW_IN, _LABEL_IN = 0.26, 0.1
"""Height of a row where there are few symbols, and the least at which its label can be read."""


def closes(bars: pl.DataFrame, *, simulated: bool, theme: Theme = LIGHT) -> Figure:
    """Return the closes of all symbols over the same start, filled bars marked.

    `bars` are those of one interval: symbol, closed_at_utc, close (> 0), is_filled.
    """
    title = "Close prices"
    if bars.is_empty():
        return nothing(title, "no bars yet", simulated, theme)
    n_filled = int(bars["is_filled"].sum())
    filled = f"{n_filled:,} of {bars.height:,} bars filled" if n_filled else "no bar filled"
    figure = sheet(title, f"each symbol's first close = 1, logarithmic · {filled}", simulated, theme, 4.2)
    panel = axes(figure, theme)
    for i, (symbol, rows) in enumerate(_by_symbol(bars)):
        relative = rows["close"] / rows["close"][0]
        times = moments(rows["closed_at_utc"])
        panel.plot(times, relative.to_numpy(), color=theme.line(i), linewidth=1.1, label=symbol)
        gaps = rows["is_filled"].to_numpy()
        panel.scatter(
            times[gaps],
            relative.to_numpy()[gaps],
            s=12,
            marker="x",
            linewidths=0.9,
            color=theme.bad,
            zorder=3,
        )
    panel.set_yscale("log")
    panel.yaxis.set_major_locator(MaxNLocator(6))
    panel.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    panel.yaxis.set_minor_locator(NullLocator())
    dates(panel)
    legend(panel, theme)
    return figure


def coverage(days: pl.DataFrame, *, simulated: bool, theme: Theme = LIGHT) -> Figure:
    """Return a heat map of how much of each day the stored bars cover, one row a symbol.

    `days` is market.days: symbol, day, expected_bars, absent_bars, halted_bars. Where there are more days than fit,
    a cell stands for several and shows the worst of them, so that no hole is lost.
    """
    title = "Coverage of the record"
    if days.is_empty():
        return nothing(title, "no bars yet", simulated, theme)
    cells, length = covered(days)
    names, tints = zip(*_shades(theme), strict=True)
    height_in = max(_LABEL_IN, min(_ROW_IN, 13 / cells.height)) * cells.height
    figure = sheet(title, _said(days, length), simulated, theme, height_in=1.6 + height_in)
    panel = axes(figure, theme)
    codes = cells.drop("symbol").to_numpy()
    first = float(date2num(days["day"].min()))  # type: ignore[no-untyped-call]
    panel.imshow(
        np.array([to_rgb(tint) for tint in tints])[codes],
        aspect="auto",
        interpolation="nearest",
        extent=(first, first + length * codes.shape[1], len(codes) - 0.5, -0.5),
    )
    panel.hlines(np.arange(0.5, len(codes) - 1), *panel.get_xlim(), colors=theme.paper, linewidth=0.7)
    panel.xaxis_date()
    dates(panel)
    panel.grid(visible=False)
    panel.set_yticks(range(len(codes)), cells["symbol"].to_list())
    panel.tick_params(axis="y", labelsize=min(8.5, 72 * 0.85 * height_in / cells.height))
    shown = [Patch(color=tints[code], label=names[code]) for code in np.unique(codes) if names[code]]
    legend(panel, theme, handles=shown)
    return figure


def covered(days: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """Return how well market.days covers each symbol's cells, and the days of a cell.

    Columns: symbol, then one per cell from the first to the last day of all: 0 not listed, 1 complete, 2 only a halt
    of the exchange is absent, 3 a source lacks less than a tenth, 4 at most half, 5 more. A cell has its worst day.
    """
    n_lost = pl.col("absent_bars") - pl.col("halted_bars")
    share = n_lost / pl.col("expected_bars")
    of_hole = pl.when(share < _FEW).then(3).when(share <= _HALF).then(4).otherwise(5)
    code = pl.when(n_lost > 0).then(of_hole).when(pl.col("absent_bars") > 0).then(2).otherwise(1)
    since = (pl.col("day") - pl.col("day").min()).dt.total_days()
    n_days = days.select(since.max() + 1).item()
    length = -(-n_days // _CELLS)
    worst = days.select("symbol", cell=since // length, code=code).group_by("symbol", "cell").agg(pl.col("code").max())
    grid = days.select(pl.col("symbol").unique().sort()).join(
        pl.DataFrame({"cell": range(-(-n_days // length))}), how="cross"
    )
    cells = grid.join(worst, on=["symbol", "cell"], how="left", maintain_order="left").with_columns(
        pl.col("code").fill_null(0)
    )
    return cells.pivot("cell", index="symbol", values="code", maintain_order=True), length


def _shades(theme: Theme) -> tuple[tuple[str, str], ...]:
    """Return name and colour of each code of `covered`."""
    few, many = theme.series[4], theme.bad
    return (
        ("", theme.paper),
        ("complete", mixed(theme.good, theme.paper, 0.55)),
        ("halt of the exchange", theme.series[1]),
        ("some lost", few),
        ("10 % to half lost", mixed(few, many, 0.5)),
        ("more than half lost", many),
    )


def _said(days: pl.DataFrame, length: int) -> str:
    n_lost = days.filter(pl.col("absent_bars") > pl.col("halted_bars")).height
    n_halted = days.filter(pl.col("halted_bars") > 0)["day"].n_unique()
    parts = [f"{n_lost:,} of {days.height:,} symbol-days have holes" if n_lost else "no source lost a bar"]
    parts += [f"days with a halt of the exchange: {n_halted:,}"] * bool(n_halted)
    parts += [f"each cell shows the worst of {length} days"] * (length > 1)
    return " · ".join(parts)


def _by_symbol(bars: pl.DataFrame) -> list[tuple[str, pl.DataFrame]]:
    parts = bars.sort("closed_at_utc").partition_by("symbol", as_dict=True, maintain_order=True)
    order = bars["symbol"].unique(maintain_order=True)
    return [(symbol, parts[(symbol,)]) for symbol in order]
