"""Who decides for the system, and when: decisions on production as a row of stints.

A stint is what one model trades, a sale, or a time in cash. It ends where another one takes over: at the first close of
both models' bars at or after the decision (intervals divide each other, so a close of the longer bar is one of both).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from cappuccino.market.interval import Interval
from cappuccino.registry.identity import ModelId
from cappuccino.store.warehouse import Reader

Changes = tuple[tuple[datetime, ModelId | None], ...]
"""(since when, who is in production), oldest first, each unlike the one before; nobody before the first."""

IntervalOf = Callable[[ModelId], Interval]


@dataclass(frozen=True)
class Stint:
    """One decider from the close `start` on; the bar that closes at `stop` is its last."""

    model: ModelId | None
    """None: whoever was there has left. With an interval everything is sold in one bar, without one it is in cash."""
    interval: Interval | None
    """Length of the bars that are traded; None in cash."""
    start: datetime
    stop: datetime | None
    """None: nobody is known to take over."""


def read_changes(reader: Reader, now: datetime) -> Changes:
    """Return who came to production and left it by the decisions until `now`."""
    rows = reader.query(
        """
        select decided_at_utc, study, trial, to_stage = 'production' as arrives
        from promotion.decisions
        where 'production' in (coalesce(from_stage, ''), to_stage) and decided_at_utc <= $now
        order by sequence
        """,
        now=now,
    )
    return changes_of((at, ModelId(study, trial), arrives) for at, study, trial, arrives in rows.iter_rows())


def changes_of(moves: Iterable[tuple[datetime, ModelId, bool]]) -> Changes:
    """Return who is in production after each of `moves`: (when, who, whether it arrives or leaves), in their order.

    Of several at one moment, as in a replacement, the last counts. A move that is dated before an earlier one, by a
    clock that was set back, counts as made with it.
    """
    holders: dict[datetime, ModelId | None] = {}
    holder, latest = None, None
    for at, model, arrives in moves:
        latest = max(at, latest or at)
        holder = model if arrives else (None if model == holder else holder)
        holders[latest] = holder
    before = (None, *holders.values())
    return tuple((at, who) for (at, who), other in zip(holders.items(), before, strict=False) if who != other)


def stints(
    changes: Changes, model: ModelId | None, interval: Interval | None, at: datetime, interval_of: IntervalOf
) -> Iterator[Stint]:
    """Return the stints from the close `at` on, until which `model` has traded bars of `interval` (None: in cash)."""
    while True:
        change = _handover(changes, model, interval, at, interval_of)
        if change is None:
            yield Stint(model, interval, at, None)
            return
        moment, successor = change
        if moment > at:
            yield Stint(model, interval, at, moment)
        model, at = successor, moment
        if successor is None:
            assert interval is not None  # who leaves traded bars
            at = moment + interval.duration
            yield Stint(None, interval, moment, at)
        interval = interval_of(successor) if successor else None


def _handover(
    changes: Changes, model: ModelId | None, interval: Interval | None, at: datetime, interval_of: IntervalOf
) -> tuple[datetime, ModelId | None] | None:
    """Return the first moment from `at` on at which another than `model` decides, and who; None if there is none."""
    ends = (*(since for since, _ in changes[1:]), None)
    for (since, successor), until in zip(changes, ends, strict=False):
        if successor == model or (until is not None and until <= at):
            continue
        moment = _common_close(max(since, at), interval, interval_of(successor) if successor else None)
        if until is None or moment < until:
            return moment, successor
    return None


def _common_close(moment: datetime, *intervals: Interval | None) -> datetime:
    """Return the first moment from `moment` on at which bars of all `intervals` close."""
    longest = max((i.duration for i in intervals if i), default=None)
    grid = next((i for i in intervals if i and i.duration == longest), None)
    if grid is None:
        return moment
    floor = grid.floor(moment)
    return floor if floor == moment else floor + grid.duration
