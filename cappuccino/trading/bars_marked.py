"""An account at the close of each bar: its value, and the row that verdicts and reports look at."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from functools import reduce
from operator import or_
from typing import Any

import numpy as np
import torch

from cappuccino.market.panel import BarPanel, as_datetime, as_datetime64
from cappuccino.portfolio import engine
from cappuccino.trading.desk_account import DeskAccount
from cappuccino.trading.ledger import Ledger, to_us


@dataclass(frozen=True)
class Marked:
    """An account after the bars of a panel, and its rows for the ledger's `equity`."""

    account: DeskAccount
    rows: tuple[dict[str, Any], ...]


def mark_bars(ledger: Ledger, account: DeskAccount, panel: BarPanel) -> Marked:
    """Return the account marked at every close that it has not been marked at, up to the newest of `panel`.

    An account that decides for the first time is marked at the newest close alone, and has no row of it: its first row
    is that of the bar that it trades first.
    """
    if account.marked_at is None:
        closes = panel.close[-1]
        state = engine.mark(account.state, torch.tensor(closes, dtype=torch.float64))
        at = as_datetime(panel.closed_at[-1])
        return Marked(replace(account, state=state, marked_at=at, opening_closes=tuple(closes.tolist())), ())
    first = int(np.searchsorted(panel.closed_at, as_datetime64(account.marked_at), side="right"))
    rows = []
    for t in range(first, len(panel)):
        close_usd = torch.tensor(panel.close[t], dtype=torch.float64)
        account = replace(
            account, state=engine.mark(account.state, close_usd), marked_at=as_datetime(panel.closed_at[t])
        )
        rows.append(_row(ledger, account, panel, t))
    return Marked(account, tuple(rows))


def _row(ledger: Ledger, account: DeskAccount, panel: BarPanel, t: int) -> dict[str, Any]:
    close_usd = torch.tensor(panel.close[t], dtype=torch.float64)
    assert account.opening_closes is not None  # it was marked before
    growth = float((panel.close[t] / np.array(account.opening_closes)).mean())
    return {
        "account": account.key,
        "closed_us": to_us(as_datetime(panel.closed_at[t])),
        "stage": account.stage,
        "study": account.model.study,
        "trial": account.model.trial,
        "value_usd": float(account.state.value(close_usd)[0]),
        "benchmark_usd": account.cash_usd * growth,
        "exposure_frac": float(account.state.weights(close_usd)[0].sum()),
        **_traded(ledger, account.key, as_datetime(panel.opened_at[t]), as_datetime(panel.closed_at[t])),
    }


def _traded(ledger: Ledger, key: str, start: datetime, stop: datetime) -> dict[str, Any]:
    """Return costs, turnover and rules of an account in [start, stop)."""
    span = (key, to_us(start), to_us(stop))
    fills = ledger.row(
        """
        select
            coalesce(sum(fee_usd), 0.0) as fee_usd,
            coalesce(sum(slippage_usd), 0.0) as slippage_usd,
            coalesce(sum(abs(units) * price_usd), 0.0) as turnover_usd
        from fills where account = ? and filled_us >= ? and filled_us < ?
        """,
        *span,
    )
    decisions = ledger.rows(
        "select rules from decisions where account = ? and decided_us >= ? and decided_us < ?", *span
    )
    assert fills is not None
    return {**dict(fills), "rules": reduce(or_, (row["rules"] for row in decisions), 0)}
