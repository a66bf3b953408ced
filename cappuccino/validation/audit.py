"""Does a model look ahead? Cut its future off, or change it, and see whether anything before moves.

Around several rows t the candidate trades the same bars three times more: with nothing behind t, with a future that
went elsewhere, and with one of extremes. Features, actions (that of t itself included), fills and equity up to t must
be bit-equal. Beside that: scales, folds, fill times, and whether auditing left the model as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np

from cappuccino.errors import CappuccinoError, DataError
from cappuccino.market.panel import BarPanel
from cappuccino.registry.manifest import Manifest
from cappuccino.risk.rules import Rules
from cappuccino.validation.audit_fills import Play, Restless, check_fills
from cappuccino.validation.audit_future import (
    PERTURBATIONS,
    Change,
    Window,
    cut_rows,
    truncated,
    window,
    with_moved_opens,
)
from cappuccino.validation.audit_report import AuditCheck, AuditReport
from cappuccino.validation.audit_sight import Array, Sight, features_of, moved, watch
from cappuccino.validation.audit_training import Training, origin_checks
from cappuccino.validation.evaluate import run

if TYPE_CHECKING:
    from cappuccino.arena.candidate import Candidate

MIN_CUTS = 5
_CANNOT = (CappuccinoError, IndexError, ValueError, RuntimeError)
"""What a candidate may raise that reaches for a bar that is not there."""


@dataclass
class _Count:
    """Values of one kind that moved."""

    n_moved: int = 0
    detail: str = ""


def audit(
    candidate: Candidate,
    panel: BarPanel,
    rules: Rules,
    training: Training | None = None,
    weights: Callable[[], str] | None = None,
    *,
    members: Sequence[tuple[Manifest, Training]] = (),
    n_cuts: int = MIN_CUTS,
    seed: int = 0,
    play: Play = run,
) -> AuditReport:
    """Return what all checks of `candidate` say on `panel`, which should reach from its training to bars behind it.

    `members` of an ensemble are asked where they come from, too. `weights` returns the hash of its weights as they are
    now, to be compared with the manifest's, before and after. Raises DataError when the panel has too few bars to cut,
    ValueError for fewer than MIN_CUTS cuts.
    """
    if n_cuts < MIN_CUTS:
        raise ValueError(f"{n_cuts} cuts; at least {MIN_CUTS} say something")
    manifest, training = candidate.manifest, training or Training()
    hash_before = weights() if weights else None
    seen = _whole(candidate, panel)
    first = _first_decision(seen, candidate.lookback + candidate.recall_bars)
    windows = [window(panel, cut, candidate.history_bars) for cut in cut_rows(panel, first, n_cuts, seed)]
    sights = [watch(candidate, one.panel, one, rules, play) for one in windows]
    checks = [
        *_futures(candidate, windows, sights, rules, play, seed),
        _whole_panel(candidate, panel, seen, windows, seed),
        _history(seen, windows, sights),
        *origin_checks(manifest, panel, training),
        *_of_members(panel, members),
        _fill_times(candidate, windows[-1], rules, play, seed),
        _same_answers(watch(candidate, windows[0].panel, windows[0], rules, play), sights[0]),
        _weights(manifest.weight_sha256, hash_before, weights() if weights else None),
    ]
    return AuditReport(manifest.model, tuple(checks))


def _of_members(panel: BarPanel, members: Sequence[tuple[Manifest, Training]]) -> Iterator[AuditCheck]:
    for manifest, training in members:
        for check in origin_checks(manifest, panel, training):
            yield replace(check, name=f"{check.name} of {manifest.model}")


def _whole(candidate: Candidate, panel: BarPanel) -> Array:
    return features_of(candidate, candidate.policy(panel), panel)


def _first_decision(features: Array, n_seen: int) -> int:
    """Return the first row with `n_seen` complete rows up to it; raises DataError without one."""
    incomplete = np.flatnonzero(~np.isfinite(features).all(axis=(1, 2)))
    first = int(incomplete[-1]) + 1 if len(incomplete) else 0
    if first >= len(features):
        raise DataError(f"none of {len(features)} bars has all features; sync a longer range")
    return first + n_seen - 1


def _futures(
    candidate: Candidate, windows: list[Window], sights: list[Sight], rules: Rules, play: Play, seed: int
) -> Iterator[AuditCheck]:
    """Yield a check for each kind of value, under truncated and under perturbed futures."""
    for how, changes in (("truncated", {"truncated": truncated}), ("perturbed", PERTURBATIONS)):
        counts = {field.name: _Count() for field in fields(Sight)}
        for place, expected in zip(windows, sights, strict=True):
            for name, change in changes.items():
                _compare(counts, candidate, place, expected, change, (name, rules, play, seed))
        asked = f"{len(windows)} cuts, {len(changes)} other future{'s' * (len(changes) > 1)} each"
        for kind, count in counts.items():
            yield AuditCheck(f"{how}_{kind}", not count.detail, float(count.n_moved), count.detail or asked)


def _compare(
    counts: dict[str, _Count],
    candidate: Candidate,
    place: Window,
    expected: Sight,
    change: Change,
    how: tuple[str, Rules, Play, int],
) -> None:
    """Count what moves when the future of `place` is changed."""
    name, rules, play, seed = how
    changed = change(place.panel, place.last + 1, np.random.default_rng([seed, place.start]))
    at = f"cut after the bar at {place.panel.opened_at[place.last]} UTC, future {name}"
    try:
        found = watch(candidate, changed, place, rules, play)
    except _CANNOT as error:
        for count in counts.values():
            count.detail = count.detail or f"{at}: it cannot decide ({type(error).__name__}: {error})"
        return
    for kind, count in counts.items():
        n_moved, where = moved(getattr(expected, kind), getattr(found, kind))
        count.n_moved += n_moved
        if n_moved and not count.detail:
            count.detail = f"{at}: {n_moved:,} {kind} moved, the first {where}"


def _whole_panel(candidate: Candidate, panel: BarPanel, seen: Array, windows: list[Window], seed: int) -> AuditCheck:
    """Compare the features of the whole record with those before its middle cut under another future."""
    middle = windows[len(windows) // 2]
    n_known = middle.start + middle.last + 1
    n_moved, detail = 0, f"{n_known:,} of {len(panel):,} bars known"
    for change in (truncated, *PERTURBATIONS.values()):
        changed = change(panel, n_known, np.random.default_rng(seed))
        n_here, where = moved(seen[:n_known], _whole(candidate, changed)[:n_known])
        n_moved += n_here
        detail = f"{n_here:,} features moved, the first {where}" if n_here else detail
    return AuditCheck("whole_panel_features", n_moved == 0, float(n_moved), detail)


def _history(seen: Array, windows: list[Window], sights: list[Sight]) -> AuditCheck:
    """Compare the features of a window, which begins late, with those of the whole record: live, one has no more."""
    n_moved, detail = 0, f"{len(windows)} windows begin within the record"
    for place, sight in zip(windows, sights, strict=True):
        traded = slice(place.first, place.last + 1)
        n_here, where = moved(seen[place.start :][traded], sight.features[traded])
        n_moved += n_here
        detail = f"{n_here:,} features depend on where the history begins, the first {where}" if n_here else detail
    return AuditCheck("history_features", n_moved == 0, float(n_moved), detail)


def _fill_times(candidate: Candidate, place: Window, rules: Rules, play: Play, seed: int) -> AuditCheck:
    panel = with_moved_opens(place.panel, np.random.default_rng(seed))
    policies = (candidate.policy(panel), Restless(len(panel.symbols), seed))
    return check_fills(policies, panel, place.first, place.last + 1, rules, play)


def _same_answers(again: Sight, before: Sight) -> AuditCheck:
    """Compare the answers to the first question with those at the end of the audit."""
    found = {field.name: moved(getattr(before, field.name), getattr(again, field.name)) for field in fields(Sight)}
    n_moved = sum(n for n, _ in found.values())
    said = "; ".join(f"{n:,} {kind} moved, the first {where}" for kind, (n, where) in found.items() if n)
    return AuditCheck("same_answers", n_moved == 0, float(n_moved), said or "the first question asked again at the end")


def _weights(expected: str, before: str | None, after: str | None) -> AuditCheck:
    if before is None:
        return AuditCheck("weights", None, 0.0, "nothing to hash was handed over")
    wrong = [
        f"{when} {found[:12]}" for when, found in (("before", before), ("after", after or "")) if found != expected
    ]
    detail = f"hashed {', '.join(wrong)}, the manifest says {expected[:12]}" if wrong else f"{expected[:12]} throughout"
    return AuditCheck("weights", not wrong, float(len(wrong)), detail)
