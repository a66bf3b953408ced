"""Pictures of the bars: what they cost, and where they are missing."""

from __future__ import annotations

import numpy as np
import polars as pl
from matplotlib.colors import ListedColormap
from matplotlib.dates import date2num
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, NullLocator

from cappuccino.watch.plots.canvas import LIGHT, Theme, axes, dates, legend, moments, nothing, sheet

_HALF = 0.5


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


def coverage(bars: pl.DataFrame, *, simulated: bool, theme: Theme = LIGHT) -> Figure:
    """Return a heat map of how much of each day the stored bars cover, one row a symbol.

    `bars` is market.bars: symbol, opened_at_utc, closed_at_utc.
    """
    title = "Coverage of the record"
    if bars.is_empty():
        return nothing(title, "no bars yet", simulated, theme)
    covered = covered_days(bars)
    symbols = covered["symbol"].unique(maintain_order=True).to_list()
    days = covered["day"].unique().sort()
    shares = covered["covered_frac"].to_numpy().reshape(len(symbols), len(days))
    n_short = int((shares < 1).sum())
    said = f"{n_short:,} of {shares.size:,} symbol-days have holes" if n_short else "every day is complete"
    figure = sheet(title, said, simulated, theme, height_in=1.75 + 0.26 * len(symbols))
    panel = axes(figure, theme)
    first, last = date2num(moments(days))[[0, -1]].tolist()  # type: ignore[no-untyped-call]
    colors = (theme.bad, theme.series[4], theme.good)
    panel.imshow(
        np.where(shares < 1, np.where(shares < _HALF, 0, 1), 2),
        aspect="auto",
        interpolation="nearest",
        cmap=ListedColormap(colors),
        vmin=0,
        vmax=2,
        extent=(first, last + 1, len(symbols) - 0.5, -0.5),
    )
    panel.xaxis_date()
    dates(panel)
    panel.grid(False)
    panel.set_yticks(range(len(symbols)), symbols)
    names = ("less than half", "some missing", "complete")
    legend(panel, theme, handles=[Patch(color=c, label=n) for c, n in zip(colors, names, strict=True)])
    return figure


def covered_days(bars: pl.DataFrame) -> pl.DataFrame:
    """Return symbol, day, covered_frac for every symbol and every day between the first and the last bar.

    The share is of the day's part inside the record: one that begins at noon has no hole before it.
    """
    start, stop = bars["opened_at_utc"].min(), bars["closed_at_utc"].max()
    days = pl.datetime_range(
        pl.lit(start).dt.truncate("1d"), pl.lit(stop) - pl.duration(microseconds=1), "1d", eager=False
    )
    grid = bars.select(pl.col("symbol").unique(maintain_order=True)).join(
        pl.select(day=days), how="cross", maintain_order="left_right"
    )
    held = bars.group_by("symbol", day=pl.col("opened_at_utc").dt.truncate("1d")).agg(
        held=(pl.col("closed_at_utc") - pl.col("opened_at_utc")).sum()
    )
    inside = pl.min_horizontal(pl.col("day") + pl.duration(days=1), pl.lit(stop)) - pl.max_horizontal(
        pl.col("day"), pl.lit(start)
    )
    return (
        grid.join(held, on=["symbol", "day"], how="left", maintain_order="left")
        .with_columns(covered_frac=pl.col("held").fill_null(pl.duration()) / inside)
        .select("symbol", "day", pl.col("covered_frac").cast(pl.Float64).clip(0.0, 1.0))
    )


def _by_symbol(bars: pl.DataFrame) -> list[tuple[str, pl.DataFrame]]:
    parts = bars.sort("closed_at_utc").partition_by("symbol", as_dict=True, maintain_order=True)
    order = bars["symbol"].unique(maintain_order=True)
    return [(symbol, parts[(symbol,)]) for symbol in order]
