"""The page of a replay, part by part."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import polars as pl

from cappuccino.watch import formats
from cappuccino.watch.plots import replay as plots
from cappuccino.watch.replay.choices import choices
from cappuccino.watch.replay.course import curves, months, spells
from cappuccino.watch.replay.read import Replay
from cappuccino.watch.replay.words import MEASURES, OUT_OF_SAMPLE, counted
from cappuccino.watch.report.page import Cell, Grid, Section, Term, cell, grid, picture

_DECISION = ("decided_at_utc", "model", "from_stage", "to_stage", "action", "reason")
_STEP = ("moment_utc", "job", "state", "reason", "detail", "took")
_JOBS = {
    "trading": "trading (sync, desk, verdicts)",
    "whole_life": "whole_life (study, arena, desk)",
    "matches": "matches (arena, desk)",
}
_NOTHING_TRADED = "Nothing has been traded yet."


def sections(replay: Replay) -> Iterator[Section]:
    """Yield the sections of the page in order."""
    yield system(replay)
    yield measures(replay)
    yield by_month(replay)
    yield production(replay)
    yield decisions(replay)
    yield steps(replay)
    yield Section("sample", "What out of sample means here", OUT_OF_SAMPLE)
    yield settings(replay)
    yield Section("glossary", "What the measures say", terms=tuple(Term(k, v) for k, v in MEASURES.items()))


def system(replay: Replay) -> Section:
    """Draw the value of the system beside everybody else's, and how far it fell."""
    run, found = replay.run, _curves(replay)
    source = "the simulated market" if replay.is_simulated else f"bars of the source {run['source']}"
    sentences = (
        f"{', '.join(run['symbols'])} on {source}, traded with paper money after fees and slippage.",
        f"The organisation looked at the market every {run['step_hours']:g} hours, and started a new study when its "
        f"training data were {run['retrain_every_days']:g} days old.",
    )
    if found.is_empty():
        return Section("system", "The system", (*sentences, _NOTHING_TRADED))
    held = _spells(replay)
    draw = partial(
        plots.growth,
        found,
        held["from_utc"][1:].to_list(),
        _studies(replay)["moment_utc"].to_list(),
        simulated=replay.is_simulated,
    )
    fall = partial(plots.drawdown, found, simulated=replay.is_simulated)
    pictures = (
        picture("Value of the system beside the baselines and buy-and-hold", draw),
        picture("Drawdown of the system and of buy-and-hold", fall),
    )
    return Section("system", "The system", sentences, pictures)


def measures(replay: Replay) -> Section:
    """Set the measures of all subjects side by side, one row a measure."""
    title = "Measures side by side"
    if replay.measures.is_empty():
        return Section("measures", title, (_NOTHING_TRADED,))
    start, stop, n_days = replay.measures.select("from_utc", "to_utc", "n_days").row(0)
    sentences = (
        f"{formats.text('', start)} to {formats.text('', stop)} UTC, {counted(n_days, 'day')} for everybody.",
        "All figures come from the values at the end of each UTC day, per year of 365 days. After the system come the "
        "others, who gained most first.",
    )
    return Section("measures", title, sentences, grids=(_side_by_side(replay),))


def by_month(replay: Replay) -> Section:
    """Show what each month brought."""
    title, found = "Month by month", _curves(replay)
    if found.is_empty():
        return Section("months", title, (_NOTHING_TRADED,))
    rows = months(found, replay.start)
    n_ahead = rows.filter(pl.col("alpha_frac") > 0).height
    sentence = f"The system gained more than buy-and-hold in {n_ahead} of {rows.height} months."
    return Section("months", title, (sentence,), grids=(grid(rows, rows.columns, "", n_shown=36),))


def production(replay: Replay) -> Section:
    """Show who was in production when."""
    title, held = "Production", _spells(replay)
    if held.is_empty():
        return Section("production", title, ("No time has passed yet.",))
    models = held["model"].drop_nulls()
    if models.is_empty():
        sentence = "No model has reached production; the system has been in cash all the time."
    else:
        models_came, changes = counted(models.n_unique(), "model"), counted(held.height - 1, "time")
        sentence = (
            f"{models_came} came to production, which changed hands {changes}. A model takes over cash and holdings as "
            "they are, and pays for its own rebalancing; with nobody there, all is sold."
        )
    draw = partial(plots.production, held, simulated=replay.is_simulated)
    return Section("production", title, (sentence,), (picture("Who was in production over time", draw),))


def decisions(replay: Replay) -> Section:
    """Show the decisions that moved models; the many comings and goings in the arena are only counted."""
    title, history = "Decisions", replay.decisions
    if history.is_empty():
        return Section("decisions", title, ("Nothing has been decided yet.",))
    entered = pl.col("action") == "enter"
    beaten = (pl.col("from_stage") == "arena").fill_null(False) & (pl.col("to_stage") == "retired")
    n_entered, n_beaten = history.filter(entered).height, history.filter(beaten).height
    said = f"{counted(n_entered, 'model')} entered the arena and {n_beaten:,} ended there"
    moves = history.filter(~entered & ~beaten).sort("sequence", descending=True)
    if moves.is_empty():
        return Section("decisions", title, (f"{said}; none has got further.",))
    rows = moves.with_columns(model=pl.format("{}/{}", "study", "trial"))
    sql = f"from replay.decisions where replay = '{replay.name}'"
    table = grid(rows, _DECISION, sql, mark=pl.col("to_stage") == "production")
    sentence = f"{said}; {counted(moves.height, 'further decision')}, newest first, those for production marked:"
    return Section("decisions", title, (sentence,), grids=(table,))


def steps(replay: Replay) -> Section:
    """Show when studies were run, and what stopped; the many other jobs are only counted."""
    title, all_steps = "Studies and stops", replay.steps
    if all_steps.is_empty():
        return Section("steps", title, ("Nothing has been done yet.",))
    is_quiet = (pl.col("job") != "whole_life") & (pl.col("state") == "done")
    n_checked = all_steps.filter(is_quiet & (pl.col("detail") != "")).height
    n_of = dict(all_steps.group_by("job").len().iter_rows())
    said = ", ".join(f"{name} {counted(n_of[job], 'time')}" for job, name in _JOBS.items() if job in n_of)
    sentences = [f"Jobs so far: {said}."]
    if n_checked:
        sentences.append(f"In {n_checked:,} of those not shown a check of the data failed without stopping the job.")
    told = all_steps.filter(~is_quiet).with_columns(took=pl.duration(seconds="duration_s"))
    if told.is_empty():
        return Section("steps", title, (*sentences, "No study was run, and nothing stopped."))
    sql = f"from replay.steps where replay = '{replay.name}'"
    table = grid(told, _STEP, sql, mark=pl.col("state") != "done")
    return Section("steps", title, tuple(sentences), grids=(table,))


def settings(replay: Replay) -> Section:
    """Say which settings are not the specification's."""
    title, rows = "Settings", choices(replay.settings)
    profile = f"Profile {replay.run['profile']}, code {replay.run['code_version']}"
    if rows.is_empty():
        return Section("settings", title, (f"{profile}: every setting is the specification's.",))
    sentence = f"{profile}; other values than the specification's in {counted(rows.height, 'key')}:"
    return Section("settings", title, (sentence,), grids=(grid(rows, rows.columns, "", n_shown=40),))


def _curves(replay: Replay) -> pl.DataFrame:
    return curves(replay.equity, replay.start, replay.settings["sandbox"]["cash_usd"])


def _spells(replay: Replay) -> pl.DataFrame:
    return spells(replay.decisions, replay.start, replay.until)


def _studies(replay: Replay) -> pl.DataFrame:
    return replay.steps.filter((pl.col("job") == "whole_life") & (pl.col("state") == "done"))


def _side_by_side(replay: Replay) -> Grid:
    subjects = replay.measures["subject"].to_list()
    headings = (Cell("measure"), *(Cell(formats.heading(subject), "number") for subject in subjects))
    rows = tuple(
        (Cell(formats.heading(name)), *(cell(name, value) for value in replay.measures[name])) for name in MEASURES
    )
    sql = f"from replay.measures where replay = '{replay.name}'"
    return Grid(headings, rows, (), 0, frozenset(), sql)
