"""What a report page is made of: sections of sentences, pictures and tables, already in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from matplotlib.figure import Figure

from cappuccino.watch import formats
from cappuccino.watch.plots import Theme

N_SHOWN = 12
N_KEPT = 200
_STAGES = ("stage", "from_stage", "to_stage")
_WORDS = ("reason", "detail", "figures", "specified", "in_use")


@dataclass(frozen=True)
class Cell:
    """One value of a table; `kind` is its look: number, up, down, stage, passed, failed, words or nothing."""

    text: str
    kind: str = ""


Row = tuple[Cell, ...]


@dataclass(frozen=True)
class Grid:
    """One table: `rows` are shown, `folded` ones open on demand, `n_left_out` are in the warehouse only.

    `marked` holds the positions of rows that stand out, counted over both; `sql` asks for all of them; `title` tells
    one table of a section from the next.
    """

    headings: Row
    rows: tuple[Row, ...]
    folded: tuple[Row, ...]
    n_left_out: int
    marked: frozenset[int]
    sql: str
    title: str = ""


@dataclass(frozen=True)
class Picture:
    """A plot that can be drawn in each colour scheme."""

    alt: str
    draw: Callable[[Theme], Figure]


@dataclass(frozen=True)
class Tile:
    """A figure at the top of the page."""

    name: str
    value: str
    note: str = ""
    kind: str = ""


@dataclass(frozen=True)
class Term:
    """A measure and what it says."""

    column: str
    meaning: str

    @property
    def name(self) -> str:
        return formats.heading(self.column)


@dataclass(frozen=True)
class Section:
    """One part of the page, from top to bottom: sentences, pictures, tables, terms."""

    key: str
    title: str
    sentences: tuple[str, ...] = ()
    pictures: tuple[Picture, ...] = ()
    grids: tuple[Grid, ...] = ()
    terms: tuple[Term, ...] = ()


@dataclass(frozen=True)
class Banner:
    """What nobody may overlook; `kind` is `alarm` or nothing."""

    lead: str
    text: str
    kind: str = ""


SIMULATED_MARKET = Banner(
    "Simulated market.",
    "These bars were invented by a random number generator. No figure on this page says anything about a real market.",
)


@dataclass(frozen=True)
class Page:
    """A whole page; `is_simulated` goes into its title and the description of every picture."""

    title: str
    as_of: str
    is_simulated: bool
    banners: tuple[Banner, ...]
    tiles: tuple[Tile, ...]
    sections: tuple[Section, ...]


def picture(alt: str, draw: Callable[..., Figure]) -> Picture:
    """Return a picture of a plot that takes only the `theme` any more."""
    return Picture(alt, lambda theme: draw(theme=theme))


def grid(
    frame: pl.DataFrame,
    columns: Sequence[str],
    sql: str,
    *,
    mark: pl.Expr | None = None,
    n_shown: int = N_SHOWN,
    title: str = "",
) -> Grid:
    """Return `columns` of `frame` as a table; rows for which `mark` is true stand out."""
    marked = [] if mark is None else frame.select(marked=mark)["marked"].to_list()
    chosen = frame.select(columns)
    looks = ["number" if kind.is_numeric() else "" for kind in chosen.dtypes]
    rows = tuple(
        tuple(cell(name, value, look) for (name, value), look in zip(row.items(), looks, strict=True))
        for row in chosen.head(N_KEPT).iter_rows(named=True)
    )
    headings = tuple(Cell(formats.heading(name), look) for name, look in zip(chosen.columns, looks, strict=True))
    return Grid(
        headings,
        rows[:n_shown],
        rows[n_shown:],
        n_left_out=chosen.height - len(rows),
        marked=frozenset(i for i, yes in enumerate(marked) if yes),
        sql=" ".join(sql.split()),
        title=title,
    )


def cell(column: str, value: Any, look: str = "") -> Cell:
    """Return `value` of `column` in words, with the look that both ask for; `look` where neither does."""
    shown = formats.text(column, value)
    if column in _STAGES:
        return Cell(shown, "stage" if value else "")
    if column == "passed":
        return Cell("passed", "passed") if value else Cell("failed", "failed")
    if column in _WORDS:
        return Cell(shown, "words")
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Cell(shown, formats.tone(column, value) or "number")
    return Cell(shown, look)
