"""`cappuccino run`: the whole life of a model, through the Dagster assets, in virtual time.

    |<------- history -------->|<------ held back ------>|
                               now, and from here in steps to the record's end

Everything up to the promotion to the sandbox is decided as of the beginning of the held-back days. Then the clock moves
on step by step: new bars come in, sandbox and production trade them, verdicts are given. A market that goes on has
nothing to hold back: there, the run is decided as of now.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from cappuccino.clock import FixedClock
from cappuccino.errors import ConfigError
from cappuccino.market.source import BarSource
from cappuccino.market.sources import clock_of, record_end, source_of
from cappuccino.market.sync import first_open_to_load
from cappuccino.settings import Settings
from dagster_project.materialization import Materializer, Outcome

Say = Callable[[str], None]
DAY = timedelta(days=1)
NOTICEABLE_S = 0.5


@dataclass(frozen=True)
class Timetable:
    """The moments of a run."""

    first_open: datetime
    decided_at: datetime
    """Data known by then are trained on."""
    steps: tuple[datetime, ...]
    """Later moments at which the desk trades, to the end of the record."""


def timetable(settings: Settings, source: BarSource) -> Timetable:
    """Return when the run decides; raises ConfigError when holding back leaves no history."""
    end = clock_of(settings.market, source).now()
    first_open = first_open_to_load(settings.market, source, end)
    if record_end(settings.market, source) is None:
        return Timetable(first_open, end, ())
    decided_at = end - timedelta(days=settings.run.holdback_days)
    if decided_at <= first_open + DAY:
        raise ConfigError(
            f"run.holdback_days {settings.run.holdback_days:g} leaves no history between {first_open:%F} and {end:%F}; "
            "load a longer range or hold back less"
        )
    return Timetable(first_open, decided_at, tuple(_steps(decided_at, end, timedelta(hours=settings.run.step_hours))))


def run_pipeline(settings: Settings, runs: Materializer, say: Say) -> Timetable:
    """Run everything, saying what happens; raises the error that stops it."""
    source = source_of(settings)
    times = timetable(settings, source)
    say(
        f"bars of {source.name} from {times.first_open:%F} on; studied as of {times.decided_at:%F %R} UTC"
        + (
            f", the following {(times.steps[-1] - times.decided_at) / DAY:g} days held back for the desk"
            if times.steps
            else ""
        )
    )
    days = _days(times.first_open, times.decided_at)
    whole = partial(runs.run, "whole_life", FixedClock(times.decided_at), days, partial(_say_step, say))
    _timed(say, "the life of the models until then", whole)
    before = times.decided_at
    for moment in times.steps:
        work = partial(runs.run, "trading", FixedClock(moment), _days(before, moment))
        _timed(say, f"desk trades until {moment:%F %R} UTC", work)
        before = moment
    _timed(say, "report", partial(runs.run, "report", FixedClock(before)))
    return times


def _steps(start: datetime, end: datetime, length: timedelta) -> Iterator[datetime]:
    moment = start
    while moment < end:
        moment = min(moment + length, end)
        yield moment


def _days(start: datetime, stop: datetime) -> tuple[str, str]:
    """Return the first and last day with bars in [start, stop)."""
    return f"{start:%F}", f"{stop - timedelta(microseconds=1):%F}"


def _say_step(say: Say, step: str, seconds: float) -> None:
    """Name the steps that a person could notice."""
    if seconds >= NOTICEABLE_S:
        say(f"  {step.replace('__', '/')}: {seconds:.1f} s")


def _timed(say: Say, what: str, work: Callable[[], Outcome]) -> None:
    started_s = time.monotonic()
    outcome = work()
    say(f"{what}: {time.monotonic() - started_s:.1f} s")
    for failed in outcome.failed_checks:
        say(f"  check failed: {failed}")
