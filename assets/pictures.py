"""Plots as metadata: what a stage made, seen beside its figures in the UI."""

from __future__ import annotations

import dagster as dg
from matplotlib.figure import Figure

from cappuccino.watch.plots import markdown


def picture(figure: Figure) -> dg.MarkdownMetadataValue:
    """Return a figure for the metadata of a materialisation."""
    return dg.MetadataValue.md(markdown(figure))
