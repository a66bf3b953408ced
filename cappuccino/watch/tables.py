"""Frames as tables for the terminal."""

from __future__ import annotations

import polars as pl
from rich.table import Table
from rich.text import Text

from cappuccino.watch import formats

_STYLES = {"up": "green", "down": "red", "": ""}


def as_table(frame: pl.DataFrame, title: str, *, empty: str = "no rows yet", simulated: bool = False) -> Table:
    """Return `frame` under `title`, numbers right-aligned and in the units that the columns' names end with.

    A frame without rows shows the sentence `empty`; `simulated` says below that the market is one.
    """
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        caption="simulated market" if simulated else None,
        caption_justify="left",
        header_style="dim",
    )
    if frame.is_empty():
        table.add_column()
        table.add_row(Text(empty, style="dim"))
        return table
    for name, kind in frame.schema.items():
        table.add_column(formats.heading(name), justify="right" if kind.is_numeric() else "left")
    for row in frame.iter_rows(named=True):
        table.add_row(*(_cell(name, value) for name, value in row.items()))
    return table


def _cell(column: str, value: object) -> Text:
    # Text, not str: a name with brackets is no markup.
    return Text(formats.text(column, value), style=_STYLES[formats.tone(column, value)])
