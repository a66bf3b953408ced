"""Play a match: both sides trade the same windows of history, on paper, under the rules of production.

Each side decides on bars of its own interval. All windows of a side are one batch of accounts in the engine;
the result is that of `validation.evaluate.run` on each window alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Literal, Protocol

import numpy as np
import torch

from cappuccino.arena.result import MatchResult, Pairing, WindowScore
from cappuccino.arena.windows import Window
from cappuccino.errors import DataError
from cappuccino.market.interval import Interval
from cappuccino.market.panel import BarPanel, FloatArray, as_datetime64
from cappuccino.portfolio import engine
from cappuccino.portfolio.account import open_accounts
from cappuccino.portfolio.conditions import conditions_of
from cappuccino.portfolio.measures import sharpe, total_return
from cappuccino.risk.rules import Rules
from cappuccino.validation.baselines import benchmark_returns
from cappuccino.validation.evaluate import Policy, decide_alone

Score = Literal["log_return", "sharpe", "alpha"]

_EPOCH, _US = np.datetime64(0, "us"), np.timedelta64(1, "us")


class Contestant(Protocol):
    """A loaded model, or an ensemble, that can fight."""

    @property
    def interval(self) -> Interval: ...

    @property
    def lookback(self) -> int: ...

    def policy(self, panel: BarPanel) -> Policy:
        """Return the policy over rows of `panel`; asked for once a match."""
        ...


def play(
    pairing: Pairing,
    champion: Contestant,
    challenger: Contestant,
    panels: tuple[BarPanel, BarPanel],
    windows: Sequence[Window],
    rules: Rules,
    score: Score,
    played_at: datetime,
    *,
    cash_usd: float = 10_000.0,
) -> MatchResult:
    """Return what came of the match over `windows`, which have one length (see `windows.draw_windows`).

    `panels` are the champion's and the challenger's bars; each reaches back far enough before the first window for
    lookback and features. Raises DataError when it does not, or ends before a window does.
    """
    ours = window_scores(champion, panels[0], windows, rules, score, cash_usd)
    theirs = window_scores(challenger, panels[1], windows, rules, score, cash_usd)
    scores = tuple(WindowScore(start, stop, a, b) for (start, stop), a, b in zip(windows, ours, theirs, strict=True))
    return MatchResult(pairing, score, scores, played_at)


def window_scores(
    contestant: Contestant,
    panel: BarPanel,
    windows: Sequence[Window],
    rules: Rules,
    score: Score,
    cash_usd: float,
) -> list[float]:
    """Return one side's score in each window."""
    if contestant.interval != panel.interval:
        raise DataError(f"a contestant trades {contestant.interval}, but there are bars of {panel.interval} only")
    starts, n_steps = _rows(panel, windows, contestant.lookback)
    equity = _equity(contestant.policy(panel), panel, starts, n_steps, rules, cash_usd)
    return [
        score_of(equity[:, w], benchmark_returns(panel, start, start + n_steps + 1), panel.interval, score)
        for w, start in enumerate(starts)
    ]


def score_of(equity_usd: FloatArray, benchmark: FloatArray, interval: Interval, score: Score) -> float:
    """Return the score of one window: `equity_usd` (T + 1,), buy-and-hold's returns `benchmark` (T,)."""
    if score == "log_return":
        return math.log(equity_usd[-1] / equity_usd[0])
    returns = equity_usd[1:] / equity_usd[:-1] - 1.0
    if score == "sharpe":
        return sharpe(returns, interval.per_year)
    return total_return(returns) - total_return(benchmark)


def _rows(panel: BarPanel, windows: Sequence[Window], lookback: int) -> tuple[list[int], int]:
    """Return the row that closes at the start of each window, and the number of bars in one."""
    n_steps = (windows[0][1] - windows[0][0]) // panel.interval.duration
    starts = []
    for start, stop in windows:
        row = int(np.searchsorted(panel.closed_at, as_datetime64(start)))
        last = row + n_steps
        if last >= len(panel) or (panel.closed_at[row], panel.closed_at[last]) != (
            as_datetime64(start),
            as_datetime64(stop),
        ):
            raise DataError(
                f"window {start} to {stop} is not {n_steps} bars of {panel.interval} in a panel from "
                f"{panel.opened_at[0]} to {panel.closed_at[-1]} UTC; sync bars, or draw windows inside them"
            )
        if row < lookback - 1:
            raise DataError(
                f"window {start} begins {row + 1} bars of {panel.interval} after the panel does, but a "
                f"contestant looks back {lookback}; load bars from earlier on"
            )
        starts.append(row)
    return starts, n_steps


def _equity(
    policy: Policy, panel: BarPanel, starts: Sequence[int], n_steps: int, rules: Rules, cash_usd: float
) -> FloatArray:
    """Return account values, (T + 1, W): one account per window, stepped together."""
    rows = np.array(starts) + np.arange(n_steps + 1)[:, None]
    opens, closes = torch.tensor(panel.open[rows]), torch.tensor(panel.close[rows])
    opened_us = torch.tensor((panel.opened_at[rows] - _EPOCH) // _US)
    accounts = open_accounts(len(starts), len(panel.symbols), cash_usd)
    rules = rules.on(panel.symbols)
    known = conditions_of(panel).at(torch.tensor(rows)) if rules.need_conditions else None
    values = [accounts.value(closes[0])]
    with torch.no_grad():
        for k in range(n_steps):
            alone = [accounts.select(slice(w, w + 1)) for w in range(len(starts))]
            bars = [start + k for start in starts]
            targets, agreement = decide_alone([policy] * len(bars), bars, alone)
            decided_us, filled_us = opened_us[k] + panel.interval.us, opened_us[k + 1]
            conditions = known.at(k) if known else None
            accounts, step = engine.step(
                accounts,
                targets,
                closes[k],
                opens[k + 1],
                closes[k + 1],
                decided_us,
                filled_us,
                rules,
                conditions,
                agreement,
            )
            values.append(step.value_after_usd)
    equity: FloatArray = torch.stack(values).numpy()
    return equity
