"""What one account decides at the close of a bar, or between two: the engine's step up to the orders. Pure.

The engine marks, observes, decides and plans as in a backtest; what it plans at the present quotes becomes intents,
which somebody else stores and sends.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import polars as pl
import torch
from torch import Tensor

from cappuccino.arena.candidate import Candidate
from cappuccino.brokers.broker import Instrument, Side, exact
from cappuccino.ensemble.agent import Assembly
from cappuccino.ensemble.log import NO_VOTES, VoteLog
from cappuccino.market.panel import BarPanel, as_datetime
from cappuccino.market.quotes import Quote, mids_usd
from cappuccino.portfolio import engine
from cappuccino.portfolio.conditions import Conditions
from cappuccino.risk.conviction import Scores
from cappuccino.risk.rules import Rules
from cappuccino.trading.dealing import barred
from cappuccino.trading.desk_account import DeskAccount
from cappuccino.trading.ledger import Entry, to_us
from cappuccino.trading.orders import Order, Purpose, client_id

BAR, PROTECTION, FLATTEN = "bar", "protection", "flatten"
"""Kinds of decisions."""


@dataclass(frozen=True)
class Decision:
    """What was decided, why, and the orders that follow."""

    key: str
    kind: str
    closed_at: datetime
    """Close of the bar that was decided on; of a decision between two bars, its own moment."""
    decided_at: datetime
    before: DeskAccount
    """The account that was decided for, marked."""
    marks_usd: Mapping[str, float]
    quotes: Mapping[str, Quote]
    wanted: Mapping[str, float]
    """Signed units that the engine ordered, by symbol; only where there are any."""
    rules: int
    """`Rule` flags that changed the orders."""
    orders: tuple[Order, ...]
    too_small: Mapping[str, str] = field(default_factory=dict)
    """Orders that the venue would refuse for their size, and why."""
    barred: Mapping[str, str] = field(default_factory=dict)
    """Sales that protect, of symbols that cannot be traded now, and why: they wait until they can."""
    action: Mapping[str, float] | None = None
    targets: Mapping[str, float] | None = None
    votes: pl.DataFrame = field(default_factory=lambda: NO_VOTES)
    scores: Scores | None = None


def on_bar(
    account: DeskAccount,
    candidate: Candidate,
    panel: BarPanel,
    conditions: Conditions,
    quotes: Mapping[str, Quote],
    instruments: Mapping[str, Instrument],
    rules: Rules,
    now: datetime,
) -> Decision:
    """Return what the account decides at the newest close of `panel`, which it has been marked at.

    Raises what the candidate's policy and the engine raise.
    """
    t, closed_at = len(panel) - 1, as_datetime(panel.closed_at[-1])
    close_usd = torch.tensor(panel.close[t], dtype=torch.float64)
    decided_us = to_us(closed_at)
    state = engine.observe(account.state, close_usd, decided_us, rules)
    policy = candidate.policy(panel)
    log = VoteLog(policy) if isinstance(policy, Assembly) else None
    targets = (log or policy)(t, state)
    agreement = log.agreement(t, state) if log else None
    orders = engine.decide(state, targets, close_usd, decided_us, rules, conditions, agreement)
    before = replace(account, state=state)
    key = f"{account.key}@{closed_at:%Y-%m-%dT%H:%M:%S}"
    made = _made(before, key, BAR, orders, close_usd, quotes, instruments, rules, conditions, now)
    return replace(
        made,
        closed_at=closed_at,
        targets=_by_symbol(account, targets[0]),
        votes=log.rows(account.model, panel) if log else NO_VOTES,
        scores=orders.conviction,
    )


def between_bars(
    account: DeskAccount,
    conditions: Conditions | None,
    quotes: Mapping[str, Quote],
    instruments: Mapping[str, Instrument],
    rules: Rules,
    now: datetime,
) -> Decision | None:
    """Return what protection sells at the present quotes, which the account has been marked at; None for nothing."""
    mids = account.prices(mids_usd(quotes))
    orders = engine.protect(account.state, mids, to_us(now), rules, conditions)
    if not bool((orders.units != 0).any()):
        return None
    key = f"{account.key}!{now:%Y-%m-%dT%H:%M:%S.%f}"
    return _made(account, key, PROTECTION, orders, mids, quotes, instruments, rules, conditions, now)


def flatten(
    account: DeskAccount,
    why: str,
    quotes: Mapping[str, Quote],
    instruments: Mapping[str, Instrument],
    rules: Rules,
    now: datetime,
    selling: Collection[str] = (),
) -> Decision | None:
    """Return the sale of all but the symbols that are `selling`; None when nothing is held.

    `why` is part of the orders' ids.
    """
    is_free = torch.tensor([symbol not in selling for symbol in account.symbols])
    held = torch.where(is_free, account.state.units, 0.0)
    if not bool((held > 0).any()):
        return None
    mids = account.prices(mids_usd(quotes))
    orders = engine.Orders(-held, held > 0, torch.zeros(1, dtype=torch.int64))
    bare = rules.without_protection()
    bare = replace(bare, costs=replace(bare.costs, impact=0.0))
    return _made(account, f"{account.key}#{why}", FLATTEN, orders, mids, quotes, instruments, bare, None, now)


def _made(
    account: DeskAccount,
    key: str,
    kind: str,
    orders: engine.Orders,
    mark_usd: Tensor,
    quotes: Mapping[str, Quote],
    instruments: Mapping[str, Instrument],
    rules: Rules,
    conditions: Conditions | None,
    now: datetime,
) -> Decision:
    mids = account.prices(mids_usd(quotes))
    plan = engine.plan(account.state, orders, mids, rules, conditions)
    decision = Decision(
        key=key,
        kind=kind,
        closed_at=now,
        decided_at=now,
        before=account,
        marks_usd=_by_symbol(account, mark_usd),
        quotes={symbol: quotes[symbol] for symbol in account.symbols},
        wanted={symbol: units for symbol, units in _by_symbol(account, orders.units[0]).items() if units},
        rules=int(orders.rules[0]),
        orders=(),
    )
    made, too_small, not_now = [], {}, {}
    for a, symbol in enumerate(account.symbols):
        units = float(plan.units[0, a])
        if units == 0.0:
            continue
        order = _order(decision, symbol, units, float(plan.price_usd[0, a]), bool(orders.protective[0, a]))
        instrument = instruments.get(symbol)
        if instrument is not None:
            order = replace(order, units=instrument.rounded_units(order.units))
            refusal = instrument.too_small(order.side, order.units, order.expected_usd)
            if refusal:
                too_small[symbol] = refusal
                continue
        # Before the venue has said what it accepts, nothing is known to be refused.
        why = barred(instrument, symbol, account.broker) if kind != BAR and instruments else ""
        if why:
            not_now[symbol] = why
            continue
        made.append(order)
    return replace(decision, orders=tuple(made), too_small=too_small, barred=not_now)


_CRUMB = 1e-9
"""Share of the largest weight that rounding leaves of "hold what you have", which is no buy."""
_PURPOSE = {BAR: Purpose.WISH, PROTECTION: Purpose.PROTECTION, FLATTEN: Purpose.FLATTEN}


def _order(decision: Decision, symbol: str, units: float, price_usd: float, is_protective: bool) -> Order:
    account, side, quote = decision.before, Side.BUY if units > 0 else Side.SELL, decision.quotes[symbol]
    # An account that a model comes back to has orders of before: its opening is part of who it is.
    owner = f"{account.key}/{to_us(account.opened_at)}"
    return Order(
        client_id=client_id(owner, decision.key, symbol, side, 0),
        account=account.key,
        decision=decision.key,
        purpose=Purpose.PROTECTION if is_protective and decision.kind == BAR else _PURPOSE[decision.kind],
        symbol=symbol,
        side=side,
        units=exact(abs(units)),
        expected_usd=exact(price_usd),
        decision_usd=decision.marks_usd[symbol],
        bid_usd=quote.bid_usd,
        ask_usd=quote.ask_usd,
        is_protective=is_protective,
        rules=decision.rules,
        recorded_at=decision.decided_at,
    )


def store_decision(entry: Entry, decision: Decision, latency_s: float) -> None:
    """Put the decision, with votes and scores, into the ledger; its orders are recorded apart."""
    account = decision.before
    entry.insert(
        "decisions",
        decision=decision.key,
        account=account.key,
        study=account.model.study,
        trial=account.model.trial,
        kind=decision.kind,
        closed_us=to_us(decision.closed_at),
        decided_us=to_us(decision.decided_at),
        marks=json.dumps(decision.marks_usd),
        quotes=json.dumps({name: [quote.bid_usd, quote.ask_usd] for name, quote in decision.quotes.items()}),
        action=json.dumps(decision.action) if decision.action else None,
        targets=json.dumps(decision.targets) if decision.targets else None,
        wanted=json.dumps(decision.wanted),
        rules=decision.rules,
        state=json.dumps(account.state.to_rows()[0]),
        explanation=None,
        latency_s=latency_s,
    )
    for row in decision.votes.select("symbol", "member_study", "member_trial", "vote", "weight", "is_active").iter_rows(
        named=True
    ):
        entry.insert("votes", decision=decision.key, **row)
    for row in _score_rows(decision):
        entry.insert("convictions", decision=decision.key, **row)


def _score_rows(decision: Decision) -> list[dict[str, Any]]:
    """Return the scores of the buys that were asked for, dropped ones too."""
    scores = decision.scores
    if scores is None:
        return []
    factors = {
        "score": scores.score,
        "size": scores.size,
        "momentum": scores.momentum,
        "agreement": scores.agreement,
        "volatility": scores.calm,
        "context": scores.room,
    }
    # The factors of fewer dimensions are the same for all symbols, or for all accounts.
    wide = {name: factor.expand(scores.score.shape)[0].tolist() for name, factor in factors.items()}
    rows = []
    for a, symbol in enumerate(decision.before.symbols):
        if wide["size"][a] > _CRUMB:
            figures = {name: values[a] for name, values in wide.items()}
            rows.append({"symbol": symbol, **figures, "passed": int(decision.wanted.get(symbol, 0.0) > 0)})
    return rows


def _by_symbol(account: DeskAccount, values: Tensor) -> dict[str, float]:
    return dict(zip(account.symbols, values.tolist(), strict=True))
