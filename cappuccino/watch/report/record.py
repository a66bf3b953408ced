"""Sections about what everything rests on: the bars, the configuration and the words."""

from __future__ import annotations

from functools import partial

import polars as pl

from cappuccino.settings import Settings, differences
from cappuccino.watch import plots
from cappuccino.watch.report.frames import Frames
from cappuccino.watch.report.glossary import GLOSSARY
from cappuccino.watch.report.page import Grid, Section, Term, grid, picture

_N_NAMED = 3
"""Symbols that a row of the checks names; the others are in the warehouse."""


def data(frames: Frames, simulated: bool) -> Section:
    """Show the record of bars and what the quality checks found."""
    title = "Market data"
    if frames["freshness"].is_empty():
        return Section("data", title, ("No bars have been synced yet.",))
    pictures = (
        picture("Close prices of all symbols", partial(plots.closes, frames["closes"], simulated=simulated)),
        picture("Coverage of the record by day", partial(plots.coverage, frames["days"], simulated=simulated)),
    )
    held = ("symbol", "source", "first_opened_at_utc", "known_until_utc", "bars")
    freshness = grid(frames["freshness"], held, "select * from market.freshness")
    grids = (freshness, holes(frames["holes"])) if frames["holes"].height else (freshness,)
    checks = checked(frames["quality"])
    if checks.is_empty():
        return Section("data", title, ("The quality checks have not run yet.",), pictures, grids)
    n_errors = checks.filter(~pl.col("passed") & (pl.col("severity") == "error")).height
    n_warned = checks.filter(~pl.col("passed") & (pl.col("severity") == "warn")).height
    sentence = (
        f"{n_errors} checks fail and block what follows, {n_warned} warn."
        if n_errors + n_warned
        else "Every quality check passes."
    )
    quality = grid(
        checks,
        ("check", "severity", "passed", "failing", "n_bad", "n_checked", "detail"),
        "select * from ops.data_quality where not passed",
        mark=~pl.col("passed"),
        n_shown=30,
    )
    return Section("data", title, (sentence,), pictures, (quality, *grids))


def holes(found: pl.DataFrame) -> Grid:
    """Return the holes of sources, halts within them left out, the longest first."""
    columns = ("symbol", "first_absent_utc", "last_absent_utc", "lost_bars")
    return grid(found, columns, "select * from market.absences where not is_halt", n_shown=8)


def checked(quality: pl.DataFrame) -> pl.DataFrame:
    """Return one row per check over all its symbols, failures first; `detail` is of the worst symbol."""
    failed = ~pl.col("passed")
    names, n_others = pl.col("symbol").filter(failed).sort(), failed.sum().cast(pl.Int64) - _N_NAMED
    return (
        quality.sort("n_bad", "figure", descending=True)
        .group_by("check", "severity", maintain_order=True)
        .agg(
            passed=pl.col("passed").all(),
            failing=pl.concat_str(
                names.head(_N_NAMED).str.join(", "),
                pl.when(n_others > 0).then(pl.format(" and {} more", n_others)).otherwise(pl.lit("")),
            ),
            n_bad=pl.col("n_bad").sum(),
            n_checked=pl.col("n_checked").sum(),
            detail=pl.when(failed.any())
            .then(pl.format("{}: {}", pl.col("symbol"), pl.col("detail")).filter(failed).first())
            .otherwise(pl.lit("")),
        )
        .sort("passed", "severity", "check")
    )


def profile(settings: Settings) -> Section:
    """Say which numbers of the specification the profile made smaller."""
    title, changed = "Profile", differences(settings)
    if not changed:
        return Section("profile", title, (f"Profile {settings.profile}: every number is the specification's.",))
    rows = pl.DataFrame(
        [{"key": key, "specified": _shown(want), "in_use": _shown(used)} for key, want, used in changed]
    )
    sentence = f"Profile {settings.profile} uses other numbers than the specification in these {len(changed)} keys:"
    table = grid(rows, ("key", "specified", "in_use"), "", n_shown=40)
    return Section("profile", title, (sentence,), grids=(table,))


def glossary() -> Section:
    """Explain each measure in a sentence."""
    return Section("glossary", "What the measures say", terms=tuple(Term(k, v) for k, v in GLOSSARY.items()))


def _shown(value: object) -> str:
    if isinstance(value, tuple | list):
        return ", ".join(str(each) for each in value)
    return "none" if value is None else str(value)
