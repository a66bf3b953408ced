"""`cappuccino replay`: the jobs that sensors start, over history, in virtual time.

At each moment the same questions are asked as by the sensors (`cappuccino.watch.due`), and what is due is run by the
same jobs, with the clock standing at that moment. A job that was killed is run again under its own moment; all of them
go on where they stopped.
"""

from __future__ import annotations

import fcntl
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from cappuccino.clock import FixedClock
from cappuccino.errors import ConfigError, DataError, StudyFailed, TrainingBusy
from cappuccino.replay.plan import ReplayPlan
from cappuccino.replay.record import Job, Standing, close_moment, forget, note_step, open_replay
from cappuccino.settings import Settings
from cappuccino.store.warehouse import Reader, Warehouse
from cappuccino.trading.system import trade_system
from cappuccino.watch.due import Due, arena_due, trading_due, training_due
from dagster_project.jobs import REPLAYED
from dagster_project.materialization import Materializer, Outcome, materializer
from dagster_project.resources import warehouse_of

Say = Callable[[str], None]
Rule = Callable[[Reader, Settings, datetime], Due]

BUSY_TRIES, BUSY_PAUSE_S = 30, 1.0
RULES: tuple[tuple[Job, Rule], ...] = (("trading", trading_due), ("whole_life", training_due), ("matches", arena_due))


def run_replay(plan: ReplayPlan, main: Warehouse, say: Say, *, restart: bool = False) -> None:
    """Run the replay from where it stands, or anew, to its end; raises what the organisation cannot live with.

    Raises TrainingBusy when another process lives through it, ConfigError when its folder has gone.
    """
    folder = plan.settings.warehouse
    with _alone(folder):
        if restart:
            forget(main, plan.replay)
        standing = open_replay(main, plan)
        if standing.moment is None and not standing.begun and folder.exists():
            shutil.rmtree(folder)  # it would know of a future that this replay has not lived through
        if standing.moment is not None and not plan.settings.database.is_file():
            raise ConfigError(f"the warehouse of {plan.replay}, {folder}, has gone; begin anew with --restart")
        folder.mkdir(parents=True, exist_ok=True)
        own = warehouse_of(plan.settings)
        trade_system(own, plan.settings, plan.start, opened_at=plan.start)  # in cash, before anybody is in production
        left = [moment for moment in plan.moments if standing.moment is None or moment > standing.moment]
        # Hundreds of runs in virtual time would say nothing in the UI, and keeping them takes longer than most of them.
        with materializer(plan.settings, recorded=False) as runs:
            replay = _Replay(plan, main, own, runs, standing, say)
            for n, moment in enumerate(left):
                started_s = time.monotonic()
                replay.live_through(moment)
                seconds = time.monotonic() - started_s
                close_moment(main, plan, moment, seconds)
                say(f"{moment:%F %R} {replay.summary()} ({seconds:.1f} s, {n + 1} of {len(left)})")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the one right to live through a replay; the kernel gives it back however the process ends."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(folder.name + ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TrainingBusy(
                f"another process lives through {folder.name} already; wait for it, or stop it"
            ) from None
        yield


class _Replay:
    """One replay under way."""

    def __init__(
        self, plan: ReplayPlan, main: Warehouse, own: Warehouse, runs: Materializer, standing: Standing, say: Say
    ) -> None:
        self.plan, self.main, self.own, self.runs, self.standing, self.say = plan, main, own, runs, standing, say

    def live_through(self, moment: datetime) -> None:
        """Do all that is due at `moment`."""
        for job, rule in RULES:
            if job != "trading" and moment >= self.plan.stop:
                return  # nobody would trade what is learnt at the end
            with self.own.read() as reader:
                due = rule(reader, self.plan.settings, moment)
            begun = self.standing.begun.get((moment, job))
            if due.is_due or begun is not None:
                self._run(job, moment, due if begun is None else replace(due, reason=begun))

    def _run(self, job: Job, moment: datetime, due: Due) -> None:
        started_s = time.monotonic()
        note_step(self.main, self.plan, moment, job, "started", due.reason)
        if job == "whole_life":
            self.say(f"{moment:%F %R} a new study, {due.reason}")
        try:
            outcome = self._materialized(job, moment, due)
            state, detail = "done", "\n".join(outcome.failed_checks)
        except (DataError, StudyFailed) as error:
            # Stale bars, a hole above the limit, a study without one good trial: it stops, says so, and looks again.
            state, detail = "stopped", str(error)
            self.say(f"{moment:%F %R} {job} stopped: {error}")
        seconds = time.monotonic() - started_s
        note_step(
            self.main, self.plan, moment, job, "done" if state == "done" else "stopped", due.reason, detail, seconds
        )

    def _materialized(self, job: Job, moment: datetime, due: Due) -> Outcome:
        """Run the job; a study of before a kill may need a moment to notice it."""
        days, clock = self._days(job, moment, due), FixedClock(moment)
        for patience in range(BUSY_TRIES, -1, -1):
            try:
                return self.runs.materialize(REPLAYED[job], days, clock=clock, only_missing=days is not None)
            except TrainingBusy:
                if not patience:
                    raise
                time.sleep(BUSY_PAUSE_S)
        raise AssertionError("the last try raises")

    def _days(self, job: Job, moment: datetime, due: Due) -> tuple[str, str] | None:
        """Return the days whose bars the job syncs: since the newest that is known, the last day to study."""
        if job == "matches":
            return None
        last = moment - timedelta(microseconds=1)
        first = last if job == "whole_life" else due.since or self.plan.first_open
        return f"{min(first, last):%F}", f"{last:%F}"

    def summary(self) -> str:
        """Return who is in production and what the system is worth beside buy-and-hold."""
        with self.own.read() as reader:
            model = reader.one("select study || '/' || trial from promotion.production")
            worth = dict(_newest(reader))
        figures = ", ".join(f"{name.replace('_', ' ')} {value:,.0f} USD" for name, value in worth.items())
        return f"{figures or 'nothing traded yet'}; production: {model[0] if model else 'nobody'}"


def _newest(reader: Reader) -> Iterator[tuple[str, float]]:
    rows = reader.query(
        """
        select subject, arg_max(value_usd, closed_at_utc) from desk.system_baselines
        where subject in ('system', 'buy_and_hold') group by subject order by subject desc
        """
    )
    yield from rows.iter_rows()
