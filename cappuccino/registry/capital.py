"""Capital steps of real money: which one the operator has confirmed, and whether the next may be.

Pure. A confirmation holds for one account and one stay of one model in live; it ends with the stay, with a
revocation, and with a step that is confirmed after it. Steps count from 1, and are climbed one by one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from cappuccino.registry.identity import ModelId
from cappuccino.settings import LiveSettings

MAX_HOLE = timedelta(days=2)
"""Longest time without a value of the account that still counts as watched."""


@dataclass(frozen=True)
class Confirmation:
    """One row of promotion.live_confirmations; step 0 takes back what was confirmed before."""

    broker: str
    account_id: str
    step: int
    capital_usd: float
    model: ModelId
    reason: str
    confirmed_at: datetime


@dataclass(frozen=True)
class Value:
    """What the live account was worth at a bar's close."""

    at: datetime
    usd: float


def standing(
    confirmations: Sequence[Confirmation], model: ModelId, broker: str, account_id: str, live_since: datetime
) -> Confirmation | None:
    """Return the confirmation that holds for a model that is live since `live_since`; None without one.

    `confirmations` are in the order of their making.
    """
    held: Confirmation | None = None
    for each in confirmations:
        if (each.broker, each.account_id) == (broker, account_id):
            # A revocation counts whatever its time: it is the order of the rows that decides.
            is_given = each.step > 0 and each.model == model and each.confirmed_at >= live_since
            held = each if is_given else None
    return held


def capital_usd(step: int, settings: LiveSettings) -> float | None:
    """Return the money of a step; None when there is no such step."""
    steps = settings.capital_steps_usd
    return steps[step - 1] if 1 <= step <= len(steps) else None


def reasons_against(
    step: int, held: Confirmation | None, values: Sequence[Value], now: datetime, settings: LiveSettings
) -> list[str]:
    """Return why `step` may not be confirmed now, each as a sentence with its numbers; empty when it may.

    `values` are the live account's since the confirmation that holds, in the order of time. Going down, and the
    first step, need no profit.
    """
    n_steps, present = len(settings.capital_steps_usd), held.step if held else 0
    if capital_usd(step, settings) is None:
        return [f"step: there is no step {step}, live.capital_steps_usd has {n_steps}"]
    if step == present:
        return [f"step: step {step} is confirmed already"]
    if step > present + 1:
        return [f"step: step {step} comes after step {step - 1}, and confirmed is {present or 'none'}"]
    if held is None or step < present:
        return []
    return _unprofitable(held, values, now, settings)


def _unprofitable(held: Confirmation, values: Sequence[Value], now: datetime, settings: LiveSettings) -> list[str]:
    """Return why the step that holds was not profitable for the whole of its time; no number and no row fail."""
    if not values:
        return [f"profit: the account has no value since step {held.step} was confirmed"]
    days = (values[-1].at - held.confirmed_at) / timedelta(days=1)
    times = [held.confirmed_at, *(value.at for value in values), now]
    hole_days = max((later - earlier) / timedelta(days=1) for earlier, later in pairwise(times))
    # Before the first bar under a larger capital the account may still show the smaller one.
    start_usd, end_usd = max(held.capital_usd, values[0].usd), values[-1].usd
    n_broken = sum(not math.isfinite(value.usd) for value in values)
    checks = [
        (days >= settings.step_days, f"time: {days:.2f} days of step {held.step}, {settings.step_days:g} are needed"),
        (
            hole_days <= MAX_HOLE / timedelta(days=1),
            f"watch: {hole_days:.2f} days without a value of the account, at most {MAX_HOLE.days} are accepted",
        ),
        (n_broken == 0, f"values: {n_broken} of {len(values)} values are no number"),
        (
            end_usd > start_usd,
            f"profit: {end_usd:,.2f} USD at {values[-1].at:%F %R} UTC is not above the {start_usd:,.2f} USD "
            f"that step {held.step} began with",
        ),
    ]
    return [failed for passed, failed in checks if not passed]
