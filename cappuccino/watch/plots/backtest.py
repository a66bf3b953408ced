"""Pictures of a backtest: value beside the baselines, falls, exposure, months, trades, costs, and luck."""

from __future__ import annotations

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

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
from cappuccino.watch.plots.replay import spread

MARKET = "market"
_NOTHING = "nothing was traded yet"
_TALL_IN = 4.8
_LABEL_SHARE = 0.05
"""Of a tall panel's height, what the name of a line takes."""
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_LEAST_SCALE = 0.01
_DARK_TEXT_ABOVE = 0.45
_ENDINGS = ("agent", "trailing_stop", "move_to_cash", "stop_loss", "position_trailing_stop", "end_of_range")


def growth(days: pl.DataFrame, subject: str, cash_usd: float, *, simulated: bool, theme: Theme = LIGHT) -> Figure:
    """Return the value of the subject, of the baselines and of the market, start = 100 %, each named at its end.

    `days` is lab.backtest_days: subject, closed_at_utc, value_usd.
    """
    title = "Value"
    if days.is_empty():
        return nothing(title, _NOTHING, simulated, theme)
    figure = sheet(title, "start = 100 %, after costs, of which the market has none", simulated, theme, _TALL_IN)
    panel = axes(figure, theme)
    parts = days.sort("closed_at_utc").partition_by("subject", as_dict=True)
    names = sorted((str(name) for (name,) in parts), key=lambda name: (name != subject, name != MARKET, name))
    looks = {name: _look(name, subject, i, theme) for i, name in enumerate(names)}
    ends: dict[str, float] = {}
    for name in names:
        rows, (color, width, style) = parts[(name,)], looks[name]
        value = rows["value_usd"].to_numpy() / cash_usd
        on_top = 4 if name == subject else 3 if name == MARKET else 2
        panel.plot(moments(rows["closed_at_utc"]), value, color=color, linewidth=width, linestyle=style, zorder=on_top)
        ends[name] = float(value[-1])
    panel.axhline(1, color=theme.muted, linewidth=0.7, zorder=1)
    panel.margins(x=0)
    _name_at_end(panel, ends, {name: look[0] for name, look in looks.items()}, subject)
    percents(panel)
    dates(panel)
    return figure


def drawdown(equity: pl.DataFrame, subject: str, cash_usd: float, *, simulated: bool, theme: Theme = LIGHT) -> Figure:
    """Return how far the subject and the market stood below their peaks; the opening is the first one.

    `equity` is lab.backtest_equity: closed_at_utc, value_usd, market_usd.
    """
    title = "Drawdown"
    if equity.is_empty():
        return nothing(title, _NOTHING, simulated, theme)
    figure = sheet(title, "fall below the highest value at a close so far", simulated, theme, 2.9)
    panel = axes(figure, theme)
    times = moments(equity["closed_at_utc"])
    own, market = (_below(equity[column].to_numpy(), cash_usd) for column in ("value_usd", "market_usd"))
    panel.plot(times, market, color=theme.ink, linewidth=1.0, linestyle="--", label=MARKET)
    panel.plot(times, own, color=theme.agent, linewidth=1.6, label=subject)
    panel.fill_between(times, own, 0, color=theme.agent, alpha=0.18, linewidth=0)
    panel.set_ylim(top=0)
    panel.margins(x=0)
    percents(panel)
    dates(panel)
    legend(panel, theme)
    return figure


def exposure(equity: pl.DataFrame, *, simulated: bool, theme: Theme = LIGHT) -> Figure:
    """Return the share of the account that is not cash: lab.backtest_equity, closed_at_utc, exposure_frac."""
    title = "Exposure"
    if equity.is_empty():
        return nothing(title, _NOTHING, simulated, theme)
    figure = sheet(title, "share of the account's value that is not cash", simulated, theme, 2.5)
    panel = axes(figure, theme)
    times, share = moments(equity["closed_at_utc"]), equity["exposure_frac"].to_numpy()
    panel.fill_between(times, share, 0, step="pre", color=theme.agent, alpha=0.35, linewidth=0)
    mean = float(share.mean())
    panel.axhline(mean, color=theme.ink, linewidth=0.9, linestyle="--", label=f"mean {mean:.0%}")
    panel.set_ylim(0, 1.02)
    panel.margins(x=0)
    percents(panel)
    dates(panel)
    legend(panel, theme)
    return figure


def months(rows: pl.DataFrame, *, simulated: bool, theme: Theme = LIGHT) -> Figure:
    """Return what each month brought, years by months: lab.backtest_months of one subject, year, month, return_frac."""
    title = "Return of each month"
    if rows.is_empty():
        return nothing(title, _NOTHING, simulated, theme)
    years = rows["year"].unique().sort().to_list()
    gains = np.full((len(years), len(_MONTHS)), np.nan)
    for year, month, gain in rows.select("year", "month", "return_frac").iter_rows():
        gains[years.index(year), month - 1] = gain
    figure = sheet(title, "after costs; of months in part, the part", simulated, theme, 1.35 + 0.42 * len(years))
    panel = axes(figure, theme)
    largest = max(float(np.nanmax(np.abs(gains))), _LEAST_SCALE)
    panel.imshow(gains, cmap=theme.diverging, vmin=-largest, vmax=largest, aspect="auto")
    for y, row in enumerate(gains):
        for x, gain in enumerate(row):
            if np.isfinite(gain):
                color = _readable(theme.diverging((gain / largest + 1) / 2), theme)
                panel.text(x, y, f"{gain:+.1%}", ha="center", va="center", fontsize=8, color=color)
    panel.set_xticks(range(len(_MONTHS)), _MONTHS)
    panel.set_yticks(range(len(years)), [str(year) for year in years])
    panel.grid(False)
    panel.spines["bottom"].set_visible(False)
    return figure


def trades(rows: pl.DataFrame, *, simulated: bool, theme: Theme = LIGHT) -> Figure:
    """Return each round trip by its length and what it brought, coloured by who ended it.

    `rows` is lab.backtest_trades: opened_at_utc, closed_at_utc, return_frac, ended_by.
    """
    title = "Length and return of trades"
    if rows.is_empty():
        return nothing(title, _NOTHING, simulated, theme)
    n_won = rows.filter(pl.col("net_pnl_usd") > 0).height
    said = f"{rows.height:,} round trips, {n_won / rows.height:.0%} gained after costs"
    figure = sheet(title, said, simulated, theme, 3.4)
    panel = axes(figure, theme)
    hours = (rows["closed_at_utc"] - rows["opened_at_utc"]).dt.total_seconds().to_numpy() / 3_600
    gain, ended_by = rows["return_frac"].to_numpy(), rows["ended_by"].to_numpy()
    for i, ending in enumerate(_ENDINGS):
        own = ended_by == ending
        if own.any():
            panel.scatter(
                hours[own], gain[own], s=14, color=theme.line(i), alpha=0.65, linewidths=0, label=_words(ending)
            )
    panel.axhline(0, color=theme.muted, linewidth=0.8)
    panel.set_xscale("log")
    panel.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f} h" if value < 48 else f"{value / 24:,.0f} d")
    panel.tick_params(which="minor", length=0)
    panel.set_xlabel("time held", fontsize=8.5, color=theme.muted)
    percents(panel, 1)
    legend(panel, theme)
    return figure


def parts(rows: pl.DataFrame, kind: str, *, simulated: bool, theme: Theme = LIGHT) -> Figure:
    """Return what each symbol, factor or cost brought, in USD, gains to the right.

    `rows` is lab.backtest_attribution: kind, part, pnl_usd, return_contribution_frac.
    """
    title = {"symbol": "By symbol", "factor": "By factor", "cost": "By cost"}[kind]
    chosen = rows.filter(pl.col("kind") == kind)
    if chosen.is_empty():
        return nothing(title, _NOTHING, simulated, theme)
    total = float(chosen["return_contribution_frac"].sum())
    said = f"together {formats.text('return_frac', total)} of the opening value"
    figure = sheet(title, said, simulated, theme, 1.2 + 0.3 * chosen.height)
    panel = axes(figure, theme)
    usd = chosen["pnl_usd"].to_numpy()
    places = np.arange(len(usd))
    panel.barh(places, usd, height=0.66, color=[theme.good if value >= 0 else theme.bad for value in usd])
    panel.set_yticks(places, [_words(part) for part in chosen["part"]])
    panel.invert_yaxis()
    panel.axvline(0, color=theme.muted, linewidth=0.8)
    panel.grid(False, axis="y")
    panel.grid(True, axis="x", color=theme.grid, linewidth=0.8)
    panel.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    panel.tick_params(axis="y", labelcolor=theme.ink)
    for y, share in enumerate(chosen["return_contribution_frac"]):
        text = formats.text("return_frac", share)
        panel.text(1.01, y, text, transform=panel.get_yaxis_transform(), va="center", fontsize=8, color=theme.muted)
    return figure


def luck(timing: pl.DataFrame, *, simulated: bool, theme: Theme = LIGHT) -> Figure:
    """Return where the subject stands among accounts that did the same in another order: the middle 90 % of them.

    `timing` is lab.backtest_timing.
    """
    title = "The subject among others"
    shown = timing.drop_nulls("others_return_frac")
    if shown.is_empty():
        return nothing(title, _NOTHING, simulated, theme)
    said = "total return: the subject (dot), the median of the others (bar) and the middle 90 % of them"
    figure = sheet(title, said, simulated, theme, 1.3 + 0.42 * shown.height)
    panel = axes(figure, theme)
    for y, row in enumerate(shown.iter_rows(named=True)):
        low, high = row["others_low_return_frac"], row["others_high_return_frac"]
        panel.plot([low, high], [y, y], color=theme.baseline, linewidth=7, alpha=0.5, solid_capstyle="round")
        panel.plot([row["others_return_frac"]], [y], "|", color=theme.ink, markersize=13, markeredgewidth=1.6)
        panel.plot([row["total_return_frac"]], [y], "o", color=theme.agent, markersize=8, zorder=3)
        text = f"p = {row['p_return']:.3f}"
        panel.text(1.01, y, text, transform=panel.get_yaxis_transform(), va="center", fontsize=8.5, color=theme.ink)
    panel.set_yticks(range(shown.height), [_words(way) for way in shown["way"]])
    panel.set_ylim(shown.height - 0.5, -0.5)
    panel.tick_params(axis="y", labelcolor=theme.ink)
    panel.grid(False, axis="y")
    panel.grid(True, axis="x", color=theme.grid, linewidth=0.8)
    panel.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    return figure


def _look(name: str, subject: str, place: int, theme: Theme) -> tuple[str, float, str]:
    """Return colour, width and style of a line."""
    if name == subject:
        return theme.agent, 2.4, "-"
    if name == MARKET:
        return theme.ink, 1.3, "--"
    others = theme.series[1:]
    return others[place % len(others)], 1.0, "-"


def _name_at_end(panel: Axes, ends: dict[str, float], colors: dict[str, str], subject: str) -> None:
    low, high = panel.get_ylim()
    places = spread(list(ends.values()), (high - low) * _LABEL_SHARE, low, high)
    transform = panel.get_yaxis_transform()
    for (name, end), place in zip(ends.items(), places, strict=True):
        panel.annotate(
            f"{_words(name)} {formats.text('return_frac', end - 1)}",
            xy=(1, end),
            xytext=(1.03, place),
            xycoords=transform,
            textcoords=transform,
            va="center",
            fontsize=8.5,
            fontweight="bold" if name == subject else "normal",
            color=colors[name],
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colors[name], "lw": 0.7, "shrinkA": 1, "shrinkB": 0},
        )
    panel.set_ylim(low, high)


def _below(value: np.ndarray[tuple[int], np.dtype[np.float64]], cash_usd: float) -> np.ndarray:
    peak = np.maximum.accumulate(np.maximum(value, cash_usd))
    return value / peak - 1


def _readable(background: tuple[float, float, float, float], theme: Theme) -> str:
    """Return the one of ink and paper that stands out more."""
    light = float(np.dot(background[:3], (0.299, 0.587, 0.114)))
    darker, lighter = sorted((theme.ink, theme.paper), key=lambda color: sum(to_rgb(color)))
    return darker if light > _DARK_TEXT_ABOVE else lighter


def _words(name: str) -> str:
    return name.replace("_", " ")
