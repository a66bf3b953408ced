"""The page of a study as one HTML file, in the dress of the report."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cappuccino.watch import formats
from cappuccino.watch.report.page import SIMULATED_MARKET, Banner, Page, Tile
from cappuccino.watch.report.write import html_of, store
from cappuccino.watch.study.read import Analysis
from cappuccino.watch.study.sections import sections

_RUNNING = Banner("This study is not over.", "Its figures are those of the trials that have ended so far.")


def write_study_report(found: Analysis, file: Path) -> Path:
    """Write the page of a study to `file` and return it; the old one stays until the new one is complete."""
    return store(render(found), file)


def render(found: Analysis) -> str:
    """Return the page of a study."""
    study = found.study
    what = f"{study['interval']} x {study['lookback']}" if study["interval"] else "all timeframes"
    when = formats.text("", study["as_of_utc"])
    return html_of(
        Page(
            f"Study {found.name}",
            f"{study['kind']} · {what} · as of {when} UTC · code {study['code_version']}",
            found.is_simulated,
            (SIMULATED_MARKET,) * found.is_simulated + (_RUNNING,) * (study["state"] == "running"),
            tuple(tiles(found)),
            tuple(sections(found)),
        )
    )


def tiles(found: Analysis) -> Iterator[Tile]:
    """Yield the figures at the top."""
    row = found.summary()
    left = f"of at most {found.study['trial_cap']:,}, {row['n_pruned']:,} pruned, {row['n_failed']:,} failed"
    yield Tile("Trials", formats.text("n_started", row["n_started"]), left)
    yield Tile("Completed", formats.text("n_complete", row["n_complete"]), str(row["state"]))
    if row["best_trial"] is not None:
        yield Tile("Best score", formats.text("best_score", row["best_score"]), f"trial {row['best_trial']}")
        yield Tile("Since the last record", formats.text("n_since", row["n_since_record"]), "completed trials")
    for seeds in found.seeds.head(1).iter_rows(named=True):
        note = f"trial {seeds['trial']}, mean of {seeds['n_seeds']} other seeds"
        yield Tile("Score without the luck", formats.text("score", seeds["mean_score"]), note)
