"""Pictures of the paper accounts: value beside buy-and-hold, falls from the peak, exposure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

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

_STAGES = tuple(stage for stage, _ in LIGHT.stages)
_NOTHING = "no account has traded yet"


@dataclass(frozen=True)
class _Account:
    model: str
    rows: pl.DataFrame


def equity(bars: pl.DataFrame, *, simulated: bool, n_shown: int = 8, theme: Theme = LIGHT) -> Figure:
    """Return the value of each paper account beside buy-and-hold, one panel an account, tinted by its stage.

    `bars` is desk.equity: study, trial, closed_at_utc, stage, value_usd, benchmark_usd. The accounts that
    traded last come first, and of those the furthest stage.
    """
    accounts = sorted(_accounts(bars), key=_standing, reverse=True)
    title = "Paper account" if len(accounts) == 1 else "Paper accounts"
    if not accounts:
        return nothing(title, _NOTHING, simulated, theme)
    shown = accounts[:n_shown]
    columns = 1 if len(shown) == 1 else 2
    rows = math.ceil(len(shown) / columns)
    said = "value beside equal-weight buy-and-hold, in USD"
    left_out = f" · {len(accounts) - len(shown)} older accounts left out" * (len(accounts) > len(shown))
    height_in = 4.2 if len(shown) == 1 else 1.2 + 2.2 * rows
    figure = sheet(title, said + left_out, simulated, theme, height_in)
    for place, account in enumerate(shown, start=1):
        panel = axes(figure, theme, rows, columns, place)
        _draw_equity(panel, account, theme)
    figure.legend(
        handles=_equity_key(pl.concat([a.rows for a in shown]), theme),
        loc="outside lower center",
        ncols=5,
        frameon=False,
        fontsize=8.5,
        labelcolor=theme.ink,
    )
    return figure


def drawdown(bars: pl.DataFrame, *, simulated: bool, theme: Theme = LIGHT) -> Figure:
    """Return how far each account stood below its peak; the opening cash is the first peak.

    `bars` is desk.equity with the account's cash_usd: study, trial, closed_at_utc, value_usd, cash_usd.
    """
    title = "Drawdown"
    accounts = _accounts(bars)
    if not accounts:
        return nothing(title, _NOTHING, simulated, theme)
    figure = sheet(title, "fall below the account's highest value so far", simulated, theme)
    panel = axes(figure, theme)
    for i, account in enumerate(accounts):
        value = account.rows["value_usd"].to_numpy()
        below = value / np.maximum.accumulate(np.maximum(value, account.rows["cash_usd"].to_numpy())) - 1
        times = moments(account.rows["closed_at_utc"])
        panel.plot(times, below, color=theme.line(i), linewidth=1.3, label=account.model)
        if len(accounts) == 1:
            panel.fill_between(times, below, 0, color=theme.line(i), alpha=0.18, linewidth=0)
    panel.set_ylim(top=0)
    percents(panel, 1)
    dates(panel)
    _legend_of_few(panel, accounts, theme)
    return figure


def exposure(bars: pl.DataFrame, *, simulated: bool, theme: Theme = LIGHT) -> Figure:
    """Return the share of each account that is not cash.

    `bars` is desk.equity: study, trial, closed_at_utc, exposure_frac.
    """
    title = "Exposure"
    accounts = _accounts(bars)
    if not accounts:
        return nothing(title, _NOTHING, simulated, theme)
    figure = sheet(title, "share of the account's value that is not cash", simulated, theme)
    panel = axes(figure, theme)
    for i, account in enumerate(accounts):
        times, share = moments(account.rows["closed_at_utc"]), account.rows["exposure_frac"].to_numpy()
        panel.step(times, share, where="pre", color=theme.line(i), linewidth=1.3, label=account.model)
        if len(accounts) == 1:
            panel.fill_between(times, share, 0, step="pre", color=theme.line(i), alpha=0.18, linewidth=0)
    panel.set_ylim(0, 1.02)
    percents(panel)
    dates(panel)
    _legend_of_few(panel, accounts, theme)
    return figure


def _accounts(bars: pl.DataFrame) -> list[_Account]:
    """Split bars by model; who traded last comes first, and of those who began last."""
    parts = bars.sort("closed_at_utc").partition_by("study", "trial", as_dict=True, maintain_order=True)
    accounts = [_Account(f"{study}/{trial}", rows) for (study, trial), rows in parts.items()]
    return sorted(accounts, key=_traded, reverse=True)


def _traded(account: _Account) -> tuple[datetime, datetime]:
    return account.rows["closed_at_utc"][-1], account.rows["closed_at_utc"][0]


def _standing(account: _Account) -> tuple[datetime, int]:
    return _traded(account)[0], _STAGES.index(account.rows["stage"][-1])


def _draw_equity(panel: Axes, account: _Account, theme: Theme) -> None:
    times = moments(account.rows["closed_at_utc"])
    tints = dict(theme.stages)
    for stage, first, last in _spells(account.rows["stage"].to_list()):
        # A stage lasts until the first bar of the next one.
        end = min(last + 1, len(times) - 1)
        panel.axvspan(times[first], times[end], color=tints.get(stage, theme.paper), linewidth=0)
    panel.plot(times, account.rows["benchmark_usd"].to_numpy(), color=theme.baseline, linewidth=1.3, ls="--")
    panel.plot(times, account.rows["value_usd"].to_numpy(), color=theme.agent, linewidth=1.7)
    panel.set_title(account.model, loc="left", fontsize=9.5, color=theme.ink)
    panel.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    panel.margins(x=0.01)
    dates(panel)


def _spells(stages: list[str]) -> list[tuple[str, int, int]]:
    """Return (stage, first, last) for each run of equal stages, positions inclusive."""
    spells: list[tuple[str, int, int]] = []
    for i, stage in enumerate(stages):
        if spells and spells[-1][0] == stage:
            spells[-1] = (stage, spells[-1][1], i)
        else:
            spells.append((stage, i, i))
    return spells


def _equity_key(rows: pl.DataFrame, theme: Theme) -> list[Line2D | Patch]:
    present = set(rows["stage"])
    tints = [Patch(color=tint, label=f"in {stage}") for stage, tint in theme.stages if stage in present]
    return [
        Line2D([], [], color=theme.agent, linewidth=1.7, label="account"),
        Line2D([], [], color=theme.baseline, linewidth=1.3, ls="--", label="buy and hold"),
        *tints,
    ]


def _legend_of_few(panel: Axes, accounts: list[_Account], theme: Theme) -> None:
    """Name the lines, as long as the names fit over the panel."""
    if len(accounts) <= len(theme.series):
        legend(panel, theme, columns=4)
