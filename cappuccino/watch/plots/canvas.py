"""The paper that every plot is drawn on: colours, title, axes, and the way out as PNG or Markdown."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, to_hex, to_rgb
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from PIL import Image

WIDTH_IN = 9.0
SIMULATED = "simulated market"
MARKDOWN_LIMIT_BYTES = 60_000
_HEADER_IN = 0.66
_DPI = 144
_PALETTE = 96
_SMALLER_DPI = (_DPI, 120, 110, 96, 80, 64, 48, 36)


@dataclass(frozen=True)
class Theme:
    """Colours of one scheme."""

    paper: str
    ink: str
    muted: str
    grid: str
    good: str
    bad: str
    agent: str
    """An agent's own figures."""
    baseline: str
    """Baselines and buy-and-hold."""
    series: tuple[str, ...]
    """Lines that need telling apart, such as symbols."""
    stages: tuple[tuple[str, str], ...]
    """Stage and its tint."""

    @property
    def diverging(self) -> LinearSegmentedColormap:
        """Bad, nothing, good."""
        return LinearSegmentedColormap.from_list("diverging", [self.bad, self.grid, self.good])

    def line(self, i: int) -> str:
        return self.series[i % len(self.series)]


LIGHT = Theme(
    paper="#ffffff",
    ink="#26211d",
    muted="#766d65",
    grid="#ebe5de",
    good="#2f8f77",
    bad="#c0443c",
    agent="#b3622d",
    baseline="#8594a6",
    series=("#b3622d", "#2b6cb0", "#2f8f6b", "#8a5cb8", "#c0931f", "#c2476a", "#3f9db3", "#7c756e"),
    stages=(("sandbox", "#f6e7c1"), ("production", "#d3ecdf"), ("live", "#f6d3cf")),
)
DARK = Theme(
    paper="#211d1a",
    ink="#efe8e0",
    muted="#a89d92",
    grid="#3a342f",
    good="#57b99d",
    bad="#e0736a",
    agent="#e0915a",
    baseline="#8d9bad",
    series=("#e0915a", "#6aa9e6", "#63c29b", "#b690e0", "#dcb85a", "#e27f9c", "#6cc3d6", "#a89d92"),
    stages=(("sandbox", "#4a3d20"), ("production", "#23453a"), ("live", "#54302d")),
)


def sheet(title: str, subtitle: str, simulated: bool, theme: Theme, height_in: float = 3.6) -> Figure:
    """Return an empty figure under its title; the second line says `simulated market` when it is one."""
    figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained", facecolor=theme.paper)
    FigureCanvasAgg(figure)
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.set(rect=(0.004, 0.01, 0.988, 0.985 - _HEADER_IN / height_in))  # type: ignore[call-arg]
    from_top = 1 / height_in
    figure.text(0.012, 1 - 0.12 * from_top, title, va="top", fontsize=12.5, fontweight="bold", color=theme.ink)
    lines = [SIMULATED] * simulated + [subtitle] * bool(subtitle)
    figure.text(0.012, 1 - 0.38 * from_top, " · ".join(lines), va="top", fontsize=9, color=theme.muted)
    return figure


def axes(figure: Figure, theme: Theme, rows: int = 1, columns: int = 1, place: int = 1) -> Axes:
    """Return one dressed panel of `figure`."""
    panel: Axes = figure.add_subplot(rows, columns, place)
    dress(panel, theme)
    return panel


def dress(panel: Axes, theme: Theme) -> None:
    """Quiet frame, quiet grid, readable ticks."""
    panel.set_facecolor(theme.paper)
    for side in ("top", "right", "left"):
        panel.spines[side].set_visible(False)
    panel.spines["bottom"].set_color(theme.grid)
    panel.grid(axis="y", color=theme.grid, linewidth=0.8)
    panel.set_axisbelow(True)
    panel.tick_params(colors=theme.muted, labelsize=8.5, length=0)
    panel.xaxis.get_offset_text().set(color=theme.muted, fontsize=8.5)


def mixed(color: str, other: str, share: float) -> str:
    """Return the colour that has `share` of `color`, and of `other` the rest."""
    red, green, blue = (share * one + (1 - share) * two for one, two in zip(to_rgb(color), to_rgb(other), strict=True))
    return to_hex((red, green, blue))


def dates(panel: Axes) -> None:
    """Label the horizontal axis with as few words as the range needs."""
    locator = AutoDateLocator(minticks=3, maxticks=8)  # type: ignore[no-untyped-call]
    panel.xaxis.set_major_locator(locator)
    panel.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]


def percents(panel: Axes, decimals: int = 0) -> None:
    panel.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=decimals))


def legend(panel: Axes, theme: Theme, columns: int = 8, handles: Sequence[Artist] | None = None) -> None:
    """Put the names of what is drawn, or of `handles`, above the panel."""
    panel.legend(
        handles=panel.get_legend_handles_labels()[0] if handles is None else handles,
        loc="lower left",
        bbox_to_anchor=(0, 1.0),
        borderaxespad=0.2,
        ncols=columns,
        frameon=False,
        fontsize=8.5,
        labelcolor=theme.ink,
        handlelength=1.2,
        columnspacing=1.2,
    )


def nothing(title: str, sentence: str, simulated: bool, theme: Theme) -> Figure:
    """Return the figure of a table without rows: it says so."""
    figure = sheet(title, "", simulated, theme, height_in=1.8)
    panel = axes(figure, theme)
    panel.set_axis_off()
    panel.text(
        0.5,
        0.5,
        sentence,
        ha="center",
        va="center",
        transform=panel.transAxes,
        color=theme.muted,
        fontsize=10,
    )
    return figure


def moments(times: pl.Series) -> npt.NDArray[np.datetime64]:
    """Return aware times as the naive UTC `datetime64[us]` that matplotlib draws without a zone."""
    return times.dt.replace_time_zone(None).to_numpy().astype("datetime64[us]")


def png(figure: Figure, dpi: int = _DPI) -> bytes:
    """Return `figure` as a PNG image; equal figures give equal bytes."""
    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=dpi, pil_kwargs={"compress_level": 0})
    # Lines and text need few colours; a palette takes a third of the bytes.
    image = Image.open(drawn).convert("RGB").quantize(_PALETTE, dither=Image.Dither.NONE)
    image.save(small, format="png", optimize=True)
    return small.getvalue()


def data_uri(image: bytes) -> str:
    """Return a PNG image as a `data:` address, so that a page needs no other file."""
    return f"data:image/png;base64,{base64.b64encode(image).decode()}"


def markdown(figure: Figure, alt: str = "plot", limit_bytes: int = MARKDOWN_LIMIT_BYTES) -> str:
    """Return `figure` as a Markdown image of at most `limit_bytes`, as sharp as fits.

    Raises ValueError when even the smallest picture is larger.
    """
    for dpi in _SMALLER_DPI:
        text = f"![{alt}]({data_uri(png(figure, dpi))})"
        if len(text) <= limit_bytes:
            return text
    raise ValueError(f"the smallest picture of {alt!r} has {len(text)} bytes, more than {limit_bytes}")
