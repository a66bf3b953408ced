"""The sandbox's verdicts: who has had its time, and whether it beats production head to head.

Head to head: the return of both accounts over the time that both records cover, from the challenger's start
on. Nobody is judged on less than half of the sandbox time; who lacks a record waits until the trader has
written one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from cappuccino.errors import DataError
from cappuccino.market.panel import FloatArray, TimeArray, as_datetime64
from cappuccino.registry import moves
from cappuccino.registry.identity import ModelId
from cappuccino.registry.stages import Decision, Stage, StageBook
from cappuccino.settings import SandboxSettings

MIN_COMMON_FRAC = 0.5
"""Share of the sandbox time that two records have to have in common."""


@dataclass(frozen=True)
class Track:
    """The value of one model's account over time, sandbox and production in one line, without deposits.

    `at` is (T,) datetime64[us] UTC, strictly rising; `value_usd` (T,) positive. Raises DataError otherwise.
    """

    at: TimeArray
    value_usd: FloatArray

    def __post_init__(self) -> None:
        if self.at.shape != self.value_usd.shape or self.at.ndim != 1 or not len(self.at):
            raise DataError(f"a track of {self.at.shape} times and {self.value_usd.shape} values is none")
        if not (np.diff(self.at) > np.timedelta64(0, "us")).all():
            raise DataError("the times of a track do not rise; sort its rows, each time once")
        bad = ~(np.isfinite(self.value_usd) & (self.value_usd > 0))
        if bad.any():
            t = int(np.argmax(bad))
            raise DataError(f"a track has the value {self.value_usd[t]} at {self.at[t]} UTC; it must be positive")

    def value_at(self, moment: np.datetime64) -> float:
        """Return the last value at or before `moment`, which must not lie before the first."""
        return float(self.value_usd[np.searchsorted(self.at, moment, side="right") - 1])

    def return_between(self, start: np.datetime64, stop: np.datetime64) -> float:
        """Return value(stop) / value(start) - 1."""
        return self.value_at(stop) / self.value_at(start) - 1.0


def sandbox_verdicts(
    book: StageBook, tracks: Mapping[ModelId, Track], now: datetime, settings: SandboxSettings
) -> tuple[Decision, ...]:
    """Return the decisions on every sandbox model whose time is over and whose record allows a verdict.

    The best by return over its own time is judged first. It takes production when that is empty or does worse
    over the same time, and the others then have to beat it in turn; who does not is retired. Apply and store
    the decisions in one batch.
    """
    verdicts: tuple[Decision, ...] = ()
    for model in _due(book, tracks, now, settings):
        decisions = _verdict(book, model, tracks, now, settings)
        book = book.apply(*decisions)
        verdicts += decisions
    return verdicts


def _due(book: StageBook, tracks: Mapping[ModelId, Track], now: datetime, settings: SandboxSettings) -> list[ModelId]:
    """Return the models whose time is over and who have a record of it, the best first; ties by identity."""
    returns = {}
    for model in book.in_stage(Stage.SANDBOX):
        span = _common_span(book.since(model), now, settings, tracks.get(model))
        if span and now >= book.since(model) + timedelta(days=settings.days):
            returns[model] = tracks[model].return_between(*span)
    return sorted(returns, key=lambda model: (-returns[model], model))


def _verdict(
    book: StageBook,
    model: ModelId,
    tracks: Mapping[ModelId, Track],
    now: datetime,
    settings: SandboxSettings,
) -> tuple[Decision, ...]:
    rival = book.production
    contenders = (tracks[model],) if rival is None else (tracks[model], tracks.get(rival))
    span = _common_span(book.since(model), now, settings, *contenders)
    if span is None:
        return ()
    own = tracks[model].return_between(*span)
    figures = {"return_frac": own, "days": (span[1] - span[0]) / np.timedelta64(1, "D")}
    if rival is None:
        return moves.promote(book, model, now, "production was empty", figures, "rule")
    theirs = tracks[rival].return_between(*span)
    figures["production_return_frac"] = theirs
    compared = f"{own:.4%} against {theirs:.4%} of {rival} in {figures['days']:.2f} days"
    if own > theirs:
        return moves.promote(book, model, now, f"beats production: {compared}", figures, "rule")
    return moves.retire(book, model, now, f"does not beat production: {compared}", figures, "rule")


def _common_span(
    started: datetime, now: datetime, settings: SandboxSettings, *tracks: Track | None
) -> tuple[np.datetime64, np.datetime64] | None:
    """Return the time that all `tracks` cover between `started` and `now`; None when too short to judge."""
    there = [track for track in tracks if track is not None]
    if len(there) < len(tracks):
        return None
    start = max(as_datetime64(started), *(track.at[0] for track in there))
    stop = min(as_datetime64(now), *(track.at[-1] for track in there))
    needed = timedelta(days=settings.days * MIN_COMMON_FRAC)
    return (start, stop) if stop - start >= np.timedelta64(needed) else None
